"""Bring masks of another program: a folder on the server, or files dropped here, to be reviewed like a model's."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import streamlit as st

from maskmatch_app import failures, look, state, uploads
from maskmatch_app.shelf import arrived
from maskmatch_app.uploader import MASKS, uploader
from maskmatch_med import service
from maskmatch_med.errors import MaskMatchError


def panel(root: Path, opened: bool) -> None:
    """The form, and what came of the last masks."""
    with st.expander("Bring masks of another program", expanded=opened, icon=":material/input:"):
        st.caption(
            "They are reviewed like the segmentations of a model. A mask has the name of its scan; its values are "
            "those of the structures, in their order, or its file names them."
        )
        name = st.text_input("Where do they come from?", "other program", key="masks from", max_chars=60).strip()
        came = uploader(state.study_key() or "", state.token(), MASKS)
        if came.drop and arrived(root, came.drop).is_dir():
            _take_in(root, arrived(root, came.drop), name, came.refused)
            uploads.discard(root, came.drop)
            st.rerun()
        with st.form("folder of masks", border=False):
            place, door = st.columns([4, 1.3], vertical_alignment="bottom")
            given = place.text_input("Or a folder on the computer that runs this program", placeholder="/data/masks")
            asked = door.form_submit_button("Take the masks in", icon=":material/folder_open:", width="stretch")
        if asked and given.strip():
            _take_in(root, Path(given.strip()).expanduser(), name)
            st.rerun()
        _tell()


def _take_in(root: Path, source: Path, name: str, lost: Iterable[tuple[str, str]] = ()) -> None:
    try:
        intake = service.take_in_masks(source, root, name)
    except (MaskMatchError, OSError) as error:
        intake = service.MaskIntake(refused=[service.Refusal(source.name, failures.in_words(error))])
    state.keep_masks(replace(intake, refused=[*(service.Refusal(*one) for one in lost), *intake.refused]))


def _tell() -> None:
    intake = state.last_masks()
    if intake is None:
        return
    if intake.taken:
        st.success(f"{look.counted(len(intake.taken), 'mask')} taken in.", icon=":material/check_circle:")
    for refusal in intake.refused:
        st.warning(f"**{look.plain(refusal.name)}** stays out: {look.plain(refusal.reason)}", icon=":material/block:")
    for note in intake.notes:
        st.info(look.plain(note), icon=":material/info:")
