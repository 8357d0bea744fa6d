"""Whether a model that says 90 % is right nine times in ten.

Voxels are counted within the box of the structures (of prediction and reference together) with some voxels around it,
see :mod:`maskmatch_med.inference.region`. Each voxel's confidence is the highest of its class probabilities; it is
right where that class is the reference's. The same is counted of the voxels called a structure alone. Expected
calibration error (Guo et al., ICML 2017): the mean over ``BINS`` bins of equal width of |share that is right - mean
confidence|, weighted by voxels. Voxels nobody judged are left out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from maskmatch_med.errors import InputError
from maskmatch_med.evaluation.figures import INK, PALETTE, dress, legend
from maskmatch_med.inference.region import surroundings
from maskmatch_med.io import LabelMap, read_volume
from maskmatch_med.io.labels import UNJUDGED
from maskmatch_med.volume import Array

BINS = 15
_TOLERANCE = 0.02


@dataclass(frozen=True, eq=False)
class Calibration:
    """Voxels by confidence.

    Args:
        cases: how many scans were counted.
        voxels: (BINS,) how many voxels each bin holds.
        confidence: (BINS,) sum of their confidence.
        right: (BINS,) how many of them are right.
        structures: the same of the voxels called a structure alone; None where this is that.
    """

    cases: int
    voxels: NDArray[np.float64]
    confidence: NDArray[np.float64]
    right: NDArray[np.float64]
    structures: Calibration | None = None

    @classmethod
    def of(cls, confidence: NDArray[np.float64], right: NDArray[np.bool_]) -> Calibration:
        """Count the voxels of one scan, (N,) each."""
        bins = np.clip((confidence * BINS).astype(int), 0, BINS - 1)
        counts = [
            np.bincount(bins, weights=w, minlength=BINS).astype(np.float64)
            for w in (np.ones(bins.size), confidence, right)
        ]
        return cls(1, counts[0], counts[1], counts[2])

    def __add__(self, other: Calibration) -> Calibration:
        inner = (self.structures, other.structures)
        return Calibration(
            self.cases + other.cases,
            self.voxels + other.voxels,
            self.confidence + other.confidence,
            self.right + other.right,
            inner[0] + inner[1] if inner[0] is not None and inner[1] is not None else None,
        )

    @property
    def called(self) -> Calibration:
        """Of the voxels called a structure alone, which the sure background does not flatter."""
        return self.structures or self

    @property
    def ece(self) -> float:
        """Expected calibration error, 0 to 1; NaN without a voxel."""
        total = self.voxels.sum()
        return float(np.abs(self.right - self.confidence).sum() / total) if total else float("nan")

    @property
    def overconfidence(self) -> float:
        """Mean confidence minus share that is right; above 0 where the model is surer than it should be."""
        total = self.voxels.sum()
        return float((self.confidence.sum() - self.right.sum()) / total) if total else float("nan")

    @property
    def curve(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Mean confidence and share that is right, of the bins that hold a voxel."""
        kept = self.voxels > 0
        return self.confidence[kept] / self.voxels[kept], self.right[kept] / self.voxels[kept]


def calibrate_case(probabilities: Array, reference: Array) -> Calibration:
    """Count one scan.

    Args:
        probabilities: (K, X, Y, Z), class 0 the background.
        reference: (X, Y, Z) uint8, 255 = not judged.

    Raises:
        InputError: the shapes differ, or the values of a voxel do not add up to 1.
    """
    if probabilities.shape[1:] != reference.shape:
        raise InputError(f"probabilities of shape {probabilities.shape[1:]} do not fit a label of {reference.shape}")
    chosen = probabilities.argmax(axis=0)
    box = surroundings((chosen > 0) | ((reference > 0) & (reference != UNJUDGED)))
    inside = (slice(None), *box)
    sums = probabilities[inside].sum(axis=0)
    if sums.size and float(np.abs(sums - 1).max()) > _TOLERANCE:
        raise InputError(
            f"class probabilities must add up to 1 in every voxel, got {sums.min():.3g} to {sums.max():.3g}"
        )
    judged = reference[box] != UNJUDGED
    confidence = probabilities[inside].max(axis=0)[judged].astype(np.float64)
    right = (chosen[box] == reference[box])[judged]
    called = (chosen[box] > 0)[judged]
    return replace(Calibration.of(confidence, right), structures=Calibration.of(confidence[called], right[called]))


def calibrate(
    predictions: Mapping[str, Path], classes: Sequence[int], read: Callable[[str], LabelMap]
) -> Calibration | None:
    """Count every case beside whose prediction the probabilities of all classes lie, one case in memory at a time.

    Args:
        predictions: the label file of each case; its probabilities are ``CASE_probabilities_00.nii.gz`` and so on.
        classes: values of the structures; 0 is added.
        read: gives the reference of a case on the prediction's grid.

    Returns:
        None where no case has them.
    """
    total: Calibration | None = None
    for name, path in predictions.items():
        maps = [path.parent / f"{name}_probabilities_{value:02d}.nii.gz" for value in (0, *sorted(classes))]
        if not all(found.is_file() for found in maps):
            continue
        case = calibrate_case(np.concatenate([read_volume(found).array for found in maps]), read(name).array)
        total = case if total is None else total + case
    return total


def calibration_figure(found: Mapping[str, Calibration]) -> Figure:
    """The reliability diagram, and beneath it how many voxels have which confidence."""
    figure = Figure(figsize=(5.0, 5.2), dpi=110)
    upper, lower = figure.subplots(2, 1, height_ratios=(3, 1), sharex=True)
    upper.plot([0, 1], [0, 1], color=INK, linewidth=0.8, linestyle=(0, (4, 3)), alpha=0.7)
    edges = np.linspace(0, 1, BINS + 1)
    for rank, (model, part) in enumerate(found.items()):
        colour = PALETTE[rank % len(PALETTE)]
        called = part.called
        upper.plot(*called.curve, "o-", color=colour, ms=4, linewidth=1.6, label=model or None)
        share = called.voxels / max(1.0, called.voxels.sum())
        lower.stairs(share, edges, color=colour, fill=len(found) == 1, alpha=0.8)
    dress(upper, "", "share that is right, of voxels called a structure")
    dress(lower, "confidence", "share of these voxels")
    upper.set_ylim(0, 1.02)
    lower.set_xlim(0, 1.005)
    if any(found):
        legend(upper)
    figure.tight_layout()
    return figure
