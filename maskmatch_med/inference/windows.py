"""Windows: where they lie, how much each of their voxels counts, and how their outputs become one map.

Everything is the same for two and three axes. Torch tensors only.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product
from typing import Literal

import torch
from torch import Tensor

from maskmatch_med.errors import InputError

Importance = Literal["gaussian", "uniform"]
SIGMA = 1 / 8
"""Standard deviation of the Gaussian importance as a share of the patch's edge (nnU-Net's value)."""
FLOOR = 1e-3
"""Smallest importance, so that a voxel which only a window's corner covers still counts."""

Window = tuple[slice, ...]


def window_starts(size: int, patch: int, overlap: float) -> list[int]:
    """First voxels of the windows along one axis.

    The fewest windows whose neighbours share at least ``overlap`` of the patch, spread evenly; the first begins at 0,
    the last ends at ``size``.

    Args:
        size: voxels of the axis, at least ``patch``.
        patch: voxels of the window.
        overlap: 0 <= overlap < 1.
    """
    step = max(1, math.floor(patch * (1 - overlap) + 1e-9))
    count = math.ceil((size - patch) / step) + 1
    if count == 1:
        return [0]
    return [round(index * (size - patch) / (count - 1)) for index in range(count)]


def place_windows(shape: Sequence[int], patch: Sequence[int], overlap: float) -> list[Window]:
    """Windows of ``patch`` voxels that cover a map of ``shape`` (each axis at least the patch's), first axis slowest.

    Raises:
        InputError: ``overlap`` is not in [0, 1).
    """
    if not 0 <= overlap < 1:
        raise InputError(f"windows can share from 0 to below 1 of their edge, got an overlap of {overlap}")
    starts = [window_starts(n, p, overlap) for n, p in zip(shape, patch, strict=True)]
    return [
        tuple(slice(start, start + p) for start, p in zip(corner, patch, strict=True)) for corner in product(*starts)
    ]


def importance_map(patch: Sequence[int], kind: Importance = "gaussian") -> Tensor:
    """How much each voxel of a window counts: (*patch) float32, at most 1 and never below 0.001.

    ``gaussian`` falls off from the window's centre with a standard deviation of an eighth of the edge; ``uniform`` is
    1 everywhere.
    """
    weight = torch.ones(tuple(patch))
    if kind == "uniform":
        return weight
    for axis, size in enumerate(patch):
        distance = torch.arange(size, dtype=torch.float32) - (size - 1) / 2
        profile = torch.exp(-0.5 * (distance / (size * SIGMA)) ** 2)
        weight = weight * profile.reshape([-1 if other == axis else 1 for other in range(len(patch))])
    return (weight / weight.max()).clamp(min=FLOOR)


def pad_to(image: Tensor, smallest: Sequence[int]) -> tuple[Tensor, Window]:
    """Pad an image (C, *spatial) with 0 on both sides of each axis that is shorter than ``smallest``.

    0 is the mean of a z-scored scan and what training pads with.

    Returns:
        the padded image (the image itself where nothing is missing) and the window that holds the original.
    """
    missing = [max(0, s - n) for n, s in zip(image.shape[1:], smallest, strict=True)]
    window = tuple(slice(m // 2, m // 2 + n) for n, m in zip(image.shape[1:], missing, strict=True))
    if not any(missing):
        return image, window
    sides = [side for m in reversed(missing) for side in (m // 2, m - m // 2)]
    return torch.nn.functional.pad(image, sides), window


class Stitcher:
    """Collects window outputs into their weighted mean.

    Args:
        channels: channels of the outputs.
        shape: voxels of the whole map.
        importance: (*patch) weight of each voxel of a window.
        device: where the map is held.
    """

    def __init__(self, channels: int, shape: Sequence[int], importance: Tensor, device: torch.device) -> None:
        self._sum = torch.zeros((channels, *shape), device=device)
        self._weight = torch.zeros(tuple(shape), device=device)
        self._importance = importance.to(device)

    def add(self, window: Window, output: Tensor) -> None:
        """Add one window's output (channels, *patch)."""
        self._sum[(slice(None), *window)] += output.to(self._sum.device, torch.float32) * self._importance
        self._weight[window] += self._importance

    def mean(self) -> Tensor:
        """The weighted mean (channels, *shape); made in place, so nothing can be added afterwards."""
        self._sum /= self._weight
        return self._sum
