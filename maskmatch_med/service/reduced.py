"""The grid on which large scans are shown: each axis reduced by a whole number, alike for all that lies over a scan.

Voxel d of the reduced grid lies at ``factor · d + (factor - 1) / 2`` of the file's own grid.
"""

from __future__ import annotations

import os

import numpy as np
from numpy.typing import NDArray

from maskmatch_med.volume import Array, Geometry, Shape3

LIMIT = "MASKMATCH_DISPLAY_VOXELS"
"""The environment variable that names the voxels up to which scans are shown as they are."""
_LIMIT = 48_000_000


def display_factors(geometry: Geometry) -> Shape3:
    """By what each axis is reduced: 1, 1, 1 up to the limit, else the finest axes first until the voxels fit."""
    limit = max(int(os.environ.get(LIMIT) or _LIMIT), 1)
    factors = [1, 1, 1]
    while int(np.prod(_sizes(geometry.shape, factors))) > limit:
        sizes = _sizes(geometry.shape, factors)
        lengths = [f * mm if n > 1 else np.inf for f, mm, n in zip(factors, geometry.spacing_mm, sizes, strict=True)]
        factors[int(np.argmin(lengths))] += 1
    return factors[0], factors[1], factors[2]


def display_geometry(geometry: Geometry, factors: Shape3) -> Geometry:
    """The reduced grid."""
    step = np.diag([*map(float, factors), 1.0])
    step[:3, 3] = [(factor - 1) / 2 for factor in factors]
    x, y, z = _sizes(geometry.shape, factors)
    return Geometry((x, y, z), geometry.affine @ step, geometry.space)


def reduce_values(array: Array, factors: Shape3) -> Array:
    """Block means of (X, Y, Z) numbers as float32; whole numbers are rounded and keep their type."""
    if factors == (1, 1, 1):
        return array
    whole = array.dtype.kind in "iu"
    x, y, z = _sizes(array.shape, factors)
    reduced = np.empty((x, y, z), array.dtype if whole else np.float32, order="F")
    for place in range(z):  # slab by slab, as the float32 of a whole CT would take a multiple of its memory
        means = array[:, :, place * factors[2] : (place + 1) * factors[2]]
        for axis, factor in enumerate(factors):
            means = _block_means(means, axis, factor)
        reduced[:, :, place] = (np.rint(means) if whole else means)[:, :, 0]
    return reduced


def reduce_labels(labels: NDArray[np.uint8], factors: Shape3) -> NDArray[np.uint8]:
    """Of (X, Y, Z) labels, that of the voxel in the middle of each block."""
    starts = [min((factor - 1) // 2, n - 1) for factor, n in zip(factors, labels.shape, strict=True)]
    places = [
        np.minimum(np.arange(start, start + size * factor, factor), n - 1)
        for start, factor, size, n in zip(starts, factors, _sizes(labels.shape, factors), labels.shape, strict=True)
    ]
    return labels if factors == (1, 1, 1) else labels[np.ix_(*places)]


def _block_means(array: Array, axis: int, factor: int) -> Array:
    if factor == 1:
        return array
    size = array.shape[axis]
    sums: Array = np.add.reduceat(array, np.arange(0, size, factor), axis=axis, dtype=np.float32)
    counts = np.minimum(factor, size - np.arange(0, size, factor)).astype(np.float32)
    shape = [1, 1, 1]
    shape[axis] = counts.size
    sums /= counts.reshape(shape)
    return sums


def _sizes(shape: tuple[int, ...], factors: list[int] | Shape3) -> list[int]:
    return [-(-n // factor) for n, factor in zip(shape, factors, strict=True)]
