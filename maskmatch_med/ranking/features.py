"""Numbers of a scan that are cheap to get: what its intensities, its texture and its size are like."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

_ENOUGH_VOXELS = 250_000
_PERCENTILES = (5, 25, 50, 75, 95)
_GRID = 4
_AROUND = 2
"""How many voxels around what is segmented count as near it."""


def scan_features(scan: NDArray[np.float32], spacing_mm: tuple[float, float, float]) -> NDArray[np.float64]:
    """Describe a scan for comparison with others of its study.

    Args:
        scan: (C, X, Y, Z) in canonical orientation, so that the same places are compared.
        spacing_mm: of the voxels along X, Y, Z.

    Returns:
        (F,) float64, F the same for all scans of C channels: of each channel percentiles relative to its range,
        its skewness, its mean gradient and its means in a coarse grid of 4 × 4 × 4 cells; then logarithms of extents in
        mm and of the spacing. Values that are not finite count as the channel's median.
    """
    parts = [_of_channel(_thinned(channel)) for channel in scan]
    extents = np.log(np.array(scan.shape[1:]) * spacing_mm)
    return np.concatenate([*parts, extents, np.log(spacing_mm)])


def uncertainty_near(uncertainty: NDArray[np.float32], labels: NDArray[np.uint8]) -> float:
    """Mean uncertainty in and within two voxels of what is segmented; the highest percentile where nothing is.

    Args:
        uncertainty: (X, Y, Z), 0 to 1.
        labels: (X, Y, Z), 0 = background.
    """
    inside = labels > 0
    if not inside.any():
        return float(np.percentile(uncertainty, 99))
    (box,) = ndimage.find_objects(inside.astype(np.uint8))
    wide = tuple(slice(max(0, one.start - _AROUND), one.stop + _AROUND) for one in box)
    near = ndimage.binary_dilation(inside[wide], iterations=_AROUND)
    return float(uncertainty[wide][near].mean())


def _thinned(channel: NDArray[np.float32]) -> NDArray[np.float64]:
    """Every n-th voxel along the longest axes, so that about a quarter million stay."""
    steps = [1, 1, 1]
    while np.prod([-(-n // step) for n, step in zip(channel.shape, steps, strict=True)]) > _ENOUGH_VOXELS:
        sizes = [n / step for n, step in zip(channel.shape, steps, strict=True)]
        steps[int(np.argmax(sizes))] += 1
    found = channel[:: steps[0], :: steps[1], :: steps[2]].astype(np.float64)
    finite = found[np.isfinite(found)]
    return np.where(np.isfinite(found), found, np.median(finite) if finite.size else 0.0)


def _of_channel(channel: NDArray[np.float64]) -> NDArray[np.float64]:
    low, high = np.percentile(channel, [1, 99])
    unit = np.clip((channel - low) / max(high - low, 1e-12), 0, 1)
    spread = max(float(unit.std()), 1e-6)
    skewness = float(np.mean(((unit - unit.mean()) / spread) ** 3))
    edges = [np.abs(np.diff(unit, axis=axis)).mean() for axis in range(3) if unit.shape[axis] > 1]
    cells = [
        part.mean()
        for plane in np.array_split(unit, min(_GRID, unit.shape[0]), axis=0)
        for row in np.array_split(plane, min(_GRID, unit.shape[1]), axis=1)
        for part in np.array_split(row, min(_GRID, unit.shape[2]), axis=2)
    ]
    filled = np.full(_GRID**3, np.mean(cells))
    filled[: len(cells)] = cells
    return np.concatenate([np.percentile(unit, _PERCENTILES), [skewness, np.mean(edges or [0.0])], filled])
