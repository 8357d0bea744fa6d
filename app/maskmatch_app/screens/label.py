"""Label: paint on a scan. What is painted saves itself; Save & next goes on with what most needs labelling."""

import streamlit as st

from maskmatch_app import look, state
from maskmatch_app.annotator import Painting, painter
from maskmatch_app.parts import history
from maskmatch_med import service


def choose(page: service.StudyPage) -> service.ScanEntry:
    """The scan to paint on, with doors to the one before and after."""
    names = [scan.name for scan in page.scans]
    asked = st.query_params.get("scan")
    at = names.index(state.scan_name(names))
    if asked and asked not in names:
        told = f"{look.plain(asked)} is not in the study any more; you now see **{look.plain(names[at])}**"
        st.toast(told, icon=":material/swap_horiz:", duration="infinite")
    chosen, back, on = st.columns([3.2, 1.4, 1.4], vertical_alignment="bottom")
    words = {scan.name: f"{scan.name} · {look.STATES[scan.state][0]}" for scan in page.scans}
    name = chosen.selectbox("Scan", names, index=at, format_func=words.__getitem__, label_visibility="collapsed")
    if back.button("Previous", icon=":material/chevron_left:", disabled=at == 0, width="stretch"):
        name = names[at - 1]
    if on.button("Next", icon=":material/chevron_right:", disabled=at == len(names) - 1, width="stretch"):
        name = names[at + 1]
    if name != names[at]:
        state.show_scan(name)
        st.rerun()
    return page.scans[at]


def go_on(name: str) -> None:
    """Turn to what comes after a scan that was saved: what most needs labelling, or the review that sent it here."""
    if st.query_params.get("from") == "review":
        st.switch_page("screens/review.py")
    root = state.study_root()
    following = None if root is None else service.next_to_label(root, name)
    if following is None:
        st.toast("Saved. Every other scan has a complete label.", icon=":material/check:")
        return
    state.show_scan(following)
    st.rerun()


study = state.study_page()
if study is None or not study.scans:
    st.title("Label", anchor=False)
    st.info(look.none_yet("There is no scan to paint on yet."), icon=":material/info:")
    if st.button("To the scans", type="primary"):
        st.switch_page("screens/scans.py")
    st.stop()
scan = choose(study)
happened = painter(
    Painting(
        study=state.study_key() or "",
        scan=scan.name,
        token=state.token(),
        author=state.author(),
        names=study.structures,
        colours=study.colours,
        models=scan.predicted_by,
        version=scan.label_version,
        picture=scan.is_raster,
    )
)
if happened == "next":
    go_on(scan.name)
history.panel(scan.name)
st.caption(f"{look.size_of(scan)} voxels · {look.spacing_of(scan)} · from {scan.source_name}")
