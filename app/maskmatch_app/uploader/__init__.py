"""Drag and drop: files go to the disk of the server in chunks, only their number comes back through the page."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import streamlit as st

_HERE = Path(__file__).parent


@cache
def _component() -> Any:
    html, css, js = ((_HERE / f"uploader.{part}").read_text(encoding="utf-8") for part in ("html", "css", "js"))
    return st.components.v2.component("maskmatch.uploader", html=html, css=css, js=js)


def uploader(study: str, token: str) -> int:
    """Show where files are dropped.

    Args:
        study: the study they are for.
        token: for its routes.

    Returns:
        How many files have just arrived; 0 until all of a drop are there.
    """
    result = _component()(key=f"uploader {study}", data={"study": study, "token": token}, on_arrived_change=_nothing)
    return int(result.arrived or 0)


def _nothing() -> None:
    """The page reads what arrived from the result."""
