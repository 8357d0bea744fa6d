"""Results: volumes, how well the models do where references exist, the rounds compared, exports and reports."""

from pathlib import Path
from typing import Any

import streamlit as st

from maskmatch_app import failures, look, state
from maskmatch_app.parts import plots
from maskmatch_app.parts.bars import moving
from maskmatch_app.parts.exporter import export_form
from maskmatch_med import service
from maskmatch_med.errors import MaskMatchError

_VIEWS = ("Volumes", "Quality", "Rounds", "Export", "Reports")
_AT_ONCE = 30
_ENOUGH_TO_COMPARE = 3
"""Scans below which a plot of volumes says nothing."""


@st.cache_data(show_spinner="Measuring the volumes …", max_entries=8)
def measured(root: Path, stamp: tuple[int, ...], model: str | None) -> list[service.ScanVolume]:
    """The volumes; kept until something in the study changes."""
    del stamp  # only there so that a change of the files is noticed
    return service.volumes(root, model)


@st.cache_data(show_spinner="Scoring …", max_entries=8)
def scored(root: Path, stamp: tuple[int, ...], references: str) -> list[service.ModelScores]:
    """The scores of the models; kept until something in the study changes."""
    del stamp  # only there so that a change of the files is noticed
    return service.score_models(root, Path(references).expanduser() if references else None)


def volumes(root: Path, page: service.StudyPage) -> None:
    """How large each structure is in each scan: plot and table."""
    models = service.predicting_models(root)
    if not models and not any(scan.label_version for scan in page.scans):
        nothing("There is nothing to measure yet. Label a scan, or train a model that segments them.")
        return
    model = st.selectbox(
        "Measured on",
        [None, *models],
        format_func=lambda one: "the current labels" if one is None else f"predictions of {one}",
    )
    found = measured(root, service.study_stamp(root), model)
    if not found:
        st.info("No scan has a label yet; choose the predictions of a model.", icon=":material/info:")
        return
    unit = "area, pixels" if found[0].unit == "px" else "volume, ml"
    if len({one.case for one in found}) >= _ENOUGH_TO_COMPARE:
        st.vega_lite_chart(spec=plots.distribution(found, unit), width="stretch")
        if cut := plots.cut_off(found):
            st.caption(
                f"▲ {look.counted(cut, 'value is', 'values are')} too large for the plot and drawn at its upper edge."
            )
    far = sorted({one.case for one in found if one.outlier})
    if far:
        names = ", ".join(far[:6]) + (f" and {len(far) - 6} more" if len(far) > 6 else "")
        st.warning(
            look.plain(f"Far from the other scans: {names}. Look at them before you use their numbers."),
            icon=":material/search:",
        )
    partial = sum(not one.complete for one in found) // max(1, len(page.structures))
    if partial:
        st.caption(
            f"{look.counted(partial, 'scan is', 'scans are')} judged only in part, so their true volumes may be larger."
        )
    st.dataframe(table(found), hide_index=True, height="auto" if len(found) < 60 else 460)
    st.download_button(
        "These volumes as CSV",
        service.volumes_table(root, model, [scan.name for scan in page.scans]),
        "volumes.csv",
        "text/csv",
        icon=":material/download:",
    )


def table(found: list[service.ScanVolume]) -> dict[str, list[Any]]:
    """A row a scan, a column a structure; a click on a heading sorts."""
    cases = list(dict.fromkeys(one.case for one in found))
    rows: dict[str, list[Any]] = {"Scan": cases}
    for structure in dict.fromkeys(one.structure for one in found):
        of = {one.case: one.amount for one in found if one.structure == structure}
        rows[f"{structure}, {found[0].unit}"] = [round(of[case], 3) for case in cases]
    told = {one.case: "every voxel" if one.complete else "in part" for one in found}
    rows["Judged"] = [told[case] for case in cases]
    odd = {one.case for one in found if one.outlier}
    rows["Far from the others"] = ["yes" if case in odd else "" for case in cases]
    return rows


def scores_of(root: Path, references: str) -> list[service.ModelScores]:
    """The scores; where many are to be made they are asked for first, and none are given."""
    stamp = service.study_stamp(root)
    place = Path(references).expanduser() if references else None
    waiting = service.scores_pending(root, place)
    if waiting > _AT_ONCE:
        st.info(
            f"{look.counted(waiting, 'segmentation is', 'segmentations are')} not scored yet; that can take minutes.",
            icon=":material/timer:",
        )
        if not st.button("Score them", type="primary", icon=":material/straighten:"):
            return []
    if waiting:
        with moving("Scoring …") as show:
            service.score_models(root, place, show)
    return scored(root, stamp, references)


