"""What is remembered of a scan once it is put away, to hold it against the others: some 10 kB, whatever its size."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from maskmatch_med.io import LabelMap
from maskmatch_med.io.labels import UNJUDGED
from maskmatch_med.study.case import Case
from maskmatch_med.study.checking.sides import Signature, signature, thinned
from maskmatch_med.volume import Array, Volume

_ENOUGH_VOXELS = 1_000_000
_MOST_STRUCTURES = 6
HANDFUL = 50
"""Labels that set fewer voxels apart can be the same under two scans by chance, and empty ones always are."""


@dataclass(frozen=True, eq=False)
class Measures:
    """One scan in numbers.

    Args:
        name: the case.
        group: its patient group.
        is_raster: whether it came from a 2D picture, which has no millimetres and no patient's sides.
        spacing_mm: along right, front and head.
        extent_mm: size of the grid along right, front and head.
        dark: by channel, the 1st percentile of the finite values; 0 where there are none.
        bright: by channel, the 99th percentile of the absolute finite values; 0 where all values are the same.
        digests: by channel, a hash of the values.
        label_digest: a hash of the label; None without one or without a structure in it.
        label_is_trivial: whether fewer than ``HANDFUL`` voxels of the label are of another value than all the rest.
        volumes_ml: of each structure that a complete label shows.
        values: the classes that the label shows.
        side: what changes sign when the scan is mirrored.
        label_side: the same of the label.
    """

    name: str
    group: str | None
    is_raster: bool
    spacing_mm: tuple[float, float, float]
    extent_mm: tuple[float, float, float]
    dark: tuple[float, ...]
    bright: tuple[float, ...]
    digests: tuple[bytes, ...]
    label_digest: bytes | None
    label_is_trivial: bool
    volumes_ml: Mapping[str, float]
    values: tuple[int, ...]
    side: Signature | None
    label_side: Signature | None


def measure(case: Case, scan: Volume, label: LabelMap | None, label_names: Mapping[str, int]) -> Measures:
    """Take the numbers of one scan.

    Args:
        case: what it is called and where it came from.
        scan: (C, X, Y, Z).
        label: its current label, or None.
        label_names: class name to value.
    """
    orientation = scan.geometry.to_canonical()
    target = orientation.target
    values = () if label is None else label.values
    return Measures(
        name=case.name,
        group=case.group,
        is_raster=case.is_raster,
        spacing_mm=target.spacing_mm,
        extent_mm=_product(target.shape, target.spacing_mm),
        dark=tuple(_dark(channel) for channel in scan.array),
        bright=tuple(_bright(channel) for channel in scan.array),
        digests=tuple(_digest(channel) for channel in scan.array),
        label_digest=None if label is None or set(values) <= {0, UNJUDGED} else _digest(label.array),
        label_is_trivial=label is None or _is_trivial(label),
        volumes_ml={} if label is None else _volumes(label, label_names),
        values=values,
        side=None if case.is_raster else signature(_windowed(thinned(orientation.apply(scan.array[0])))),
        label_side=None if label is None or case.is_raster else _label_side(label),
    )


def _product(shape: tuple[int, int, int], spacing: tuple[float, float, float]) -> tuple[float, float, float]:
    return shape[0] * spacing[0], shape[1] * spacing[1], shape[2] * spacing[2]


def _sample(channel: NDArray[np.float32]) -> NDArray[np.float64]:
    """Finite values, at most about a million of them, evenly spread; float64, in which no difference overflows."""
    flat = channel.ravel()
    step = max(1, flat.size // _ENOUGH_VOXELS)
    found = flat[::step]
    return found[np.isfinite(found)].astype(np.float64)


def _dark(channel: NDArray[np.float32]) -> float:
    sample = _sample(channel)
    return float(np.percentile(sample, 1)) if sample.size else 0.0


def _bright(channel: NDArray[np.float32]) -> float:
    sample = _sample(channel)
    return float(np.percentile(np.abs(sample), 99)) if sample.size and np.ptp(sample) > 0 else 0.0


def _windowed(channel: NDArray[np.float32]) -> NDArray[np.float32]:
    """Values between the 1st and 99th percentile as 0 to 1, so that no bright voxel decides."""
    sample = _sample(channel)
    low, high = (float(v) for v in np.percentile(sample, [1, 99])) if sample.size else (0.0, 1.0)
    clipped = np.clip(np.nan_to_num(channel, nan=low), low, high)
    # Halves: the difference of two float32 may be too large for float32.
    scaled: NDArray[np.float32] = (clipped * 0.5 - low * 0.5) / max((high - low) * 0.5, 5e-7)
    return scaled


def _digest(array: Array) -> bytes:
    return hashlib.blake2b(np.ascontiguousarray(array).tobytes() + str(array.shape).encode(), digest_size=16).digest()


def _is_trivial(label: LabelMap) -> bool:
    return label.array.size - int(np.bincount(label.array.ravel()).max()) < HANDFUL


def _volumes(label: LabelMap, label_names: Mapping[str, int]) -> dict[str, float]:
    counts = np.bincount(label.array.ravel(), minlength=256)
    if counts[UNJUDGED]:
        return {}
    voxel_ml = label.geometry.voxel_mm3 / 1000
    return {name: float(counts[value] * voxel_ml) for name, value in label_names.items() if value and counts[value]}


def _label_side(label: LabelMap) -> Signature | None:
    """Taken on the label's own grid, so that a scan whose header alone is wrong stands against it."""
    array = thinned(label.geometry.to_canonical().apply(label.array))
    shown = [v for v in label.values if v not in {0, UNJUDGED}][:_MOST_STRUCTURES]
    parts = [signature((array == value).astype(np.float32)) for value in shown]
    kept = [part.astype(np.int16) * (1 + rank) for rank, part in enumerate(parts) if part is not None]
    if not kept:
        return None
    total = np.sum(kept, axis=0)
    most = max(1, int(np.abs(total).max()))
    scaled: Signature = np.round(total / most * 127).astype(np.int8)
    return scaled
