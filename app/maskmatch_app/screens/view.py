"""View: one scan with its label and its predictions, and the history of its label."""

import streamlit as st

from maskmatch_app import look, state
from maskmatch_app.annotator import Overlay, viewer
from maskmatch_med import service
from maskmatch_med.errors import MaskMatchError


def choose(page: service.StudyPage) -> service.ScanEntry:
    """The scan to look at, with doors to the one before and after."""
    names = [scan.name for scan in page.scans]
    at = names.index(state.scan_name(names))
    chosen, back, on, _ = st.columns([4, 1.7, 1.4, 2], vertical_alignment="bottom")
    words = {scan.name: f"{scan.name} · {look.STATES[scan.state][0]}" for scan in page.scans}
    name = chosen.selectbox("Scan", names, index=at, format_func=words.__getitem__)
    if back.button("Previous", icon=":material/chevron_left:", disabled=at == 0, width="stretch"):
        name = names[at - 1]
    if on.button("Next", icon=":material/chevron_right:", disabled=at == len(names) - 1, width="stretch"):
        name = names[at + 1]
    if name != names[at]:
        state.show_scan(name)
        st.rerun()
    return page.scans[at]


def overlays(scan: service.ScanEntry) -> list[Overlay]:
    """The label, then what the models made of the scan."""
    found = [] if scan.label_version is None else [Overlay("Label", state.api("labels", f"{scan.name}.nii.gz"))]
    return found + [
        Overlay(f"Prediction of {model}", state.api("predictions", model, f"{scan.name}.nii.gz"))
        for model in scan.predicted_by
    ]


def accept(scan: service.ScanEntry) -> None:
    """Take a model's segmentation as the label of a scan that nobody has labelled."""
    root = state.study_root()
    if root is None or scan.state != "predicted":
        return
    with st.container(border=True):
        text, pick, door = st.columns([3, 2, 1.6], vertical_alignment="bottom")
        text.markdown("Is the segmentation right everywhere? Then it can be the label of this scan.")
        model = pick.selectbox("Model", scan.predicted_by, index=len(scan.predicted_by) - 1)
        if door.button("Accept as label", type="primary", icon=":material/check:", width="stretch"):
            try:
                service.accept_prediction(root, scan.name, model)
            except (MaskMatchError, OSError) as error:
                st.error(look.plain(str(error)), icon=":material/error:")
            else:
                st.rerun()


def history(name: str) -> None:
    """Every version of the label, the newest first."""
    root = state.study_root()
    versions = service.label_history(root, name) if root else []
    with st.expander(f"History of the label · {len(versions)}", icon=":material/history:"):
        if not versions:
            st.caption("Nobody has labelled this scan yet.")
            return
        rows = {
            "Version": [one.version for one in versions],
            "Made": [one.created for one in versions],
            "By": [one.author or "unknown" for one in versions],
            "From": [one.source for one in versions],
            "Judged": ["every voxel" if one.complete else "a part" for one in versions],
        }
        st.dataframe(rows, hide_index=True)


study = state.study_page()
if study is None or not study.scans:
    st.title("View", anchor=False)
    st.info("There is no scan to look at yet.", icon=":material/info:")
    if st.button("To the scans", type="primary"):
        st.switch_page("screens/scans.py")
    st.stop()
scan = choose(study)
version = f"&version={scan.label_version}"
viewer(
    state.api("scans", scan.name, "0.nii.gz"),
    [Overlay(one.name, one.url + version) for one in overlays(scan)],
    study.structures,
    study.colours,
)
st.caption(f"{look.size_of(scan)} voxels · {look.spacing_of(scan)} · from {scan.source_name}")
accept(scan)
history(scan.name)
