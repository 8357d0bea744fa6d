"""A page of scans as a table: a click, or Enter, on a scan opens it; pictures are asked for as they come into view."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import streamlit as st

from maskmatch_app import look, state
from maskmatch_med import service

_HERE = Path(__file__).parent
Wish = Literal["open", "remove", "turn"]


@dataclass(frozen=True)
class Listing:
    """What a page of the table shows.

    Args:
        scans: of this page.
        page: counted from 0.
        first: rank of the first scan among those found, counted from 1.
        found: how many fit the search.
        total: how many the study holds.
    """

    scans: Sequence[service.ScanEntry]
    page: int
    first: int
    found: int
    total: int


@cache
def _component() -> Any:
    html, css, js = ((_HERE / f"listing.{part}").read_text(encoding="utf-8") for part in ("html", "css", "js"))
    return st.components.v2.component("maskmatch.listing", html=html, css=css, js=js)


def listing(shown: Listing) -> tuple[Wish, str] | None:
    """Show a page of the table.

    Returns:
        What was just asked for: ``open`` or ``remove`` with the name of a scan, ``turn`` with the number of a page.
    """
    told = {
        "rows": [_row(scan) for scan in shown.scans],
        "page": shown.page,
        "first": shown.first,
        "found": shown.found,
        "total": shown.total,
        "groups": any(scan.group for scan in shown.scans),
        "models": any(scan.predicted_by for scan in shown.scans),
    }
    result = _component()(key=f"listing {state.study_key()}", data=told, on_wish_change=_nothing)
    wish = result.wish
    return (wish["what"], str(wish["of"])) if wish else None


def _row(scan: service.ScanEntry) -> dict[str, str]:
    word, colour = look.STATES[scan.state]
    version = scan.label_version or "none"
    return {
        "name": scan.name,
        "picture": state.api("thumbnails", f"{scan.name}.jpg") + f"&version={version}",
        "state": word,
        "colour": colour,
        "size": look.size_of(scan),
        "spacing": look.spacing_of(scan),
        "source": "" if scan.source_name.startswith(scan.name) else scan.source_name,
        "group": scan.group or "",
        "models": ", ".join(scan.predicted_by),
    }


def _nothing() -> None:
    """The page reads what was asked for from the result."""
