"""The viewer in the page. Volumes come to it by HTTP; what passes through the page are addresses and names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import streamlit as st

_HERE = Path(__file__).parent


@dataclass(frozen=True)
class Overlay:
    """A label map to lay over the scan.

    Args:
        name: what people call it.
        url: where it is served.
    """

    name: str
    url: str


@cache
def _component() -> Any:
    html, css, js = ((_HERE / name).read_text(encoding="utf-8") for name in ("viewer.html", "viewer.css", "mount.js"))
    return st.components.v2.component("maskmatch.viewer", html=html, css=css, js=js)


def viewer(scan: str, overlays: Sequence[Overlay], names: Sequence[str], colours: Sequence[str]) -> None:
    """Show a scan.

    Args:
        scan: where its volume is served.
        overlays: what may be laid over it, the first one at once.
        names: of the structures 1, 2, …
        colours: theirs, as ``#rrggbb``.
    """
    data = {
        "scan": scan,
        "overlays": [{"name": one.name, "url": one.url} for one in overlays],
        "names": list(names),
        "colours": list(colours),
    }
    _component()(key="viewer", data=data)
