"""Scans: bring them in, and see what the study holds."""

from pathlib import Path
from typing import Literal

import streamlit as st

from maskmatch_app import failures, look, state, uploads
from maskmatch_app.listing import Listing, listing
from maskmatch_app.parts.structures import structures_form
from maskmatch_app.shelf import arrived
from maskmatch_app.uploader import uploader
from maskmatch_med import service
from maskmatch_med.errors import MaskMatchError

_ROWS = 25
_REFUSED, _ALL, _SOME = "is refused", "every volume is a channel", "some volumes are channels"


Refused = tuple[tuple[str, str], ...]
"""Files that did not arrive, each with the reason."""


def reading_options() -> service.ImportOptions:
    """How scans are to be read, by what :func:`volumes_of_files` asks.

    Raises:
        InputError: the volumes are no numbers.
    """
    kept = st.session_state
    frames: tuple[int, ...] | Literal["all"] | None = None
    if (way := kept.get("frames way")) == _ALL:
        frames = "all"
    elif way == _SOME:
        frames = service.frame_numbers(kept.get("frames", ""))
    return service.ImportOptions(
        label_names=state.new_structures(), frames=frames, magnitude=bool(kept.get("magnitude"))
    )


def volumes_of_files() -> None:
    """Ask what becomes of a fourth axis and of complex values, which nothing in a file tells."""
    with st.popover(service.READING, icon=":material/layers:"):
        way = st.radio("A file with a fourth axis, of channels or of time", (_REFUSED, _ALL, _SOME), key="frames way")
        if way == _SOME:
            st.text_input("Volumes, counted from 0", key="frames", placeholder="0, 2")
        st.checkbox("Of complex values take the magnitude", key="magnitude")


def take_in(root: Path, source: Path, name: str, lost: Refused = ()) -> bool:
    """Bring the scans of a folder into the study, with a bar that moves; False where the disk would not have them."""
    bar = st.progress(0.0, "Looking at the scans …")

    def show(done: int, total: int, text: str) -> None:
        bar.progress(min(1.0, done / max(total, 1)), text or "Done")

    written = True
    try:
        intake = service.take_in(source, root, reading_options(), show)
    except (MaskMatchError, OSError) as error:
        written = isinstance(error, MaskMatchError)
        intake = service.Intake(refused=[service.Refusal(name, failures.in_words(error))])
    intake.refused = [service.Refusal(*one) for one in lost] + [
        service.Refusal(name, one.reason) if one.name == source.name else one for one in intake.refused
    ]
    state.keep_intake(intake)
    bar.empty()
    return written


def take_in_drop(root: Path, drop: str, lost: Refused = ()) -> None:
    """Bring in what was dropped; the upload is kept where the disk was full, for another try."""
    source = arrived(root, drop)
    while len(inside := list(source.iterdir())) == 1 and inside[0].is_dir():
        source = inside[0]  # a folder was dropped: it is the data set
    if take_in(root, source, "The upload", lost):
        uploads.discard(root, drop)
    st.rerun()


