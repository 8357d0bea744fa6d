"""Scans that look mirrored left to right against the rest of their set.

After the exact turn to RAS+ each picture is averaged down to ``EDGE`` voxels a side and split into its part that is the
same on both sides and its part that changes sign when mirrored. Only the second part is kept: for a mirrored scan it is
its own negative. A scan's agreement is the correlation of this part with the sum of all the others'. The set has a
left and a right that can be told where the median agreement is at least ``TYPICAL`` and at least ``SHARE`` of the scans
agree. Then a scan below ``-MIRRORED`` is suspected, and one above it is cleared. Labels show less than scans, so theirs
are suspected, or cleared, only beyond the agreement that 95 % of all labels reach. Sets without sides (cells, skin)
give no verdict.

Measured on public sets in which nothing is mirrored, 200 hippocampi and 80 left atria: no false alarm from scans
(agreement 0.42 to 0.85, 0.10 to 0.79) nor from labels; of the scans each of the 280 is found when it alone is mirrored.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from maskmatch_med.volume import Array

EDGE = 24
TYPICAL = 0.25
SHARE = 0.8
MIRRORED = 0.05
ENOUGH = 8
"""With fewer scans, or labels, there is no verdict on them."""
Signature = NDArray[np.int8]


@dataclass(frozen=True)
class Sides:
    """What a set says about left and right.

    Args:
        known: whether the set has a left and a right that can be told.
        agreement: of each scan with the others, -1 to 1.
        limit: agreement, and its negative, beyond which a verdict is given.
    """

    known: bool
    agreement: Mapping[str, float]
    limit: float = MIRRORED

    def mirrored(self, name: str) -> bool | None:
        """Whether this one looks mirrored; None where it was not measured or nothing can be told."""
        value = self.agreement.get(name, 0.0)
        if not self.known or abs(value) <= self.limit:
            return None
        return value < 0

    @property
    def typical(self) -> tuple[float, float]:
        """The 5th and 95th percentile of the agreement."""
        low, high = np.percentile(list(self.agreement.values()), [5, 95])
        return float(low), float(high)


def signature(array: NDArray[np.float32]) -> Signature | None:
    """The part of a picture that changes sign when mirrored: int8 (EDGE // 2 * EDGE * EDGE,), 7 kB.

    Args:
        array: (X, Y, Z) finite values in RAS+ order.

    Returns:
        None for a slice, an array too small, or one that is its own mirror image.
    """
    if min(array.shape) < 4:
        return None
    small = _averaged(array)
    odd = (small - small[::-1])[: EDGE // 2].ravel()
    most = float(np.abs(odd).max())
    return None if most < 1e-6 else np.round(odd / most * 127).astype(np.int8)


def thinned(array: Array) -> Array:
    """Every k-th voxel along each axis (X, Y, Z), at least 4 * EDGE of them, from the middle outwards; a view."""
    steps = [max(1, n // (4 * EDGE)) for n in array.shape]
    return array[tuple(slice((n - 1) % k // 2, None, k) for n, k in zip(array.shape, steps, strict=True))]


def compare(signatures: Mapping[str, Signature], *, of_labels: bool = False) -> Sides:
    """Hold every scan, or every label, against the sum of the others."""
    if len(signatures) < ENOUGH:
        return Sides(known=False, agreement={})
    total = np.zeros(next(iter(signatures.values())).shape)
    for kept in signatures.values():
        total += _unit(kept)
    agreement = {}
    for name, kept in signatures.items():
        own = _unit(kept)
        others = total - own
        length = float(np.linalg.norm(others))
        agreement[name] = float(own @ others) / length if length > 1e-9 else 0.0
    values = np.array(list(agreement.values()))
    known = bool(np.median(values) >= TYPICAL and (values > 0).mean() >= SHARE)
    limit = max(MIRRORED, float(np.percentile(np.abs(values), 5))) if of_labels else MIRRORED
    return Sides(known, agreement, limit)


def _unit(kept: Signature) -> NDArray[np.float64]:
    values = kept.astype(np.float64)
    return values / np.linalg.norm(values)


def _averaged(array: NDArray[np.float32]) -> NDArray[np.float32]:
    ratios = [EDGE / n for n in array.shape]
    blurred = ndimage.gaussian_filter(array, [max(0.0, (1 / r - 1) / 2) for r in ratios])
    small: NDArray[np.float32] = ndimage.zoom(blurred, ratios, order=1, grid_mode=True, mode="nearest")
    return small
