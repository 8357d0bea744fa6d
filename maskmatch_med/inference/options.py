"""How to predict, and what comes out."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from maskmatch_med.errors import InputError
from maskmatch_med.inference.windows import Importance
from maskmatch_med.planning import Plan

OTHER_SCALES = 3 / 16
"""Default overlap at scales beside the plan's own: a step of 26 voxels in windows of 32, where a fifth gives 25."""


@dataclass(frozen=True)
class PredictOptions:
    """How to predict.

    Args:
        scales: scales whose probabilities are averaged; 1 is the plan's spacing, 1.5 finer, 0.7 coarser.
        overlap: share of a window's edge that neighbours have in common, at least; 0 <= overlap < 1. None: half at the
            scale nearest to 1, three sixteenths at the others, whose seams the mean over scales smooths.
        mirror: average over mirror images along ``plan.mirror_axes``.
        uncertainty: give the uncertainty map.
        probabilities: give the class probabilities.
        temperature: scales the probabilities that are given and those behind the expected Dice, not the uncertainty.
        expected_dice: give the Dice that the probabilities let expect.
        importance: weight of a window's voxels.
        locate: look at the scan coarsely first and predict only where structures can be; all of it where that does not
            tell. What lies outside is background.
        windows_per_forward: windows, or mirror images of them, that pass the network together; by default as many as
            suit the device.

    Raises:
        InputError: a value is impossible.
    """

    scales: tuple[float, ...] = (1.0,)
    overlap: float | None = None
    mirror: bool = False
    uncertainty: bool = False
    probabilities: bool = False
    temperature: float = 1.0
    expected_dice: bool = False
    importance: Importance = "gaussian"
    locate: bool = False
    windows_per_forward: int | None = None

    def __post_init__(self) -> None:
        if not self.scales or not all(0.1 <= scale <= 10 for scale in self.scales):
            raise InputError(f"scales must be numbers from 0.1 to 10, at least one, got {self.scales}")
        if len(set(self.scales)) != len(self.scales):
            raise InputError(f"each scale can be given once, got {self.scales}")
        if self.overlap is not None and not 0 <= self.overlap < 1:
            raise InputError(f"the overlap of windows must be at least 0 and below 1, got {self.overlap}")
        if not 0 < self.temperature < np.inf:
            raise InputError(f"a temperature must be a number above 0, got {self.temperature}")
        if self.importance not in ("gaussian", "uniform"):
            raise InputError(f"the importance of a window's voxels is gaussian or uniform, got {self.importance!r}")
        if self.windows_per_forward is not None and self.windows_per_forward < 1:
            raise InputError(f"at least one window must pass at a time, got {self.windows_per_forward}")

    def overlap_at(self, scale: float) -> float:
        """The overlap of a scale's windows."""
        if self.overlap is not None:
            return self.overlap
        nearest = min(self.scales, key=lambda one: abs(math.log(one)))
        return OTHER_SCALES if scale in self.scales and scale != nearest else 0.5

    def passes(self, plan: Plan) -> float:
        """How often a voxel of a large scan passes the network: what a prediction costs, beside another of the plan."""
        images = 2 ** len(plan.mirror_axes) if self.mirror else 1
        return images * sum(
            math.prod((scale if scaled else 1) / (1 - self.overlap_at(scale)) for scaled in plan.scaled_axes)
            for scale in self.scales
        )


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
