"""Shape-based interpolation: what lies between painted slices, from the signed distance to their outlines.

Raya and Udupa, "Shape-based interpolation of multidimensional objects", IEEE Transactions on Medical Imaging 9(1),
1990.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, shift

from maskmatch_med.errors import InputError

Mask = NDArray[np.bool_]


def interpolate(painted: Mask, barred: Mask, spacing_mm: tuple[float, float, float], axis: int | None = None) -> Mask:
    """Fill in a structure between the slices on which it is painted.

    Each two neighbouring painted slices give the slices between them: the signed distances to both outlines, weighed by
    how near they are. Outlines that do not overlap are moved along the line between their centres.

    Args:
        painted: (X, Y, Z) bool, the structure.
        barred: (X, Y, Z) bool, voxels that are something else and stay it.
        spacing_mm: distance between voxels along each axis, mm.
        axis: across which the slices lie; where not given, that on which the fewest slices are painted.

    Returns:
        (X, Y, Z) bool, the voxels to add.

    Raises:
        InputError: there is no such axis, or nothing lies between painted slices.
    """
    if axis is not None and axis not in range(3):
        raise InputError(f"a scan has the axes 0, 1 and 2, so there is no axis {axis}")
    chosen = _widest_apart(painted) if axis is None else axis
    turned = np.moveaxis(painted, chosen, 0)
    plane_mm = tuple(mm for own, mm in enumerate(spacing_mm) if own != chosen)
    slices = np.flatnonzero(turned.any(axis=(1, 2)))
    gaps = [(int(a), int(b)) for a, b in pairwise(slices) if b - a > 1]
    if not gaps:
        raise InputError(
            "nothing lies between painted slices; paint the structure on two slices with some between them"
        )
    found = np.zeros_like(turned)
    for first, last in gaps:
        found[first + 1 : last] = _between(turned[first], turned[last], last - first, plane_mm)
    return np.moveaxis(found, 0, chosen) & ~painted & ~barred


def _widest_apart(painted: Mask) -> int:
    """The axis along which painted slices are the fewest of those between the first and the last."""
    shares = []
    for axis in range(3):
        slices = np.flatnonzero(painted.any(axis=tuple(other for other in range(3) if other != axis)))
        shares.append(slices.size / (slices[-1] - slices[0] + 1) if slices.size > 1 else 2.0)
    return int(np.argmin(shares))


def _between(first: Mask, last: Mask, steps: int, plane_mm: tuple[float, ...]) -> Mask:
    """(steps - 1, A, B): the slices between two."""
    rows = np.flatnonzero((first | last).any(axis=1))
    columns = np.flatnonzero((first | last).any(axis=0))
    margin = 1
    place = tuple(slice(max(int(at[0]) - margin, 0), int(at[-1]) + 1 + margin) for at in (rows, columns))
    a, b = _signed_distance(first[place], plane_mm), _signed_distance(last[place], plane_mm)
    apart = np.zeros(2)
    if not (first & last).any():
        apart = np.mean(np.argwhere(last[place]), axis=0) - np.mean(np.argwhere(first[place]), axis=0)
    out = np.zeros((steps - 1, *first.shape), bool)
    for step in range(1, steps):
        weight = step / steps
        out[step - 1][place] = (1 - weight) * _moved(a, weight * apart) + weight * _moved(b, (weight - 1) * apart) > 0
    return out


def _signed_distance(mask: Mask, plane_mm: tuple[float, ...]) -> NDArray[np.float64]:
    """Distance to the outline in mm, positive inside; the outline runs between voxels."""
    padded = np.pad(mask, 1)
    inside = distance_transform_edt(padded, sampling=plane_mm)
    outside = distance_transform_edt(~padded, sampling=plane_mm)
    signed: NDArray[np.float64] = (inside - outside)[1:-1, 1:-1]
    return signed


def _moved(distances: NDArray[np.float64], by: NDArray[np.float64]) -> NDArray[np.float64]:
    if not by.any():
        return distances
    moved: NDArray[np.float64] = shift(distances, by, order=1, mode="nearest")
    return moved
