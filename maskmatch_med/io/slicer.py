"""Segmentations of 3D Slicer (.seg.nrrd): NRRD files whose header describes the segments.

``SegmentN_Name``, ``SegmentN_LabelValue``, ``SegmentN_Layer`` and ``SegmentN_Color`` are read; segments that share a
layer exclude each other, layers may overlap. Files of Slicer before 4.11 have no such values: their layer N holds
segment N alone. A grid of a single voxel is Slicer's way of storing no voxels at all. The grid of the file may be a
part of the scan's, beyond which nothing is labelled. Source: the developer guide of 3D Slicer, "Segmentations".
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from maskmatch_med.errors import InputError
from maskmatch_med.io.formats import ReadOptions, StoredScan, format_of
from maskmatch_med.io.segments import Segment, Segmentation, hex_colour, merged, numbered

SUFFIXES = (".nrrd", ".nhdr")
_LARGEST_HEADER = 1 << 22
_FIELD = re.compile(r"^Segment(\d+)_(\w+)$")


@dataclass(frozen=True)
class _Stored:
    """Where a segment lies in the file: the voxels of ``layer`` that hold ``value``."""

    segment: Segment
    layer: int
    value: int


def is_slicer(path: Path) -> bool:
    """Whether a file is NRRD and its header describes segments."""
    if not path.name.lower().endswith(SUFFIXES):
        return False
    return any(_FIELD.match(key) for key, _ in _key_values(path))


def read_segments(path: Path) -> tuple[Segment, ...]:
    """The segments that the header describes; empty for a NRRD file that is no segmentation of Slicer.

    Raises:
        InputError: the description cannot be used.
    """
    return tuple(stored.segment for stored in _stored(path))


def read_slicer(path: Path) -> Segmentation:
    """Read a segmentation with the values of :func:`read_segments`.

    Raises:
        InputError: the file is damaged or empty, segments overlap, or voxels belong to no segment.
    """
    stored = _stored(path)
    scan = _read_layers(path, max(item.layer for item in stored) + 1)
    if scan.geometry.shape == (1, 1, 1):
        raise InputError(f"{path} has no labelled voxel; paint in 3D Slicer and save it again, or leave it out")
    strangers = _unclaimed(scan, stored)
    if strangers is not None:
        raise InputError(f"{path} holds the value {strangers}, which none of its segments has; save it anew")
    labels = merged(_masks(scan, stored), scan.geometry, path)
    return Segmentation(labels, background_outside=True)


def _read_layers(path: Path, layers: int) -> StoredScan:
    row = format_of(path)
    if row is None:
        raise InputError(f"cannot read {path}: a segmentation of 3D Slicer ends in .seg.nrrd")
    scan = row.reader().read(path, ReadOptions(channels=layers))
    if len(scan.array) < layers:
        raise InputError(f"{path} describes {layers} layers but holds {len(scan.array)}; save it anew in 3D Slicer")
    return scan


def _masks(scan: StoredScan, stored: tuple[_Stored, ...]) -> Iterator[tuple[Segment, NDArray[np.bool_]]]:
    for item in stored:
        yield item.segment, scan.array[item.layer] == item.value


def _unclaimed(scan: StoredScan, stored: tuple[_Stored, ...]) -> int | None:
    for layer, values in enumerate(scan.array):
        known = {0, *(item.value for item in stored if item.layer == layer)}
        odd = next((value for value in np.unique(values).tolist() if value not in known), None)
        if odd is not None:
            return int(odd)
    return None


def _stored(path: Path) -> tuple[_Stored, ...]:
    fields: dict[int, dict[str, str]] = {}
    for key, value in _key_values(path):
        match = _FIELD.match(key)
        if match:
            fields.setdefault(int(match[1]), {})[match[2]] = value
    listed = sorted(number for number, field in fields.items() if {"ID", "Name", "LabelValue"} & set(field))
    try:
        places = [_place(number, fields[number]) for number in listed]
        bare = [
            Segment(value, fields[n].get("Name") or fields[n].get("ID", ""), _colour(fields[n].get("Color")))
            for n, (_, value) in zip(listed, places, strict=True)
        ]
    except ValueError as error:
        raise InputError(f"the header of {path} describes a segment without numbers ({error}); save it anew") from error
    if any(layer < 0 or layer > len(listed) for layer, _ in places):
        raise InputError(f"the header of {path} puts a segment into a layer that is not there; save it anew")
    segments = numbered(bare, path)
    return tuple(_Stored(s, layer, value) for s, (layer, value) in zip(segments, places, strict=True))


def _place(number: int, field: dict[str, str]) -> tuple[int, int]:
    """Layer and value; before Slicer 4.11 each segment was a layer of its own with the value 1."""
    if "LabelValue" not in field:
        return number, 1
    return int(field.get("Layer", 0)), int(field["LabelValue"])


def _colour(text: str | None) -> str | None:
    parts = [float(part) for part in (text or "").split()]
    return hex_colour(*parts) if len(parts) == 3 and np.isfinite(parts).all() else None


def _key_values(path: Path) -> list[tuple[str, str]]:
    """The lines ``key:=value`` of a NRRD header, which ends with an empty line or with the file."""
    found = []
    try:
        with path.open("rb") as stream:
            if not stream.readline(64).startswith(b"NRRD"):
                return []
            read = 0
            while read < _LARGEST_HEADER and (line := stream.readline(_LARGEST_HEADER)).strip():
                read += len(line)
                key, separator, value = line.decode("utf-8", errors="replace").rstrip("\r\n").partition(":=")
                if separator:
                    found.append((key.strip(), value.replace("\\n", "\n").replace("\\\\", "\\").strip()))
    except OSError:
        return []
    return found
