"""The part of a scan in which confidence is measured: the box of the structures with some voxels around it.

The empty rest of a scan is easy and would hide everything (Mehrtash et al., IEEE TMI 39, 2020, 3868-3878).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

MARGIN_VOX = 5


def surroundings(mask: NDArray[np.bool_]) -> tuple[slice, ...]:
    """The box of a mask with ``MARGIN_VOX`` voxels around it, cut at the edge of the grid.

    Args:
        mask: of any number of axes.

    Returns:
        One slice an axis; the whole grid where the mask is empty.
    """
    sides = []
    for axis, size in enumerate(mask.shape):
        hit = np.flatnonzero(mask.any(axis=tuple(other for other in range(mask.ndim) if other != axis)))
        low, high = (int(hit[0]), int(hit[-1]) + 1) if hit.size else (0, size)
        sides.append(slice(max(0, low - MARGIN_VOX), min(size, high + MARGIN_VOX)))
    return tuple(sides)
