"""The viewer and the painter in the page. Voxels travel by HTTP; through the page pass addresses and names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, cast

import streamlit as st

_HERE = Path(__file__).parent
PainterEvent = Literal["next", "versioned", "stale"]
"""What the painter tells the page: it saved and wants the next scan; it made a version; its token is too old."""


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


@dataclass(frozen=True)
class Painting:
    """What is painted, and by whom.

    Args:
        study: the key of the study.
        scan: the name of the scan.
        token: for the routes of the study.
        author: who paints.
        names: of the structures 1, 2, …
        colours: theirs, as ``#rrggbb``.
        models: those that predicted this scan, the newest last.
        version: of the label; None where there is none. Where it was made by other ways than this painter, the painter
            shows what is painted anew.
        picture: whether the scan is a picture, which has no sides of a body.
    """

    study: str
    scan: str
    token: str
    author: str
    names: Sequence[str]
    colours: Sequence[str]
    models: Sequence[str] = ()
    version: str | None = None
    picture: bool = False


@cache
def _component(name: str, *styles: str) -> Any:
    css = "\n".join(_read(f"{style}.css") for style in styles)
    return st.components.v2.component(f"maskmatch.{name}", html=_read(f"{name}.html"), css=css, js=_read("mount.js"))


def _read(file: str) -> str:
    return (_HERE / file).read_text(encoding="utf-8")


def viewer(
    scan: str,
    overlays: Sequence[Overlay],
    names: Sequence[str],
    colours: Sequence[str],
    keys: Mapping[str, str] | None = None,
    picture: bool = False,
) -> str | None:
    """Show a scan.

    Args:
        scan: where its volume is served.
        overlays: what may be laid over it, the first one at once.
        names: of the structures 1, 2, …
        colours: theirs, as ``#rrggbb``.
        keys: of each key that means something to the page, in lower case, the word for it.
        picture: whether the scan is a picture, which has no sides of a body.

    Returns:
        The word of the key that was just pressed; None where none was.
    """
    data = {
        "desk": "Reader",
        "scan": scan,
        "overlays": [asdict(one) for one in overlays],
        "names": list(names),
        "colours": list(colours),
        "keys": dict(keys or {}),
        "picture": picture,
    }
    pressed = _component("viewer", "viewer")(key="viewer", data=data, on_pressed_change=_nothing).pressed
    return None if pressed is None else str(pressed)


def painter(painting: Painting) -> PainterEvent | None:
    """Show a scan to paint on. What is painted goes to the server by itself; a rerun of the page sends nothing again.

    Returns:
        What has just happened; None where nothing has.
    """
    data = {"desk": "Painter", **asdict(painting)}
    for name in ("names", "colours", "models"):
        data[name] = list(data[name])
    return cast(
        "PainterEvent | None",
        _component("painter", "viewer", "painter")(key="painter", data=data, on_event_change=_nothing).event,
    )


def _nothing() -> None:
    """The page reads what happened from the result."""
