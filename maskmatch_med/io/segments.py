"""Segments: what a segmentation file says of its own classes, and how separate masks become one label map."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from maskmatch_med.errors import InputError
from maskmatch_med.io.labels import UNJUDGED, LabelMap
from maskmatch_med.volume import Geometry


@dataclass(frozen=True)
class Segment:
    """One class as a file describes it.

    Args:
        value: by which it stands in the label map, 1 to 254.
        name: as its author called it.
        colour: in which it is shown, ``#rrggbb``; None where nothing says so.
    """

    value: int
    name: str
    colour: str | None = None


@dataclass(frozen=True, eq=False)
class Segmentation:
    """A label map as a file stores it.

    Args:
        labels: on the file's own grid, with the file's own values.
        background_outside: whether nothing is labelled beyond the grid, because the format stores only the box around
            what is labelled; False where nothing is known of what lies outside.
    """

    labels: LabelMap
    background_outside: bool = False


def numbered(segments: Sequence[Segment], path: Path) -> tuple[Segment, ...]:
    """The same segments with values of their own: those of the file where they differ, else 1, 2, … in its order.

    Raises:
        InputError: two of them share a name, one has none, or there are too many.
    """
    names = [segment.name for segment in segments]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise InputError(f"{path} has two segments called {twice!r}; join them or give them names of their own")
    if not all(name.strip() for name in names):
        raise InputError(f"{path} has a segment without a name; name it in the program that made it")
    if len(segments) >= UNJUDGED:
        raise InputError(f"{path} has {len(segments)} segments; at most 254 are possible")
    values = [segment.value for segment in segments]
    if len(set(values)) == len(values) and all(0 < value < UNJUDGED for value in values):
        return tuple(segments)
    return tuple(replace(segment, value=place) for place, segment in enumerate(segments, start=1))


def merged(masks: Iterable[tuple[Segment, NDArray[np.bool_]]], geometry: Geometry, path: Path) -> LabelMap:
    """One label map of the masks of single segments.

    Args:
        masks: each segment with its mask (X, Y, Z); a segment may come more than once.
        geometry: the grid of the masks.
        path: named in messages.

    Raises:
        InputError: two segments claim the same voxel; here a voxel has one class.
    """
    labels = np.zeros(geometry.shape, np.uint8)
    names: dict[int, str] = {}
    for segment, mask in masks:
        names[segment.value] = segment.name
        taken = labels[mask]
        others = taken[(taken != 0) & (taken != segment.value)]
        if others.size:
            raise InputError(
                f"the segments {names[int(others[0])]!r} and {segment.name!r} of {path} overlap in {others.size} "
                "voxels, but a voxel has one class here; make them exclude each other in the program that made them"
            )
        labels[mask] = segment.value
    return LabelMap(labels, geometry)


def hex_colour(red: float, green: float, blue: float) -> str:
    """``#rrggbb`` of three shares from 0 to 1; what lies outside is cut."""
    return "#" + "".join(f"{round(255 * min(max(share, 0.0), 1.0)):02x}" for share in (red, green, blue))
