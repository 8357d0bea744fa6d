"""The history of a scan as a panel: a timeline, and a door back to every version of its label."""

from __future__ import annotations

from datetime import datetime
from html import escape
from pathlib import Path

import streamlit as st

from maskmatch_app import failures, look, state
from maskmatch_med import service
from maskmatch_med.errors import MaskMatchError

_ICONS = {
    "taken in": ":material/input:",
    "label": ":material/brush:",
    "prediction": ":material/smart_toy:",
    "verdict": ":material/fact_check:",
    "training": ":material/model_training:",
    "export": ":material/output:",
}
_AT_ONCE = 12


def panel(name: str) -> None:
    """Show all that was done to a scan, newest first; a version is restored after a question, then the page reruns."""
    root = state.study_root()
    if root is None:
        return
    try:
        events = service.scan_history(root, name)
    except (MaskMatchError, OSError) as error:
        st.error(look.plain(failures.in_words(error)), icon=":material/error:")
        return
    with st.expander(f"History of {look.plain(name)} · {len(events)}", icon=":material/history:"):
        everything = len(events) <= _AT_ONCE or st.toggle(
            f"Show all {len(events)}", key=f"whole history {name}", help=f"Else the newest {_AT_ONCE}"
        )
        for place, event in enumerate(events if everything else events[:_AT_ONCE]):
            _row(root, name, event, place)


def _row(root: Path, name: str, event: service.Event, place: int) -> None:
    what, door = st.columns([6, 1.6], vertical_alignment="center")
    who = f" by {look.plain(event.author)}" if event.author else ""
    badges = " :green-badge[Label of now]" if event.current else ""
    if event.complete is not None:
        badges += " :gray-badge[every voxel judged]" if event.complete else " :orange-badge[judged in part]"
    what.markdown(f"{_ICONS[event.kind]} **{look.plain(event.title)}**{who}{badges}")
    told = [_when(event.when), *(look.plain(note) for note in event.notes)]
    if event.kind == "label" and event.parent is not None:
        told.insert(1, f"made from {event.parent}")
    what.caption(" · ".join(told))
    if event.kind == "label" and event.version is not None:
        with door.popover("Look", icon=":material/visibility:", width="stretch", key=f"version {name} {place}"):
            _version(root, name, event)


def _version(root: Path, name: str, event: service.Event) -> None:
    """A picture of a version, loaded when it comes into view, and the door back to it."""
    version = event.version or ""
    source = escape(state.api("versions", name, f"{version}.jpg"), quote=True)
    about = escape(f"Slices of {name} with label {version}", quote=True)
    st.html(
        f'<img loading="lazy" src="{source}" alt="{about}" style="width:100%;border-radius:.4rem;background:#0b0b0b">'
    )
    if event.current:
        st.caption("This is the label of now.")
        return
    st.markdown(
        f"Restore label {version}? It becomes the label of now, as a new version. What is painted and not yet saved "
        "becomes a version before; nothing is lost."
    )
    able = service.may_write(root)
    if st.button("Restore this version", key=f"restore {name} {version}", type="primary", disabled=not able):
        try:
            service.restore_version(root, name, version, state.author())
        except (MaskMatchError, OSError) as error:
            st.error(look.plain(failures.in_words(error)), icon=":material/error:")
        else:
            st.rerun()


def _when(stamp: str) -> str:
    """A time in words, on the clock of this computer."""
    try:
        then = datetime.fromisoformat(stamp).astimezone()
    except ValueError:
        return look.plain(stamp)
    return f"{then.day} {then:%b %Y, %H:%M}"
