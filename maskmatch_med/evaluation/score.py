"""The scores of one case: every class of a prediction against its reference.

Rules for empty masks: both empty, the class is left out of every mean and counted; one empty, Dice and NSD are 0 and
the distances are the image's diagonal, counted. Voxels that nobody judged (255 in the reference) belong to no count.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from maskmatch_med.errors import InputError
from maskmatch_med.evaluation.metrics import (
    Mask,
    Spacing,
    SurfaceDistances,
    dice,
    image_diagonal_mm,
    surface_distances,
    volume_ml,
)
from maskmatch_med.io.labels import UNJUDGED

Labels = NDArray[np.uint8]
NAN = math.nan


@dataclass(frozen=True)
class EvaluateOptions:
    """How to score.

    Args:
        nsd_mm: tolerance of the normalised surface Dice in mm.
        paper: also score as published scripts of semi-supervised segmentation do, see :class:`PaperScore`.
        label_names: name to value without background; ``None`` takes them from dataset.json or from the values met.

    Raises:
        InputError: the tolerance is negative or not a number, or a label value is not 1 to 254.
    """

    nsd_mm: float = 1.0
    paper: bool = False
    label_names: Mapping[str, int] | None = None

    def __post_init__(self) -> None:
        if not (math.isfinite(self.nsd_mm) and self.nsd_mm >= 0):
            raise InputError(f"the surface tolerance must be a number of mm from 0, got {self.nsd_mm}")
        for name, value in (self.label_names or {}).items():
            if not 1 <= value < UNJUDGED:
                raise InputError(f"label {name!r} has value {value}, expected 1 to 254; leave the background out")


@dataclass(frozen=True)
class PaperScore:
    """One class of one case as medpy-based scripts print it: for comparison with published tables only.

    Distances are in voxels whatever their size. An empty prediction scores 0 in all three, the distances included
    (which flatters them), even where the reference is empty too. A structure predicted where the reference has none
    cannot be scored by these scripts and is NaN.

    Args:
        dice: Dice overlap.
        hd95_voxels: 95th percentile of both directed sets pooled.
        asd_voxels: mean from the prediction's surface to the reference's, one direction.
    """

    dice: float
    hd95_voxels: float
    asd_voxels: float


@dataclass(frozen=True)
class Row:
    """The scores of one class in one case.

    Args:
        case: name of the case.
        class_name: name of the structure.
        label: its value in the arrays.
        dice: 0 to 1; NaN where both masks are empty.
        nsd: 0 to 1, normalised surface Dice at the tolerance of the options.
        hd95_mm: the larger directed 95th percentile of surface distances.
        assd_mm: average symmetric surface distance.
        volume_pred_ml: predicted volume.
        volume_ref_ml: reference volume.
        both_empty: neither side has the structure; every score is NaN and left out of the means.
        one_empty: one side alone has the structure.
        paper: the paper-compatible scores where asked for.
    """

    case: str
    class_name: str
    label: int
    dice: float
    nsd: float
    hd95_mm: float
    assd_mm: float
    volume_pred_ml: float
    volume_ref_ml: float
    both_empty: bool = False
    one_empty: bool = False
    paper: PaperScore | None = field(default=None)


def score_case(
    prediction: Labels,
    reference: Labels,
    spacing_mm: Spacing,
    classes: Mapping[str, int],
    options: EvaluateOptions = EvaluateOptions(),
    *,
    case: str = "",
) -> list[Row]:
    """Score every class of one case.

    Args:
        prediction: (X, Y, Z) uint8.
        reference: (X, Y, Z) uint8; 255 = not judged, left out of every count.
        spacing_mm: voxel size along each array axis.
        classes: name to value, background left out.
        options: tolerance and mode; its ``label_names`` is not read here.
        case: name of the case, for the rows.

    Returns:
        One row a class, in the order of ``classes``.

    Raises:
        InputError: the shapes differ.
    """
    if prediction.shape != reference.shape:
        raise InputError(f"{case}: the prediction has shape {prediction.shape}, the reference {reference.shape}")
    found = reference == UNJUDGED
    unjudged: Mask | None = found if bool(found.any()) else None
    rows = []
    for name, value in classes.items():
        masks = (prediction == value, reference == value)
        if unjudged is not None:
            masks = (masks[0] & ~unjudged, masks[1])
        scorer = _ClassScorer(masks[0], masks[1], spacing_mm, unjudged)
        rows.append(scorer.row(case, name, value, options))
    return rows


def mean_dice(prediction: Labels, reference: Labels, classes: Iterable[int]) -> float:
    """Mean Dice of one case over the structures that either side has: as :func:`score_case`, without the rest.

    Args:
        prediction: (X, Y, Z) uint8.
        reference: (X, Y, Z) uint8; 255 = not judged, left out.
        classes: values of the structures.

    Returns:
        0 to 1; NaN where neither side has a structure.
    """
    judged = reference != UNJUDGED
    scores = [dice((prediction == value) & judged, reference == value) for value in classes]
    kept = [score for score in scores if not math.isnan(score)]
    return float(np.mean(kept)) if kept else NAN


@dataclass(frozen=True, eq=False)
class _ClassScorer:
    prediction: Mask
    reference: Mask
    spacing_mm: Spacing
    unjudged: Mask | None

    def row(self, case: str, name: str, value: int, options: EvaluateOptions) -> Row:
        volumes = volume_ml(self.prediction, self.spacing_mm), volume_ml(self.reference, self.spacing_mm)
        has_prediction, has_reference = volumes[0] > 0, volumes[1] > 0
        both_empty = not has_prediction and not has_reference
        one_empty = has_prediction != has_reference
        if both_empty:
            scores = (NAN, NAN, NAN, NAN)
        elif one_empty:
            diagonal = image_diagonal_mm(self.reference.shape, self.spacing_mm)
            scores = (0.0, 0.0, diagonal, diagonal)
        else:
            found = self._distances(self.spacing_mm)
            scores = (dice(self.prediction, self.reference), found.nsd(options.nsd_mm), found.hd95, found.assd)
        paper = self._paper(has_prediction, has_reference) if options.paper else None
        return Row(case, name, value, *scores, *volumes, both_empty=both_empty, one_empty=one_empty, paper=paper)

    def _paper(self, has_prediction: bool, has_reference: bool) -> PaperScore:
        if not has_prediction:
            return PaperScore(0.0, 0.0, 0.0)
        if not has_reference:
            return PaperScore(NAN, NAN, NAN)
        found = self._distances((1.0, 1.0, 1.0))
        return PaperScore(dice(self.prediction, self.reference), found.hd95_pooled, found.asd_to_reference)

    def _distances(self, spacing: Spacing) -> SurfaceDistances:
        return surface_distances(self.prediction, self.reference, spacing, self.unjudged)