def unfinished(root: Path) -> None:
    """Ask what shall become of uploads whose page was closed before all had arrived, or that found the disk full."""
    for drop, files in uploads.cut_short(root).items():
        names = listed([path.name for path in files])
        with st.container(border=True, key=f"unfinished {drop}"):
            st.markdown(
                f"**An upload was not taken in.** {len(files)} of its files are here whole: {names}. "
                "Where it was cut short, drop the same files again to complete it; or decide about these now."
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
        st.success(
            f"{look.counted(len(intake.added), 'scan')} added: {listed(intake.added)}", icon=":material/check_circle:"
        )
    if intake.labelled:
        st.success(f"{len(intake.labelled)} came with a label.", icon=":material/check_circle:")
    if intake.unchanged:
        st.info(
            f"{look.counted(len(intake.unchanged), 'scan')} here already: {listed(intake.unchanged)}",
            icon=":material/info:",
        )
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
    if not service.may_write(root):
        return
    with st.expander("Add scans", expanded=opened, icon=":material/upload:"):
        came = uploader(key, state.token())
        volumes_of_files()
        if came.drop and arrived(root, came.drop).is_dir():
            take_in_drop(root, came.drop, came.refused)
        unfinished(root)
        with st.form("folder", border=False):
            place, door = st.columns([4, 1], vertical_alignment="bottom")
            given = place.text_input("Or a folder on the computer that runs this program", placeholder="/data/scans")
            asked = door.form_submit_button("Add the folder", icon=":material/folder_open:", width="stretch")
        if asked and given.strip():
            take_in(root, Path(given.strip()).expanduser(), given.strip())
            st.rerun()


def table(root: Path, page: service.StudyPage) -> None:
    """The scans that fit the search, page by page."""
    words = {word: key for key, (word, _) in look.STATES.items() if page.states[key]}
    search, states = st.columns([1, 2], vertical_alignment="bottom")
    wanted = search.text_input("Find", placeholder="Name, file or patient", icon=":material/search:").casefold()
    kept = {words[word] for word in states.pills("State", list(words), selection_mode="multi") if word in words}
    scans = [
        scan
        for scan in page.scans
        if wanted in f"{scan.name}\n{scan.source_name}\n{scan.group or ''}".casefold()
        and (not kept or scan.state in kept)
    ]
    if not scans:
        st.info("No scan fits this search.", icon=":material/search_off:")
        return
    at = state.table_page((wanted, *sorted(kept)), -(-len(scans) // _ROWS))
    first = at * _ROWS
    asked = listing(Listing(scans[first : first + _ROWS], at, first + 1, len(scans), len(page.scans)))
    if asked is None:
        return
    what, of = asked
    if what == "open":
        state.show_scan(of)
        st.switch_page("screens/label.py")
    elif what == "remove":
        sure(root, of)
    else:
        state.turn_table(int(of))
        st.rerun()


@st.dialog("Remove this scan?")
def sure(root: Path, name: str) -> None:
    """Ask before a scan goes."""
    st.markdown(
        f"**{look.plain(name)}** leaves the study with its labels and predictions. They are kept in the folder "
        "*removed* of the study, and can be brought back at the end of this page."
    )
    yes, no = st.columns(2)
    if no.button("Keep it", type="primary", width="stretch"):
        st.rerun()
    if yes.button("Remove it", width="stretch"):
        try:
            service.remove_scan(root, name, state.author())
        except (MaskMatchError, OSError) as error:
            st.error(look.plain(failures.in_words(error)), icon=":material/error:")
        else:
            st.rerun()


def removed(root: Path) -> None:
    """The scans that were taken out, each with a way back."""
    aside = service.removed_scans(root)
    if not aside:
        return
    with st.expander(f"{look.counted(len(aside), 'removed scan')}", icon=":material/delete:"):
        if error := st.session_state.pop("not restored", None):
            st.error(look.plain(error), icon=":material/error:")
        for one in aside[:_ROWS]:
            told, door = st.columns([4, 1.4], vertical_alignment="center")
            by = f" by {one.author}" if one.author else ""
            told.markdown(
                f"**{look.plain(one.name)}** · removed {one.removed[:16].replace('T', ' ')} UTC{look.plain(by)}"
            )
            if door.button(
                "Bring back", key=f"back {one.folder.name}", width="stretch", disabled=not service.may_write(root)
            ):
                try:
                    service.restore_scan(root, one.folder)
                except (MaskMatchError, OSError) as wrong:
                    st.session_state["not restored"] = failures.in_words(wrong)
                st.rerun()
        if len(aside) > _ROWS:
            st.caption(f"{len(aside) - _ROWS} more, of earlier, are in the folder *removed* of the study.")


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
    st.caption(look.plain(f"{key} · Structures: {', '.join(structures)}"))
look.read_only(root)
add(root, key, opened=study is None or not study.scans)
intake = state.last_intake()
if intake is not None:
    tell(intake)
if study is not None:
    structures_form(root)
if study is not None and study.scans:
    table(root, study)
elif intake is None:
    st.info("No scan yet. Drop the first ones above; the study is made with them.", icon=":material/info:")
if study is not None:
    removed(root)
