"""Scans: bring them in, and see what the study holds."""

from pathlib import Path

import streamlit as st

from maskmatch_app import look, state, uploads
from maskmatch_app.shelf import arrived
from maskmatch_app.structures import structures_form
from maskmatch_app.uploader import uploader
from maskmatch_med import service
from maskmatch_med.errors import MaskMatchError


def take_in(root: Path, source: Path) -> None:
    """Bring the scans of a folder into the study, with a bar that moves."""
    bar = st.progress(0.0, "Looking at the scans …")

    def show(done: int, total: int, text: str) -> None:
        bar.progress(min(1.0, done / max(total, 1)), text or "Done")

    try:
        intake = service.take_in(source, root, service.ImportOptions(label_names=state.new_structures()), show)
    except (MaskMatchError, OSError) as error:
        intake = service.Intake(refused=[service.Refusal(source.name, str(error))])
    state.keep_intake(intake)
    bar.empty()


def take_in_drop(root: Path, drop: str) -> None:
    """Bring in what was dropped, and forget the upload."""
    take_in(root, arrived(root, drop))
    uploads.discard(root, drop)
    st.rerun()


def unfinished(root: Path) -> None:
    """Ask what shall become of uploads whose page was closed before all had arrived."""
    for drop, files in uploads.cut_short(root).items():
        names = listed([path.name for path in files])
        with st.container(border=True, key=f"unfinished {drop}"):
            st.markdown(
                f"**An upload was cut short.** {len(files)} of its files are here whole: {names}. "
                "Drop the same files again to complete it, or decide about these now."
            )
            take, leave, _ = st.columns([2, 2, 4])
            if take.button("Take these in", key=f"take {drop}", width="stretch"):
                take_in_drop(root, drop)
            if leave.button("Discard them", key=f"leave {drop}", width="stretch"):
                uploads.discard(root, drop)
                st.rerun()


def tell(intake: service.Intake) -> None:
    """What the last drop brought."""
    if intake.added:
        st.success(f"{len(intake.added)} scans added: {listed(intake.added)}", icon=":material/check_circle:")
    if intake.labelled:
        st.success(f"{len(intake.labelled)} came with a label.", icon=":material/check_circle:")
    if intake.unchanged:
        st.info(f"{len(intake.unchanged)} were here already: {listed(intake.unchanged)}", icon=":material/info:")
    for refusal in intake.refused:
        st.warning(f"**{look.plain(refusal.name)}** stays out: {look.plain(refusal.reason)}", icon=":material/block:")
    for note in intake.notes:
        st.info(look.plain(note), icon=":material/info:")


def listed(names: list[str]) -> str:
    """The first names, and how many more."""
    shown = ", ".join(look.plain(name) for name in names[:6])
    return shown + (f" and {len(names) - 6} more" if len(names) > 6 else "")


def add(root: Path, key: str, opened: bool) -> None:
    """The two ways in: what is dropped here, and a folder on this computer."""
    with st.expander("Add scans", expanded=opened, icon=":material/upload:"):
        drop = uploader(key, state.token())
        if drop and arrived(root, drop).is_dir():
            take_in_drop(root, drop)
        unfinished(root)
        with st.form("folder", border=False):
            place, door = st.columns([4, 1], vertical_alignment="bottom")
            given = place.text_input("Or a folder on the computer that runs this program", placeholder="/data/scans")
            asked = door.form_submit_button("Add the folder", icon=":material/folder_open:", width="stretch")
        if asked and given.strip():
            take_in(root, Path(given.strip()).expanduser())
            st.rerun()


def table(page: service.StudyPage) -> None:
    """A row a scan; pictures are asked for as they come into view."""
    words = {word: key for key, (word, _) in look.STATES.items() if page.states[key]}
    search, states = st.columns([1, 2], vertical_alignment="bottom")
    wanted = search.text_input("Find", placeholder="Name or source file", icon=":material/search:").casefold()
    kept = states.pills("State", list(words), selection_mode="multi", label_visibility="collapsed")
    scans = [
        scan
        for scan in page.scans
        if wanted in f"{scan.name} {scan.source_name}".casefold()
        and (not kept or scan.state in {words[word] for word in kept})
    ]
    rows = {
        "Slices": [state.api("thumbnails", f"{scan.name}.jpg") for scan in scans],
        "Scan": [scan.name for scan in scans],
        "State": [look.STATES[scan.state][0] for scan in scans],
        "Size": [look.size_of(scan) for scan in scans],
        "Spacing": [look.spacing_of(scan) for scan in scans],
        "Source": [scan.source_name for scan in scans],
        "Predicted by": [", ".join(scan.predicted_by) for scan in scans],
    }
    if not any(scan.predicted_by for scan in scans):
        del rows["Predicted by"]
    st.caption(f"{len(scans)} of {len(page.scans)} scans")
    st.dataframe(
        rows,
        hide_index=True,
        row_height=74,
        height=min(640, 40 + 74 * max(1, len(scans))),
        column_config={
            "Slices": st.column_config.ImageColumn(width=315),
            "Scan": st.column_config.TextColumn(pinned=True),
        },
    )


root, key = state.study_root(), state.study_key()
st.title("Scans", anchor=False)
if root is None or key is None:
    st.info("Open a study first, or start one.", icon=":material/info:")
    if st.button("To the start", type="primary"):
        st.switch_page("screens/home.py")
    st.stop()
study = state.study_page()
structures = state.new_structures() or (study.structures if study else ())
if structures:
    st.caption(f"{key} · Structures: {', '.join(structures)}")
add(root, key, opened=study is None or not study.scans)
if study is not None:
    structures_form(root)
intake = state.last_intake()
if intake is not None:
    tell(intake)
if study is not None and study.scans:
    table(study)
elif intake is None:
    st.info("No scan yet. Drop the first ones above; the study is made with them.", icon=":material/info:")
