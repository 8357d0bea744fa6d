"""Scan in, segmentation on the scan's own grid out: the plain and exact way.

read → orient and normalise → for each scale r: scan's grid → grid of scale r (one interpolation) → windows →
window-averaged logits → softmax → back to the scan's grid (one interpolation) → mean over scales → one argmax.
Scale r means voxels of ``plan.spacing_mm / r`` on all axes but thin ones (``plan.scaled_axes``); r = 1: the plan's own.

Mirrored copies of a window are averaged as logits, within the window. This way is written to be read and checked; a
faster one must equal it.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from maskmatch_med.data.preprocess import IMAGE_ORDER, GridRecord, grid_record, normalised
from maskmatch_med.data.resample import axis_orders, resample, resampled_shape
from maskmatch_med.errors import InputError
from maskmatch_med.inference.ensemble import Ensemble, entropy, slabs_on_grid
from maskmatch_med.inference.expected_dice import SoftOverlap
from maskmatch_med.inference.temperature import tempered
from maskmatch_med.inference.windows import Importance, Stitcher, importance_map, pad_to, place_windows
from maskmatch_med.planning.plan import Plan
from maskmatch_med.volume import Volume

_SHARE_OF_FREE_MEMORY = 0.5


@dataclass(frozen=True)
class PredictOptions:
    """How to predict.

    Args:
        scales: scales whose probabilities are averaged; 1 is the plan's spacing, 1.5 finer, 0.7 coarser.
        overlap: share of a window's edge that neighbours have in common, at least; 0 <= overlap < 1.
        mirror: average over mirror images along ``plan.mirror_axes``.
        uncertainty: give the uncertainty map.
        probabilities: give the class probabilities.
        temperature: scales the probabilities that are given and those behind the expected Dice, not the uncertainty.
        expected_dice: give the Dice that the probabilities let expect.
        importance: weight of a window's voxels.
        windows_per_forward: windows that pass the network together.

    Raises:
        InputError: a value is impossible.
    """

    scales: tuple[float, ...] = (1.0,)
    overlap: float = 0.5
    mirror: bool = False
    uncertainty: bool = False
    probabilities: bool = False
    temperature: float = 1.0
    expected_dice: bool = False
    importance: Importance = "gaussian"
    windows_per_forward: int = 2

    def __post_init__(self) -> None:
        if not self.scales or not all(0.1 <= scale <= 10 for scale in self.scales):
            raise InputError(f"scales must be numbers from 0.1 to 10, at least one, got {self.scales}")
        if len(set(self.scales)) != len(self.scales):
            raise InputError(f"each scale can be given once, got {self.scales}")
        if not 0 <= self.overlap < 1:
            raise InputError(f"the overlap of windows must be at least 0 and below 1, got {self.overlap}")
        if not 0 < self.temperature < np.inf:
            raise InputError(f"a temperature must be a number above 0, got {self.temperature}")
        if self.importance not in ("gaussian", "uniform"):
            raise InputError(f"the importance of a window's voxels is gaussian or uniform, got {self.importance!r}")
        if self.windows_per_forward < 1:
            raise InputError(f"at least one window must pass at a time, got {self.windows_per_forward}")


@dataclass(frozen=True, eq=False)
class Prediction:
    """A segmentation on the grid of the scan it was made from, in file order.

    Args:
        labels: (X, Y, Z) uint8, values of ``plan.label_names``.
        probabilities: (K, X, Y, Z) float32, or None.
        uncertainty: (X, Y, Z) float32 in [0, 1], or None. With several members (scales x mirror images) their
            disagreement: entropy of the mean minus mean of the entropies (mutual information) over log K. With one
            member the entropy over log K.
        expected_dice: see :mod:`maskmatch_med.inference.expected_dice`, or None.
    """

    labels: NDArray[np.uint8]
    probabilities: NDArray[np.float32] | None = None
    uncertainty: NDArray[np.float32] | None = None
    expected_dice: float | None = None


class Predictor:
    """Predicts scans with one network.

    Args:
        network: maps (B, C, *patch) to logits (B, K, *patch) in evaluation mode.
        plan: the plan the network was trained under.
        options: how to predict.
        device: where the network runs.
    """

    def __init__(
        self,
        network: nn.Module,
        plan: Plan,
        options: PredictOptions | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        self.plan = plan
        self.options = options or PredictOptions()
        self.device = torch.device(device)
        self.network = network.to(self.device).eval()
        self._importance = importance_map(plan.patch_vox, self.options.importance)

    @property
    def flips(self) -> list[tuple[int, ...]]:
        """The sets of spatial axes along which a window is mirrored, the empty set first."""
        axes = self.plan.mirror_axes if self.options.mirror else ()
        return [chosen for count in range(len(axes) + 1) for chosen in combinations(axes, count)]

    @torch.inference_mode()
    def predict(self, volume: Volume) -> Prediction:
        """Segment one scan.

        Raises:
            InputError: the scan does not fit the plan (channels, a 2D plan and a scan of many slices).
            ValueError: the network gives other than (B, K, *patch).
        """
        self.network.eval()
        options = self.options
        grid = grid_record(volume.geometry, self.plan)
        image = normalised(volume, self.plan, grid)
        ensemble = Ensemble(
            self.plan.classes,
            grid.shape,
            scales=len(options.scales),
            mirrored=len(self.flips) > 1,
            keep_probabilities=options.probabilities,
            keep_uncertainty=options.uncertainty,
        )
        expected = None
        for number, scale in enumerate(options.scales, start=1):
            last = number == len(options.scales)
            stitched = self.stitch(torch.from_numpy(self.at_scale(image, grid, scale)))
            for slab in slabs_on_grid(stitched, self.plan.classes, grid.shape):
                ensemble.add(slab, last=last)
            if last and options.expected_dice:
                expected = self._expected_dice(ensemble, stitched)
            del stitched
        probabilities = ensemble.probabilities if options.probabilities else None
        if probabilities is not None:
            for row in range(grid.shape[0]):
                probabilities[:, row] = tempered(probabilities[:, row], options.temperature)
        return Prediction(
            grid.to_native(ensemble.labels),
            None if probabilities is None else grid.to_native(probabilities),
            None if ensemble.uncertainty is None else grid.to_native(ensemble.uncertainty),
            expected,
        )

    def _expected_dice(self, ensemble: Ensemble, stitched: Tensor) -> float:
        """Of the closed ensemble; where it keeps no probabilities there was one scale, which is gone through again."""
        overlap = SoftOverlap(ensemble.labels, self.plan.classes, self.options.temperature)
        if ensemble.probabilities is not None:
            overlap.add(slice(0, ensemble.labels.shape[0]), ensemble.probabilities)
            return overlap.expected_dice
        for slab in slabs_on_grid(stitched, self.plan.classes, ensemble.labels.shape):
            overlap.add(slab.rows, slab.probabilities.numpy())
        return overlap.expected_dice

    def at_scale(self, image: NDArray[np.float32], grid: GridRecord, scale: float) -> NDArray[np.float32]:
        """Bring a normalised scan (C, *grid.shape) to the grid of one scale: (C, *spatial).

        At scale 1 this is what :func:`maskmatch_med.data.preprocess.preprocess` gives.
        """
        axes = zip(self.plan.spacing_mm, self.plan.scaled_axes, strict=True)
        target = tuple(mm / scale if scaled else mm for mm, scaled in axes)
        shape = resampled_shape(grid.shape, grid.spacing_mm, target)
        return resample(image, shape, axis_orders(grid.spacing_mm, target, IMAGE_ORDER))

    def stitch(self, image: Tensor) -> Tensor:
        """Window-averaged logits of an image (C, *spatial): (K, *spatial) float32.

        With mirror images and uncertainty, (K + 1, *spatial): the last channel is the mirror images' disagreement.
        """
        padded, original = pad_to(image, self.plan.patch_vox)
        windows = place_windows(padded.shape[1:], self.plan.patch_vox, self.options.overlap)
        channels = self.plan.classes + int(self._measures_mirrors)
        device = self._stitching_device(4 * (channels + 1) * padded[0].numel())
        stitcher = Stitcher(channels, padded.shape[1:], self._importance, device)
        together = self.options.windows_per_forward
        for first in range(0, len(windows), together):
            group = windows[first : first + together]
            batch = torch.stack([padded[(slice(None), *window)] for window in group]).to(self.device)
            for window, output in zip(group, self._mirrored(batch), strict=True):
                stitcher.add(window, output)
        return stitcher.mean()[(slice(None), *original)]

    @property
    def _measures_mirrors(self) -> bool:
        return self.options.uncertainty and len(self.flips) > 1

    def _mirrored(self, batch: Tensor) -> Tensor:
        """Mean logits (B, K, *patch) over mirror images; their disagreement as one more channel where it is wanted."""
        outputs = [self._logits(batch, axes) for axes in self.flips]
        logits = torch.stack(outputs).mean(dim=0) if len(outputs) > 1 else outputs[0]
        if not self._measures_mirrors:
            return logits
        members = torch.stack(outputs).softmax(dim=2)
        disagreement = entropy(members.mean(dim=0), dim=1) - entropy(members, dim=2).mean(dim=0)
        return torch.cat([logits, disagreement[:, None]], dim=1)

    def _logits(self, batch: Tensor, axes: tuple[int, ...]) -> Tensor:
        """Logits (B, K, *patch) float32 of a batch that is mirrored for the network and mirrored back."""
        dims = [axis + 2 for axis in axes]
        logits = self.network(batch.flip(dims))
        expected = (batch.shape[0], self.plan.classes, *batch.shape[2:])
        if not isinstance(logits, Tensor) or tuple(logits.shape) != expected:
            raise ValueError(f"the network must give logits {expected}, got {getattr(logits, 'shape', type(logits))}")
        return logits.float().flip(dims)

    def _stitching_device(self, needed_bytes: int) -> torch.device:
        """The network's device where the maps take at most half of its free memory, else the host."""
        if self.device.type == "cuda":
            free, _ = torch.cuda.mem_get_info(self.device)
            if needed_bytes <= _SHARE_OF_FREE_MEMORY * free:
                return self.device
        return torch.device("cpu")
