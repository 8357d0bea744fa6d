"""What speaks against a segmentation, each doubt with a weight and a sentence, from numbers that are cheap to get."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import median

import numpy as np

from maskmatch_med.ranking.shapes import StructureShape

Shapes = Mapping[str, StructureShape]
_ENOUGH = 3
"""Labelled scans below which they say nothing of what is usual."""
_LEAST_SPREAD = 0.15
"""Of the logarithm of volumes: structures always differ by so much."""
_USUAL_SPREADS = 2.5
_MUCH_AT_BORDER = 0.02
_SAME_BEFORE = 0.9
"""Dice with the previous segmentation above which a change is no doubt."""
_UNSURE_SHARE = 0.75
_FEW = 5
_SIDE_MM = 2.0


@dataclass(frozen=True)
class Doubt:
    """One thing that speaks against a segmentation.

    Args:
        weight: 0 to 1.
        reason: a sentence without its full stop; empty where it only orders.
    """

    weight: float
    reason: str


@dataclass(frozen=True)
class Observed:
    """What is known of one segmentation.

    Args:
        shapes: of its structures.
        uncertainty: mean in and around what is segmented; None where the model told none.
        previous: Dice with the segmentation before it, by structure; None where there is none.
    """

    shapes: Shapes
    uncertainty: float | None = None
    previous: Mapping[str, float] | None = None


@dataclass(frozen=True)
class LabelNorm:
    """What is usual in a study.

    Args:
        labelled: the structures of the scans with a complete label.
        uncertainties: of all segmentations of the same model.
        alike: the structures of all segmentations of the same model.
    """

    labelled: Sequence[Shapes] = ()
    uncertainties: Sequence[float] = ()
    alike: Sequence[Shapes] = ()


def doubts_of(seen: Observed, norm: LabelNorm) -> list[Doubt]:
    """All that speaks against a segmentation, the heaviest first."""
    found = [*_of_uncertainty(seen, norm), *_of_change(seen)]
    for name, shape in seen.shapes.items():
        usual = [one[name] for one in norm.labelled if name in one]
        found += _of_structure(name, shape, usual)
        found += _of_peers(name, shape, [one[name] for one in norm.alike if name in one])
    found += _of_sides(seen.shapes, norm.labelled)
    if not any(shape.volume_ml for shape in seen.shapes.values()) and len(norm.labelled) < _ENOUGH:
        found.append(Doubt(0.9, "nothing is segmented"))
    return sorted(found, key=lambda doubt: -doubt.weight)


def total(doubts: Sequence[Doubt]) -> float:
    """One number of all doubts, 0 to 1: each takes its weight of what the others have left."""
    return 1.0 - float(np.prod([1.0 - doubt.weight for doubt in doubts]))


def _of_uncertainty(seen: Observed, norm: LabelNorm) -> list[Doubt]:
    """By its rank among all segmentations of the model, which has no scale of its own; at most 0.6."""
    if seen.uncertainty is None:
        return []
    if len(norm.uncertainties) < _FEW:
        return [Doubt(min(0.6, 2 * seen.uncertainty), "")]
    below = sum(one < seen.uncertainty for one in norm.uncertainties)
    share = min(1.0, below / (len(norm.uncertainties) - 1))
    others = "all other scans" if share == 1 else f"{share:.0%} of the scans"
    words = f"the model is less sure here than in {others}" if share >= _UNSURE_SHARE else ""
    return [Doubt(0.6 * share, words)]


def _of_change(seen: Observed) -> list[Doubt]:
    if not seen.previous:
        return []
    name, least = min(seen.previous.items(), key=lambda pair: pair[1])
    words = f"{name} has changed since the previous segmentation (Dice {least:.2f})" if least < _SAME_BEFORE else ""
    mean = sum(seen.previous.values()) / len(seen.previous)
    return [Doubt(0.7 * (1 - (mean + least) / 2), words)]


def _of_structure(name: str, shape: StructureShape, usual: Sequence[StructureShape]) -> list[Doubt]:
    enough = len(usual) >= _ENOUGH
    if not shape.volume_ml:
        always = enough and all(one.volume_ml for one in usual)
        return [Doubt(0.8, f"{name} is missing, which no labelled scan lacks")] if always else []
    found = []
    most_parts = max((one.parts for one in usual), default=1) if enough else 1
    if shape.parts > most_parts:
        told = f", at most {most_parts} where labelled" if enough else ""
        found.append(Doubt(0.35 if enough else 0.2, f"{name} is in {shape.parts} pieces{told}"))
    usual_border = max((one.at_border for one in usual), default=0.0)
    if shape.at_border > usual_border + _MUCH_AT_BORDER:
        found.append(Doubt(0.25, f"{name} touches the border of the scan"))
    return found + (_of_volume(name, shape, usual) if enough else [])


def _of_volume(name: str, shape: StructureShape, usual: Sequence[StructureShape]) -> list[Doubt]:
    """Against the labelled scans, which a model may miss in all of its segmentations alike."""
    logs = _logs(usual)
    if not logs:
        return [Doubt(0.4, f"{name} is found, which no labelled scan has")]
    if len(logs) < _ENOUGH:
        return []
    away, words = _away(shape, logs)
    weight = min(0.8, 0.1 * away)
    return [Doubt(weight, f"{name} is {words} than usual where labelled")] if away >= _USUAL_SPREADS else []


def _of_peers(name: str, shape: StructureShape, alike: Sequence[StructureShape]) -> list[Doubt]:
    """Against the other segmentations of the same model; this orders also where all of them are usual."""
    logs = _logs(alike)
    if not shape.volume_ml or len(logs) < _FEW:
        return []
    away, words = _away(shape, logs)
    told = f"{name} is {words} than in the model's other segmentations" if away >= _USUAL_SPREADS else ""
    return [Doubt(min(0.6, 0.12 * away), told)]


def _logs(shapes: Sequence[StructureShape]) -> list[float]:
    return [float(np.log(one.volume_ml)) for one in shapes if one.volume_ml]


def _away(shape: StructureShape, logs: Sequence[float]) -> tuple[float, str]:
    """How many robust spreads a volume lies off the median, and the same in words."""
    middle = median(logs)
    spread = max(1.4826 * median(abs(one - middle) for one in logs), _LEAST_SPREAD)
    off = float(np.log(shape.volume_ml)) - middle
    return abs(off) / spread, f"{np.exp(abs(off)):.1f} times {'larger' if off > 0 else 'smaller'}"


def _of_sides(shapes: Shapes, labelled: Sequence[Shapes]) -> list[Doubt]:
    """Two structures that lie the other way round, left to right, than in every labelled scan."""
    found = []
    for one, two in combinations(shapes, 2):
        if not (shapes[one].volume_ml and shapes[two].volume_ml):
            continue
        gaps = [
            label[one].right_mm - label[two].right_mm
            for label in labelled
            if one in label and two in label and label[one].volume_ml and label[two].volume_ml
        ]
        gap = shapes[one].right_mm - shapes[two].right_mm
        clear = len(gaps) >= _ENOUGH and (min(gaps) > _SIDE_MM or max(gaps) < -_SIDE_MM)
        if clear and gap * gaps[0] < 0 and abs(gap) > _SIDE_MM:
            found.append(Doubt(0.7, f"{one} and {two} lie the other way round than where labelled; left for right?"))
    return found
