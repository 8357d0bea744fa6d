"""A coarse look at the whole scan, for the part of it where structures can be.

At half the plan's resolution a scan has an eighth of the windows in three dimensions. The network was not trained
there, so what it says is only taken for where, never for what, with room around it; and where it finds nothing, or
saves little, the whole scan is predicted.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from maskmatch_med.inference.members import Members
from maskmatch_med.inference.stream import GridRows, ScaleGrid, stitched_rows
from maskmatch_med.inference.windows import importance_map

SCALE = 0.5
OVERLAP = 0.25
_DOUBT = 0.1
"""A voxel belongs to the part where the background's probability is below one minus this."""
_WORTH = 0.7
"""A part that is a larger share of the scan is not worth cutting out."""

Box = tuple[slice, ...]


def locate(image: NDArray[np.float32], grid: ScaleGrid, members: Members, room: Sequence[int]) -> Box:
    """The part of a scan where structures can be; all of it where the coarse look does not tell.

    Args:
        image: (C, *shape of the scan's grid), row axis first.
        grid: of the coarse scale, row axis first.
        members: the network, without mirror images.
        room: voxels of the scan's grid to leave on each side, along each axis.
    """
    shape = image.shape[1:]
    whole = tuple(slice(0, n) for n in shape)
    importance = importance_map(grid.patch_in_plan_order, "gaussian").movedim(grid.row_axis, 0)
    finished = stitched_rows(image, grid, members, importance, torch.device("cpu"))
    rows = GridRows(finished, members.classes, grid.shape[0], (shape[0], *grid.shape[1:]))
    seen = [np.zeros(n, dtype=bool) for n in (shape[0], *grid.shape[1:])]
    for start in range(0, shape[0], grid.patch[0]):
        part = slice(start, min(start + grid.patch[0], shape[0]))
        there = (rows.take(part).slab().probabilities[0] < 1 - _DOUBT).cpu().numpy()
        axes = tuple(range(there.ndim))
        seen[0][part] = there.any(axis=axes[1:])
        for axis in axes[1:]:
            seen[axis] |= there.any(axis=tuple(other for other in axes if other != axis))
    if not seen[0].any():
        return whole
    box = tuple(_widened(along, n, more) for along, n, more in zip(seen, shape, room, strict=True))
    share = math.prod(part.stop - part.start for part in box) / math.prod(shape)
    return box if share <= _WORTH else whole


def _widened(seen: NDArray[np.bool_], voxels: int, room: int) -> slice:
    """From the first to the last that was seen, in voxels of the scan's grid, with room on both sides."""
    found = np.flatnonzero(seen)
    scale = voxels / len(seen)
    first, stop = math.floor(found[0] * scale), math.ceil((found[-1] + 1) * scale)
    return slice(max(first - room, 0), min(stop + room, voxels))
