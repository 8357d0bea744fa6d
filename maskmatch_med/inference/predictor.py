"""Scan in, segmentation on the scan's own grid out, in a stream along the scan's longest axis.

read → orient and normalise → (where asked, cut to where structures can be, :mod:`~maskmatch_med.inference.locator`) →
for each scale r: scan's grid → grid of scale r (one interpolation) → windows → window-averaged logits → softmax → back
to the scan's grid (one interpolation) → mean over scales → one argmax.
Scale r means voxels of ``plan.spacing_mm / r`` on all axes but thin ones (``plan.scaled_axes``); r = 1: the plan's own.

All scales advance together. Of each, no more is held than a window is high: image rows, the ring of window outputs
(:mod:`~maskmatch_med.inference.ring`), rows of probabilities that wait. Mirrored copies of a window are averaged as
logits, within the window. :mod:`~maskmatch_med.inference.plain` does the same a map at a time, and is what this must
equal.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import combinations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from maskmatch_med.data.preprocess import IMAGE_ORDER, GridRecord, grid_record, normalised
from maskmatch_med.data.resample import axis_orders, resampled_shape
from maskmatch_med.errors import InputError
from maskmatch_med.inference import locator
from maskmatch_med.inference.engines import EagerEngine, Engine, windows_at_once
from maskmatch_med.inference.ensemble import Ensemble
from maskmatch_med.inference.in_turn import in_turn
from maskmatch_med.inference.locator import Box
from maskmatch_med.inference.members import Members
from maskmatch_med.inference.memory import Memory, Notice
from maskmatch_med.inference.options import Prediction, PredictOptions
from maskmatch_med.inference.stream import GridRows, ScaleGrid, stitched_rows
from maskmatch_med.inference.windows import importance_map
from maskmatch_med.planning.plan import Plan
from maskmatch_med.volume import Volume

_SHARE_OF_FREE_MEMORY = 0.5
_FEW_WINDOWS = 9
"""A scan of fewer is predicted as it is: a coarse look first would cost more than it saves."""
_SLAB_NUMBERS = 2**19
"""Probabilities in the rows that are closed together."""
_MOST_RESAMPLED, _MOST_VOXELS = 100, 2**28
"""A scan that the plan's spacing makes so many times larger, and larger than this, states another unit than mm."""
_FEW_ALONG, _MANY_ALONG = 2, 8
"""As does one of so many voxels along an axis that the plan's spacing leaves so few of."""


