"""From the network's logits on the grid of a scale to probabilities, labels and uncertainty on the scan's own grid.

The scan's grid is walked slab by slab along its first axis, so that no more than one map of all classes is held for a
single scale, and two for several.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_SLAB_NUMBERS = 2**24
_LINEAR_MODE = {1: "linear", 2: "bilinear"}


@dataclass(frozen=True, eq=False)
class Slab:
    """Some rows of the scan's grid, predicted at one scale.

    Args:
        rows: which rows of the first axis.
        probabilities: (K, rows, …) float32, summing to 1 over K.
        disagreement: (rows, …) mutual information of mirror images in nats; None where there is but one image.
    """

    rows: slice
    probabilities: Tensor
    disagreement: Tensor | None = None


def slabs_on_grid(stitched: Tensor, classes: int, shape: Sequence[int]) -> Iterator[Slab]:
    """Softmax on the grid of the scale, then linear interpolation to the scan's grid, a slab at a time.

    Linear interpolation with half-voxel centres, as ``torch.nn.functional.interpolate(align_corners=False)``; without
    any where both grids have the same number of voxels.

    Args:
        stitched: (classes, *scale_shape) logits, or (classes + 1, *scale_shape) with the disagreement as last channel.
        classes: K.
        shape: voxels of the scan's grid.

    Yields:
        slabs that cover ``shape`` in order, on the host.
    """
    height = max(1, _SLAB_NUMBERS // (stitched.shape[0] * math.prod(shape[1:])))
    below, weight = _linear_positions(stitched.shape[1], shape[0])
    for start in range(0, shape[0], height):
        rows = slice(start, min(start + height, shape[0]))
        first, last = int(below[rows][0]), min(int(below[rows][-1]) + 2, stitched.shape[1])
        near = stitched[:, first:last].float()
        maps = torch.cat([near[:classes].softmax(dim=0), near[classes:]])
        maps = _rows_between(maps, below[rows] - first, weight[rows])
        if tuple(maps.shape[2:]) != tuple(shape[1:]):
            mode = _LINEAR_MODE[len(shape) - 1]
            maps = torch.nn.functional.interpolate(maps.movedim(1, 0), size=tuple(shape[1:]), mode=mode).movedim(0, 1)
        maps = maps.cpu()
        yield Slab(rows, maps[:classes], maps[classes] if maps.shape[0] > classes else None)


def entropy(probabilities: Tensor, dim: int = 0) -> Tensor:
    """Entropy in nats over one axis; 0 log 0 is 0."""
    nats: Tensor = torch.special.entr(probabilities).sum(dim=dim)
    return nats


class Ensemble:
    """The mean over scales, closed slab by slab into labels.

    With several members (scales x mirror images) the uncertainty is their mutual information
    ``H(mean p) - mean H(p)``, by the chain rule the disagreement of the scales plus the mean disagreement of the mirror
    images within a scale; with one member it is ``H(p)``. Both are divided by log K and lie in [0, 1].

    Args:
        classes: K.
        shape: voxels of the scan's grid.
        scales: number of scales that will be added.
        mirrored: whether each scale is itself a mean over mirror images.
        keep_probabilities: whether :attr:`probabilities` is wanted.
        keep_uncertainty: whether :attr:`uncertainty` is wanted.
    """

    def __init__(
        self,
        classes: int,
        shape: Sequence[int],
        *,
        scales: int,
        mirrored: bool,
        keep_probabilities: bool,
        keep_uncertainty: bool,
    ) -> None:
        self._scales = scales
        self._several = scales > 1 or mirrored
        self._log_classes = math.log(max(classes, 2))
        self.labels: NDArray[np.uint8] = np.zeros(tuple(shape), dtype=np.uint8)
        self.uncertainty: NDArray[np.float32] | None = None
        self.probabilities: NDArray[np.float32] | None = None
        if keep_uncertainty:
            self.uncertainty = np.zeros(tuple(shape), dtype=np.float32)
        if keep_probabilities or scales > 1:
            self.probabilities = np.zeros((classes, *shape), dtype=np.float32)

    def add(self, slab: Slab, *, last: bool) -> None:
        """Add one slab of one scale; ``last`` says that it is of the last scale, so the rows can be closed."""
        if self.uncertainty is not None and self._several:
            within = -entropy(slab.probabilities)
            if slab.disagreement is not None:
                within += slab.disagreement
            self.uncertainty[slab.rows] += within.numpy() / self._scales
        mean = slab.probabilities
        if self.probabilities is not None:
            total = self.probabilities[:, slab.rows]
            total += mean.numpy() / self._scales
            mean = torch.from_numpy(total)
        if last:
            self._close(slab.rows, mean)

    def _close(self, rows: slice, mean: Tensor) -> None:
        self.labels[rows] = mean.argmax(dim=0).to(torch.uint8).numpy()
        if self.uncertainty is not None:
            nats = self.uncertainty[rows] + entropy(mean).numpy()
            self.uncertainty[rows] = np.clip(nats / self._log_classes, 0, 1)


def _linear_positions(size_in: int, size_out: int) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """For each output voxel the input voxel at or below its centre, and the weight of the next one."""
    position = np.clip((np.arange(size_out) + 0.5) * size_in / size_out - 0.5, 0, size_in - 1)
    below = np.floor(position).astype(np.intp)
    return below, (position - below).astype(np.float32)


def _rows_between(maps: Tensor, below: NDArray[np.intp], weight: NDArray[np.float32]) -> Tensor:
    """Interpolate the first spatial axis of (C, rows, …)."""
    if len(below) == maps.shape[1] and not weight.any():
        return maps
    low = torch.from_numpy(below).to(maps.device)
    share = torch.from_numpy(weight).to(maps.device).reshape(-1, *[1] * (maps.ndim - 2))
    high = (low + 1).clamp(max=maps.shape[1] - 1)
    return torch.lerp(maps[:, low], maps[:, high], share)
