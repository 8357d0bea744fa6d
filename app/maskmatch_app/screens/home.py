"""Home: how far the study is, and what to do next."""

from pathlib import Path
from typing import Any

import streamlit as st

from maskmatch_app import failures, look, state
from maskmatch_app.shelf import DEMO, is_study_name
from maskmatch_med import service
from maskmatch_med.errors import MaskMatchError

# The page of each next step, and what stands on its button where an arrow would say too little.
_DOORS = {
    **dict.fromkeys(("train", "wait", "failed", "paused", "predict"), "train"),
    **{"add": "scans", "label": "label", "review": "review", "export": "results"},
}
_ICONS = {"wait": ":material/hourglass_top:", "failed": ":material/error:", "export": ":material/download:"}
_WATCH_S = 5.0
_QUICKLY_SCORED = 20
_MOST_DOORS = 8


def welcome() -> None:
    """No study is open: try the demo, or begin one's own."""
    st.title("Segment every scan from a few labels")
    st.caption("Label a few, train on all of them. Begin with invented scans, or with your own.")
    if studies := list(state.shelf().studies()):
        with st.container(border=True):
            st.subheader("Go on with a study", anchor=False)
            with st.container(horizontal=True):
                for name in studies[:_MOST_DOORS]:
                    if st.button(name, icon=":material/folder_open:"):
                        state.open_study(name)
                        st.rerun()
            if len(studies) > _MOST_DOORS:
                st.caption("All of them are in the list on the left.")
    left, right = st.columns(2, gap="large")
    with left.container(border=True, height="stretch"):
        st.subheader("Try the demo study", anchor=False)
        st.image(look.PICTURES / "demo.jpg", width="stretch")
        st.markdown("24 generated scans of an invented abdomen, 4 of them labelled. No real person is in them.")
        if st.button("Open the demo study", type="primary", icon=":material/play_arrow:", width="stretch"):
            make_demo()
    with right.container(border=True, height="stretch"):
        st.subheader("Start a study", anchor=False)
        new_study()


def make_demo() -> None:
    """Generate the demo study where it does not exist, and open it."""
    bar = st.progress(0.0, "Generating scans; this takes some seconds …")
    root = state.shelf().folder / DEMO
    try:
        service.make_demo_study(root, lambda done, total, text: show(bar, done / max(total, 1), text))
    except (MaskMatchError, OSError) as error:
        st.error(f"The demo study could not be made: {error}", icon=":material/error:")
        st.stop()
    state.open_study(DEMO)
    st.rerun()


def show(bar: st.delta_generator.DeltaGenerator, share: float, text: str) -> None:
    """Move a progress bar."""
    bar.progress(min(1.0, share), text or "Done")


def new_study() -> None:
    """Ask for a name and the structures; the study is made with its first scans."""
    with st.form("new study", border=False):
        name = st.text_input("Name", placeholder="Hippocampus 2026").strip()
        names = st.text_input("Structures to segment, separated by commas", placeholder="anterior, posterior")
        if not st.form_submit_button("Continue to the scans", icon=":material/arrow_forward:", width="stretch"):
            return
    structures = tuple(part.strip() for part in names.split(",") if part.strip())
    if not is_study_name(name):
        st.error("Give the study a name of letters and digits; spaces, dots and hyphens may stand within it.")
    elif name in state.shelf().studies():
        st.error(f"There is a study {name} already; choose another name, or open it on the left.")
    elif not structures or len({part.casefold() for part in structures} | {"background"}) <= len(structures):
        st.error("Name at least one structure, each by a name of its own.")
    else:
        state.begin_study(name, structures)
        st.switch_page("screens/scans.py")


def now(root: Path) -> None:
    """How far the study is, and the one large button; looked at anew while work runs."""
    page = state.study_page()
    if page is None:
        st.rerun()
    look.state_cards(page)
    step = service.next_step(root, page)
    with st.container(border=True, key="next step"):
        text, door = st.columns([3, 2], vertical_alignment="center")
        text.caption("Next step")
        text.markdown(look.plain(step.text))
        icon = _ICONS.get(step.kind, ":material/arrow_forward:")
        if door.button(step.title, type="primary", icon=icon, width="stretch", key="go"):
            go(root, step)


def go(root: Path, step: service.NextStep) -> None:
    """Open the door of a step; what the step can start by itself is started."""
    if step.kind == "predict" and step.model is not None:
        try:
            service.queue_prediction(root, step.model)
        except (MaskMatchError, OSError) as error:
            st.error(look.plain(failures.in_words(error)), icon=":material/error:")
            return
    scan = service.next_to_label(root) if step.kind == "label" and step.scan is None else step.scan
    if scan is not None:
        state.show_scan(scan)
    st.switch_page(f"screens/{_DOORS[step.kind]}.py")


@st.cache_data(show_spinner="Measuring the models …", max_entries=8)
def scored(root: Path, stamp: tuple[int, ...]) -> list[dict[str, Any]]:
    """Of each model the labels that it was given and its mean Dice on labels that it has not learnt from."""
    del stamp  # only there so that a change of the files is noticed
    found = []
    for one in service.score_models(root):
        dice = [row.dice for row in one.rows if row.dice == row.dice]
        if one.spent is not None and dice:
            mean = sum(dice) / len(dice)
            found.append({"model": one.model, "labels": one.spent, "dice": mean, "scans": len(one.cases)})
    return found


def rounds(root: Path, page: service.StudyPage) -> None:
    """Dice against the number of labels, a dot a model."""
    st.subheader("Dice against the number of labels", anchor=False)
    try:
        quick = service.scores_pending(root) <= _QUICKLY_SCORED
        rows = scored(root, service.study_stamp(root)) if quick else []
    except (MaskMatchError, OSError):  # a reference or prediction that cannot be used; the page Results names it
        rows = []
    known = {row["model"] for row in rows}
    rows += [
        {"model": one.model, "labels": one.labelled, "dice": one.dice}
        for one in page.rounds
        if one.dice is not None and one.model not in known
    ]
    if not rows:
        st.caption("Appears when a model has segmented scans whose labels it has not learnt from.")
        return
    axis = {"tickMinStep": 1, "format": "d"}
    chart = {
        "data": {"values": sorted(rows, key=lambda row: row["labels"])},
        "mark": {"type": "line", "point": {"filled": True, "size": 90}},
        "height": 220,
        "encoding": {
            "x": {"field": "labels", "type": "quantitative", "title": "labels that the model was given", "axis": axis},
            "y": {"field": "dice", "type": "quantitative", "title": "mean Dice", "scale": {"domain": [0, 1]}},
            "tooltip": [{"field": name} for name in ("model", "labels", "scans")]
            + [{"field": "dice", "format": ".3f"}],
        },
    }
    st.vega_lite_chart(spec=chart)
    st.caption("On labelled scans that the model has not learnt from. The page Results tells more.")


root, study = state.study_root(), state.study_page()
if root is None:
    welcome()
elif study is None or not study.scans:
    st.title(state.study_key() or "", anchor=False)
    st.info("This study holds no scan yet.", icon=":material/info:")
    if st.button("Add scans", type="primary", icon=":material/add:"):
        st.switch_page("screens/scans.py")
else:
    st.title(state.study_key() or study.name, anchor=False)
    st.caption(look.plain(f"Structures: {', '.join(study.structures)} · Channels: {', '.join(study.channels)}"))
    look.read_only(root)
    st.fragment(now, run_every=_WATCH_S)(root)
    st.subheader("Scans", anchor=False)
    look.strip(study.scans[:6])
    rounds(root, study)