class Predictor:
    """Predicts scans with one network.

    Args:
        network: an engine, or a network that maps (B, C, *patch) to logits (B, K, *patch) in evaluation mode.
        plan: the plan the network was trained under.
        options: how to predict.
        device: where the network runs; an engine knows its own.
        notice: told, in a sentence, what was given up for lack of memory.
    """

    def __init__(
        self,
        network: Engine | nn.Module,
        plan: Plan,
        options: PredictOptions | None = None,
        device: torch.device | str = "cpu",
        notice: Notice = lambda sentence: None,
    ) -> None:
        self.plan = plan
        self.options = options or PredictOptions()
        engine = EagerEngine(network, device) if isinstance(network, nn.Module) else network
        at_once = self.options.windows_per_forward or windows_at_once(engine.device)
        memory = Memory(engine, at_once, notice)
        self.members = Members(memory, plan.classes, self.flips, measure=self.options.uncertainty)

    @property
    def flips(self) -> list[tuple[int, ...]]:
        """The sets of spatial axes along which a window is mirrored, the empty set first."""
        axes = self.plan.mirror_axes if self.options.mirror else ()
        return [chosen for count in range(len(axes) + 1) for chosen in combinations(axes, count)]

    @torch.inference_mode()
    def predict(self, volume: Volume, advance: Callable[[float], None] = lambda share: None) -> Prediction:
        """Segment one scan.

        Args:
            volume: the scan.
            advance: called with the share of the rows that are done, in (0, 1].

        Raises:
            InputError: the scan does not fit the plan (channels, a 2D plan and a scan of many slices, voxels so large
                or small that their unit must be wrong).
            ValueError: the network gives other than (B, K, *patch).
        """
        grid = grid_record(volume.geometry, self.plan)
        self._check_size(grid)
        self.members.memory.begin()
        whole = normalised(volume, self.plan, grid)
        box = self._box(whole, grid)
        part = whole if box is None else whole[(slice(None), *box)]
        axis = int(np.argmax(part.shape[1:]))
        image = np.moveaxis(part, axis + 1, 1)
        shape = image.shape[1:]
        mirrored = len(self.flips) > 1
        ensemble = Ensemble(self.plan.classes, grid, axis, self.options, mirrored=mirrored, box=box)
        grids = [self.scale_grid(grid.spacing_mm, part.shape[1:], scale, axis) for scale in self.options.scales]
        scales = [self._rows(image, one) for one in grids]
        height = max(1, _SLAB_NUMBERS // (self.members.channels * math.prod(shape[1:])))
        slabs = [slice(start, min(start + height, shape[0])) for start in range(0, shape[0], height)]
        near = ([scale.take(rows) for scale in scales] for rows in slabs)
        for rows, closed in zip(slabs, in_turn(partial(ensemble.closed, parts) for parts in near), strict=True):
            ensemble.keep(rows, closed)
            advance(rows.stop / shape[0])
        return ensemble.prediction()

    @torch.inference_mode()
    def stitch(self, image: Tensor) -> Tensor:
        """Window-averaged logits (K, *spatial) float32 of an image (C, *spatial) at the plan's spacing."""
        grid = self.scale_grid(self.plan.spacing_mm, image.shape[1:], 1.0, 0)
        self.members.memory.begin()
        rows = [part.cpu() for part in self._stitched(image.numpy(), grid)]
        return torch.cat(rows, dim=1)[: self.plan.classes]

    def scale_grid(
        self, spacing_mm: Sequence[float], shape: Sequence[int], scale: float, row_axis: int = 0
    ) -> ScaleGrid:
        """The grid of one scale over a scan's grid, with one of its axes in front.

        Args:
            spacing_mm: of the scan's grid.
            shape: of the scan's grid.
            scale: 1 is the plan's spacing.
            row_axis: the axis that comes first.
        """
        axes = zip(self.plan.spacing_mm, self.plan.scaled_axes, strict=True)
        target = tuple(mm / scale if scaled else mm for mm, scaled in axes)
        order = [row_axis, *[axis for axis in range(len(shape)) if axis != row_axis]]
        made = resampled_shape(shape, spacing_mm, target)
        orders = axis_orders(spacing_mm, target, IMAGE_ORDER)
        turned = [tuple(values[axis] for axis in order) for values in (made, orders, self.plan.patch_vox)]
        return ScaleGrid(turned[0], turned[1], turned[2], self.options.overlap_at(scale), row_axis)

    def _check_size(self, grid: GridRecord) -> None:
        """Refuse headers in another unit: at the plan's spacing such a scan is a few voxels, or far too many."""
        own, made = math.prod(grid.shape), math.prod(grid.plan_shape)
        sizes = [" x ".join(f"{mm:.4g}" for mm in of) for of in (grid.spacing_mm, self.plan.spacing_mm)]
        if made > max(_MOST_VOXELS, _MOST_RESAMPLED * own):
            told = f"would become {made:,} of {sizes[1]} mm, {made // own:,} times as many as it has"
        elif max(grid.plan_shape) <= _FEW_ALONG and max(grid.shape) > _MANY_ALONG:
            told = f"would become {made} of {sizes[1]} mm"
        else:
            return
        raise InputError(f"its voxels of {sizes[0]} mm {told}; see whether its header states the right size and unit")

    def _box(self, image: NDArray[np.float32], grid: GridRecord) -> Box | None:
        """Where a coarse look finds that structures can be, in the scan's axes; None for the whole scan."""
        own = self.scale_grid(grid.spacing_mm, grid.shape, 1.0)
        if not self.options.locate or len(own.layers) * len(own.across) < _FEW_WINDOWS:
            return None
        axis = int(np.argmax(grid.shape))
        coarse = replace(self.scale_grid(grid.spacing_mm, grid.shape, locator.SCALE, axis), overlap=locator.OVERLAP)
        widest = self.scale_grid(grid.spacing_mm, grid.shape, min(self.options.scales), axis)
        turned = np.moveaxis(image, axis + 1, 1)
        # Half a window of the coarsest scale, in voxels of the scan.
        fine = zip(widest.patch, widest.shape, turned.shape[1:], strict=True)
        room = [math.ceil(patch / 2 * voxels / scaled) for patch, scaled, voxels in fine]
        once = Members(self.members.memory, self.plan.classes, [()])
        box = list(locator.locate(turned, coarse, once, room))
        box.insert(axis, box.pop(0))
        return None if all(part == slice(0, n) for part, n in zip(box, grid.shape, strict=True)) else tuple(box)

    def _rows(self, image: NDArray[np.float32], grid: ScaleGrid) -> GridRows:
        return GridRows(self._stitched(image, grid), self.plan.classes, grid.shape[0], image.shape[1:])

    def _stitched(self, image: NDArray[np.float32], grid: ScaleGrid) -> Iterator[Tensor]:
        importance = importance_map(self.plan.patch_vox, self.options.importance).movedim(grid.row_axis, 0)
        numbers = (self.members.channels + 1) * grid.patch[0] * math.prod(grid.padded[1:])
        device = self._collecting_device(4 * len(self.options.scales) * numbers)
        return stitched_rows(image, grid, self.members, importance, device)

    def _collecting_device(self, needed_bytes: int) -> torch.device:
        """The network's device where the rings take at most half of its free memory, else the host."""
        device = self.members.memory.engine.device
        if device.type == "cuda":
            kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
            free = torch.cuda.mem_get_info(device)[0] + kept
            if needed_bytes <= _SHARE_OF_FREE_MEMORY * free:
                return device
        return torch.device("cpu")
