"""The form of an export: what, of which scans, how; then the zip to download, or the folder on the server."""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from pathlib import Path
from typing import Any

import streamlit as st

from maskmatch_app import failures, look, state
from maskmatch_app.parts.bars import moving
from maskmatch_med import service
from maskmatch_med.errors import MaskMatchError

_FORMATS = {
    "nifti": "NIfTI",
    "nnunet": "nnU-Net data set",
    "png": "PNG masks",
    "tables": "Tables (CSV)",
    "model": "Model",
}
_HOLDS = {
    "nifti": "One segmentation a scan, on the scan's own grid, as .nii.gz.",
    "nnunet": "A raw data set that nnU-Net reads: scans, labels, dataset.json.",
    "png": "Pictures: of a 2D scan one of its size and name, of a volume its slices.",
    "tables": "Volumes of each structure and scan, and the scores of the models.",
    "model": "Weights, plan, settings and model card: what `maskmatch predict` needs.",
}
_UNJUDGED = {"marked": "Marked (255; nnU-Net: ignore)", "background": "As background (0)"}


def export_form(root: Path, page: service.StudyPage) -> None:
    """Ask what to export, and write it."""
    st.markdown("**Research use, not a medical device.** The same stands in the README of every export.")
    format_ = st.segmented_control("Format", list(_FORMATS), default="nifti", format_func=_FORMATS.__getitem__)
    if format_ is None:
        st.info("Choose a format.", icon=":material/info:")
        return
    st.caption(_HOLDS[format_])
    order = _model(root, page) if format_ == "model" else _segmentations(root, page, format_)
    if order is None:
        return
    zipped, folder = st.columns(2, gap="large")
    with zipped.container(border=True, height="stretch"):
        st.markdown("**Download**")
        _download(root, order)
    with folder.container(border=True, height="stretch"):
        st.markdown("**Folder on the computer of the server**")
        _folder(root, order)


def _model(root: Path, page: service.StudyPage) -> service.ExportOrder | None:
    models = [one.model for one in page.rounds]
    if not models:
        st.info("There is no finished model yet. Train one first.", icon=":material/info:")
        return None
    model = st.selectbox("Model", models, index=len(models) - 1)
    st.caption("Names of scans do not leave with a model.")
    return service.ExportOrder(format="model", model=model, author=state.author())


def _segmentations(root: Path, page: service.StudyPage, format_: Any) -> service.ExportOrder | None:
    what, which = st.columns(2, gap="large")
    accepted = what.checkbox("Also labels that are an accepted prediction", value=True)
    models = service.predicting_models(root)
    model = what.selectbox(
        "Scans without a label",
        [None, *models],
        format_func=lambda one: "are left out" if one is None else f"predictions of {one}",
    )
    names = [scan.name for scan in page.scans]
    chosen = which.multiselect("Scans", names, placeholder=f"All {len(names)}")
    unjudged: Any = which.radio(
        "Voxels that nobody judged", list(_UNJUDGED), format_func=_UNJUDGED.__getitem__, horizontal=True
    )
    solid = any(not scan.is_raster and 1 not in scan.shape for scan in page.scans)
    plane: Any = None
    if format_ == "png" and solid:
        plane = which.segmented_control("Slices of volumes", ["axial", "coronal", "sagittal"], default="axial")
    order = service.ExportOrder(
        format=format_,
        accepted=accepted,
        model=model,
        scans=tuple(chosen) or None,
        unjudged=unjudged,
        plane=plane,
        author=state.author(),
    )
    labels, predictions = service.exportable(root, order)
    told = look.counted(labels, "label")
    if model:
        told += f" and {look.counted(predictions, 'prediction')} that nobody has accepted"
    st.caption(f"This export holds {told}.")
    if labels + predictions == 0:
        st.info("Nothing to export yet: label a scan, or choose the predictions of a model.", icon=":material/info:")
        return None
    return order


def _download(root: Path, order: service.ExportOrder) -> None:
    made = state.download_of(root, order)
    if st.button("Prepare the export", type="secondary" if made else "primary", icon=":material/archive:"):
        made = _attempt(lambda show: service.prepare_download(root, order, show))
        if made is not None:
            state.keep_download(root, order, made)
    if made is None:
        st.caption("A zip is written; it stays for a day. Keep this page open until it is ready: a reload begins anew.")
        return
    address = escape(state.api("exports", made.key, made.name), quote=True)
    name = escape(made.name, quote=True)
    st.html(f'<a class="mm-download" href="{address}" download="{name}">Download {name}</a>')
    st.caption(f"{_size(made.size)} · ready for a day")


def _folder(root: Path, order: service.ExportOrder) -> None:
    given = st.text_input("New or empty folder", placeholder="/data/exports/round-1").strip()
    if st.button("Write the folder", icon=":material/folder:", disabled=not given):
        written = _attempt(lambda show: service.export_study(root, Path(given).expanduser(), order, show))
        if written is not None:
            st.success(f"{look.counted(len(written), 'file')} written to {look.plain(given)}", icon=":material/check:")


def _attempt(verb: Callable[[Callable[[int, int, str], None]], Any]) -> Any:
    """Do it with a bar that moves; a failure is said in a sentence, and None given."""
    try:
        with moving("Preparing …") as show:
            return verb(show)
    except (MaskMatchError, OSError) as error:
        st.error(look.plain(failures.in_words(error)), icon=":material/error:")
        return None


def _size(size: int) -> str:
    """Bytes in words."""
    return f"{size / 2**20:,.1f} MB" if size >= 2**20 else f"{max(1, size >> 10)} kB"
