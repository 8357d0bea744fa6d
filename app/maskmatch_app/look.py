"""How the pages look: words and colours of the states, cards, strips of pictures, the line below each page."""

from __future__ import annotations

import json
from collections.abc import Sequence
from html import escape
from pathlib import Path
from urllib.parse import quote

import streamlit as st

from maskmatch_app import state
from maskmatch_med import service

PICTURES = Path(__file__).with_name("pictures")
"""Logo, icon and style sheet of the pages."""
STATES: dict[str, tuple[str, str]] = {
    "labelled": ("Labelled", "#0b6e75"),
    "accepted": ("Accepted", "#56b4e9"),
    "partial": ("In part", "#e69f00"),
    "predicted": ("Predicted", "#8b6fc0"),
    "none": ("No label", "#c3ced1"),
}
"""Of each state its words and a colour that colour-blind people tell from the others."""


def dress() -> None:
    """Give the page its looks."""
    st.html(PICTURES / "pages.css")


def brand() -> None:
    """The name of the program, above the navigation."""
    st.logo(PICTURES / "logo.svg", size="large")


def who_works() -> None:
    """Ask who works here; the browser keeps the answer as a cookie of this server, for a year."""
    given = st.text_input("Your name", state.author(), help="It stands beside each label that you make.")
    if given != state.author():
        state.set_author(given)
        cookie = f"{state.AUTHOR_COOKIE}={quote(state.author(), safe='')}; path=/; max-age=31536000; SameSite=Strict"
        st.html(f"<script>document.cookie = {json.dumps(cookie)};</script>", unsafe_allow_javascript=True)


def foot() -> None:
    """The line below each page."""
    st.html('<div class="mm-foot">Research use, not a medical device. Scans and labels stay on this computer.</div>')


def none_yet(text: str) -> str:
    """Why a page is empty: no study is open, or the open one lacks what ``text`` says."""
    return (
        text
        if state.study_root() is not None
        else "No study is open: choose one in the list on the left, or begin one."
    )


def read_only(root: Path) -> None:
    """Say that a study can be looked at only, where it may not be written."""
    if not service.may_write(root):
        st.warning(
            "This study may only be looked at: its folder cannot be written. What is painted, added or trained here "
            "cannot be saved.",
            icon=":material/lock:",
        )


def lost(key: str) -> None:
    """Say that a study is not where it was."""
    st.error(
        f"The study **{plain(key)}** is not where it was. Was its folder moved, renamed or removed, or is its disk not "
        "connected? Put it back and reload this page, or choose another study.",
        icon=":material/folder_off:",
    )


def state_cards(page: service.StudyPage) -> None:
    """How many scans are in each state, as numbers and as a bar."""
    states, total = page.states, len(page.scans)
    cards = [f'<div class="mm-card"><b>{total}</b><span>{"Scan" if total == 1 else "Scans"}</span></div>']
    for key, (word, colour) in STATES.items():
        dot = f'<i class="mm-dot" style="background:{colour}"></i>'
        cards.append(f'<div class="mm-card"><b>{states[key]}</b><span>{dot}{word}</span></div>')
    parts = [
        f'<i style="background:{colour};width:{100 * states[key] / max(total, 1):.2f}%"></i>'
        for key, (_, colour) in STATES.items()
    ]
    st.html(f'<div class="mm-cards">{"".join(cards)}</div><div class="mm-bar">{"".join(parts)}</div>')


def strip(scans: Sequence[service.ScanEntry]) -> None:
    """Small pictures of scans; the browser asks for one when it comes into view."""
    tiles = []
    for scan in scans:
        source = escape(state.api("thumbnails", f"{scan.name}.jpg"), quote=True)
        name, word = escape(scan.name, quote=True), STATES[scan.state][0]
        picture = f'<img loading="lazy" src="{source}" alt="Slices of {name}">'
        tiles.append(f'<div class="mm-scan">{picture}<div>{name}<span>{word}</span></div></div>')
    st.html(f'<div class="mm-strip">{"".join(tiles)}</div>')


def counted(number: int, one: str, many: str = "") -> str:
    """A number with its noun, such as ``1 scan`` and ``12 scans``."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def size_of(scan: service.ScanEntry) -> str:
    """The voxels along each axis, or the pixels of a picture."""
    return " × ".join(str(n) for n in (scan.shape[:2] if scan.is_raster else scan.shape))


def spacing_of(scan: service.ScanEntry) -> str:
    """The millimetres from voxel to voxel; pictures have none."""
    if scan.is_raster:
        return "pixels"
    return "unreadable" if scan.spacing_mm is None else " × ".join(f"{mm:.3g}" for mm in scan.spacing_mm) + " mm"


def plain(text: str) -> str:
    """Text from outside with the signs of Markdown made harmless."""
    return "".join(f"\\{sign}" if sign in "\\`*_{}[]<>#$~|:" else sign for sign in text)
