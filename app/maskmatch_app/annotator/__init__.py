"""The viewer in the page. Volumes come to it by HTTP; what passes through the page are addresses and names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import streamlit as st

_HERE = Path(__file__).parent


@dataclass(frozen=True)
class Overlay:
    """A volume to lay over the scan, on the scan's grid.

    Args:
        name: what people call it.
        url: where it is served.
        kind: "labels"; "uncertainty", 0 to 1 or 0 to 255; "difference", 1 where only the new one is, 2 where only
            the other.
    """

    name: str
    url: str
    kind: Literal["labels", "uncertainty", "difference"] = "labels"


@cache
def _component() -> Any:
    html, css, js = ((_HERE / name).read_text(encoding="utf-8") for name in ("viewer.html", "viewer.css", "mount.js"))
    return st.components.v2.component("maskmatch.viewer", html=html, css=css, js=js)


def viewer(
    scan: str,
    overlays: Sequence[Overlay],
    names: Sequence[str],
    colours: Sequence[str],
    keys: Mapping[str, str] | None = None,
) -> str | None:
    """Show a scan.

    Args:
        scan: where its volume is served.
        overlays: what may be laid over it, the first one at once.
        names: of the structures 1, 2, …
        colours: theirs, as ``#rrggbb``.
        keys: of each key that means something to the page, in lower case, the word for it.

    Returns:
        The word of the key that was just pressed; None where none was.
    """
    data = {
        "desk": "Reader",
        "scan": scan,
        "overlays": [{"name": one.name, "url": one.url, "kind": one.kind} for one in overlays],
        "names": list(names),
        "colours": list(colours),
        "keys": dict(keys or {}),
    }
    pressed = _component()(key="viewer", data=data, on_pressed_change=_nothing).pressed
    return None if pressed is None else str(pressed)


def _nothing() -> None:
    """The page reads what was pressed from the result."""