def quality(root: Path) -> None:
    """Metrics by model and structure, where there are references that a model has not learnt from."""
    if not service.predicting_models(root):
        nothing("No model has segmented a scan yet; then its segmentations can be held against labels.")
        return
    against = st.radio("Held against", ["labels of this study", "a folder of labels"], horizontal=True)
    references = ""
    if against == "a folder of labels":
        references = st.text_input("Folder on the computer of the server", placeholder="/data/labelsTs").strip()
        if not references:
            st.caption("Label files of the same names as the scans, or a data set with labelsTr.")
            return
    scores = scores_of(root, references)
    st.caption("Never on labels that a model has learnt from, nor on predictions that were accepted as labels.")
    for one in scores:
        left = "; ".join(f"{count} {why}" for why, count in one.left_out.items())
        held = f"{look.counted(len(one.cases), 'scan')} scored" + (f". Left out: {left}" if left else "")
        st.markdown(f"**{look.plain(one.model)}** · {look.plain(held)}")
    if not any(one.rows for one in scores):
        if scores:
            st.info(
                "No label is left to score on. Label scans that training holds out, or name a folder of labels.",
                icon=":material/info:",
            )
        return
    st.dataframe(summary(scores), hide_index=True)
    st.vega_lite_chart(spec=plots.agreement(scores), width="stretch")
    with st.expander("Every scan", icon=":material/table_rows:"):
        st.dataframe(by_scan(scores), hide_index=True, height=420)


def summary(scores: list[service.ModelScores]) -> dict[str, list[Any]]:
    """Mean and standard deviation by model and structure."""
    heads = scores[0].heads()
    rows: dict[str, list[Any]] = {"Model": [], "Structure": [], "Scans": [], **{word: [] for word in heads.values()}}
    for one in scores:
        for part in one.summary():
            rows["Model"].append(one.model)
            rows["Structure"].append(part.name)
            rows["Scans"].append(part.metrics["dice"].n)
            for key, word in heads.items():
                rows[word].append(mean_sd(part.metrics[key]))
    return rows


def mean_sd(found: Any) -> str:
    """Mean ± standard deviation; a dash where nothing was scored."""
    if not found.n:
        return "–"
    return f"{found.mean:.3f}" + (f" ± {found.sd:.3f}" if found.n > 1 else "")


def by_scan(scores: list[service.ModelScores]) -> dict[str, list[Any]]:
    """The scores of each scan and structure."""
    found = [(one.model, row) for one in scores for row in one.rows]
    rows: dict[str, list[Any]] = {
        "Model": [model for model, _ in found],
        "Scan": [row.case for _, row in found],
        "Structure": [row.class_name for _, row in found],
    }
    for key, word in scores[0].heads().items():
        rows[word] = [round(float(getattr(row, key)), 3) for _, row in found]
    return rows


def rounds(root: Path, page: service.StudyPage) -> None:
    """The models against the labels that they were given, all on the same scans."""
    scores = scores_of(root, "")
    usable = [one for one in scores if one.rows]
    if len(usable) < 2:
        nothing("Two models with scored scans are needed to compare. Train again once there are more labels.")
        return
    cases = service.common_cases(usable)
    if not cases:
        st.info(
            "No scan is scored for every model, so they cannot be compared on the same scans.", icon=":material/info:"
        )
    else:
        st.caption(f"On the {look.counted(len(cases), 'scan')} that every model is scored on and none has learnt from.")
        st.vega_lite_chart(spec=plots.rounds(usable, cases, page.structures), width="stretch")
    changes = service.differences(usable)
    if changes:
        st.subheader("Scan by scan, each model against the one before", anchor=False)
        st.dataframe(
            {
                "Structure": [one.structure for one in changes],
                "From": [one.before for one in changes],
                "To": [one.after for one in changes],
                "Scans": [one.scans for one in changes],
                "Dice, mean change": [f"{one.mean:+.3f}" for one in changes],
                "Better on": [one.better for one in changes],
                "Worse on": [one.worse for one in changes],
            },
            hide_index=True,
        )


def reports(root: Path) -> None:
    """The reports that were written, and a button to write that of the study."""
    found = service.reports_of(root)
    for one in found:
        words = {
            "study": "Report of the study",
            "models": "Report of the model",
            "predictions": "Report of predictions",
        }
        told, door = st.columns([4, 1.4], vertical_alignment="center")
        told.markdown(f"**{words[one.place]} {look.plain(one.name)}** · {one.written[:16].replace('T', ' ')} UTC")
        door.link_button(
            "Open", state.api("reports", one.place, one.name), icon=":material/open_in_new:", width="stretch"
        )
    if not found:
        st.caption("No report was written yet. It shows data, learning curves, scores and cases on one page.")
    able = service.may_write(root)
    if st.button("Write the report of the study", icon=":material/description:", disabled=not able):
        with moving("Writing …") as show:
            service.report(root, None, service.ReportRequest(progress=show))
        st.rerun()


def nothing(text: str) -> None:
    """Say why there is nothing to see."""
    st.info(text, icon=":material/info:")


root, study = state.study_root(), state.study_page()
st.title("Results", anchor=False)
if root is None or study is None or not study.scans:
    nothing(look.none_yet("There are no results yet: a study needs scans first."))
    if st.button("To the scans", type="primary"):
        st.switch_page("screens/scans.py")
    st.stop()
view = st.segmented_control("View", _VIEWS, default="Volumes", label_visibility="collapsed")
try:
    if view == "Quality":
        quality(root)
    elif view == "Rounds":
        rounds(root, study)
    elif view == "Export":
        export_form(root, study)
    elif view == "Reports":
        reports(root)
    else:
        volumes(root, study)
except (MaskMatchError, OSError) as error:
    st.error(look.plain(failures.in_words(error)), icon=":material/error:")
