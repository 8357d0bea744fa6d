"""The queue of segmentations that wait for eyes, as a list with pictures; a click on one brings it into view."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import streamlit as st

from maskmatch_app import state
from maskmatch_med import service

_HERE = Path(__file__).parent


@cache
def _component() -> Any:
    html, css, js = ((_HERE / f"queue.{part}").read_text(encoding="utf-8") for part in ("html", "css", "js"))
    return st.components.v2.component("maskmatch.queue", html=html, css=css, js=js)


def queue(items: Sequence[service.ReviewItem], current: str) -> str | None:
    """Show the queue.

    Args:
        items: in their order.
        current: the scan in view.

    Returns:
        The scan that was just clicked; None where none was.
    """
    data = {"rows": [_row(item) for item in items], "current": current}
    picked = _component()(key=f"queue {state.study_key()}", data=data, on_picked_change=_nothing).picked
    return None if picked is None else str(picked)


def level(item: service.ReviewItem) -> tuple[str, str]:
    """How much a segmentation needs eyes, in a word and a colour."""
    if not item.measured:
        return "Not measured", "#8a9da2"
    if not item.has_uncertainty and item.score < _LOOK:
        return "Look", "#e69f00"
    return next((word, colour) for least, word, colour in _LEVELS if item.score >= least)


_LOOK = 0.3
_LEVELS = ((0.6, "Look closely", "#d55e00"), (_LOOK, "Look", "#e69f00"), (0.0, "Nothing unusual", "#0b6e75"))


def _row(item: service.ReviewItem) -> dict[str, Any]:
    word, colour = level(item)
    return {
        "name": item.case,
        "picture": state.api("thumbnails", f"{item.case}.jpg"),
        "reason": item.reason,
        "score": round(100 * item.score),
        "word": word,
        "colour": colour,
    }


def _nothing() -> None:
    """The page reads what was clicked from the result."""
