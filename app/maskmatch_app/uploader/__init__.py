"""Drag and drop: files go to the disk of the server in chunks; the page gets only the name of the drop."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import streamlit as st

_HERE = Path(__file__).parent


@cache
def _component() -> Any:
    html, css = ((_HERE / f"uploader.{part}").read_text(encoding="utf-8") for part in ("html", "css"))
    js = "\n".join((_HERE / name).read_text(encoding="utf-8") for name in ("files.js", "uploader.js"))
    return st.components.v2.component("maskmatch.uploader", html=html, css=css, js=js)


SCANS = (
    "Drop scans here",
    "NIfTI, DICOM, NRRD, MetaImage, MGH and pictures, as files, folders or zip archives, with or without masks",
)
"""What stands on the zone for scans: what to do, and what may come."""
MASKS = ("Drop masks here", "NIfTI, NRRD, .seg.nrrd, DICOM-SEG, MetaImage, MGH or pictures; each named as its scan")
"""What stands on the zone for masks of scans that the study has."""


@dataclass(frozen=True)
class Arrived:
    """What has just arrived.

    Args:
        drop: its name, of all that could arrive; empty where nothing did.
        refused: names of the files that did not arrive, each with the reason.
    """

    drop: str = ""
    refused: tuple[tuple[str, str], ...] = ()


def uploader(study: str, token: str, words: tuple[str, str] = SCANS) -> Arrived:
    """Show where files are dropped.

    Args:
        study: the study they are for.
        token: for its routes.
        words: what stands on the zone.

    Returns:
        The drop that has just arrived; an empty one until then.
    """
    data = {"study": study, "token": token, "title": words[0], "accepts": words[1]}
    result = _component()(key=f"uploader {words[0]} {study}", data=data, on_arrived_change=_nothing)
    told = result.arrived or {}
    return Arrived(told.get("drop", ""), tuple((one["name"], one["reason"]) for one in told.get("refused", ())))


def _nothing() -> None:
    """The page reads what arrived from the result."""
