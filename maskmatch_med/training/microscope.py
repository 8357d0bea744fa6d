"""The pseudo-label microscope: what the teacher says of a few unlabelled scans, seen again and again over a run.

``models/MODEL/microscope/ITERATION.npz`` holds, for each scan, thin stacks of the patch on the plan's grid as uint8:
image, label map (255 outside the scan) and confidence; ``ITERATION.json``, written last, says of which scans and how
sure the teacher was. What is shown is what training learns from: the same crops, scales and threshold, unchanged.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict
from torch import nn

from maskmatch_med.data.cache import CachedCase
from maskmatch_med.data.sampling import cut, cut_image
from maskmatch_med.io.atomic import atomic_path, write_text
from maskmatch_med.io.labels import UNJUDGED
from maskmatch_med.methods import Objective
from maskmatch_med.views import SpatialDraw, apply_spatial

SCANS = 3
_LOOKS = 10
_SHARE_OF_TIME = 0.025
_MOST_VOXELS = 1 << 17
Pixels = NDArray[np.uint8]


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Glimpse(_Record):
    """What the teacher says of one scan.

    Args:
        case: the scan.
        axis: canonical axis across the slices of the stack.
        spacing_mm: of the stack's voxels along the canonical axes.
        fullest: the slice of the stack that shows most of the structures.
        confident: share of the patch's voxels whose pseudo-label counts.
        classes: by class, the share of the patch's voxels that the teacher calls so.
    """

    case: str
    axis: int
    spacing_mm: tuple[float, float, float]
    fullest: int
    confident: float
    classes: dict[str, float]


class Snapshot(_Record):
    """All scans at one moment of a run.

    Args:
        iteration: iterations finished.
        seconds: of the run.
        progress: share of the run that is done.
        teaches: whether the training learns from pseudo-labels at this moment.
        threshold: least confidence that counts.
        cost_s: seconds that looking took.
        glimpses: one a scan.
    """

    iteration: int
    seconds: float
    progress: float
    teaches: bool
    threshold: float
    cost_s: float
    glimpses: tuple[Glimpse, ...]


@dataclass(frozen=True, eq=False)
class Stack:
    """The slices of one scan at one moment, canonical axes; 2D scans have one slice.

    Args:
        image: (X, Y, Z) uint8, the first channel from its 0.5th to its 99.5th percentile.
        labels: (X, Y, Z) uint8; 255 outside the scan.
        confidence: (X, Y, Z) uint8, 255 for a confidence of 1.
    """

    image: Pixels
    labels: Pixels
    confidence: Pixels


@dataclass(frozen=True, eq=False)
class _Place:
    """Where one scan is looked at."""

    case: CachedCase
    centre: NDArray[np.intp]


@dataclass
class Moment:
    """Where a run stands."""

    iteration: int
    seconds: float
    progress: float


class Microscope:
    """Lets the teacher look at a few unlabelled scans, always the same places of the same scans.

    The places are where the structures lie in the labelled scans, as a share of the scan's edges. Looking takes at
    most 2.5 % of the run's time; a look that would take more is put off.

    Args:
        folder: where the snapshots are kept.
        objective: crops, scales and threshold.
        labelled: the scans that tell where structures lie.
        unlabelled: the scans to choose from; those without any label come first.
    """

    def __init__(
        self, folder: Path, objective: Objective, labelled: Sequence[CachedCase], unlabelled: Sequence[CachedCase]
    ) -> None:
        self.folder, self.objective = folder, objective
        self.cost_s = 0.0
        self._spent_s = 0.0
        self._places = _choose(objective, labelled, unlabelled)
        start = objective.config.labels_alone
        self._due = sorted({start, *((number + 0.5) / _LOOKS for number in range(_LOOKS))})
        self._seen = 0

    def begin(self, moment: Moment) -> None:
        """Keep what earlier sessions of the run saw up to this moment, and forget what came after it."""
        for snapshot in read_snapshots(self.folder):
            if snapshot.iteration > moment.iteration:
                for ending in ("json", "npz"):
                    _file(self.folder, snapshot.iteration, ending).unlink(missing_ok=True)
            else:
                self._spent_s += snapshot.cost_s
                self.cost_s = snapshot.cost_s
        self._seen = sum(due <= moment.progress for due in self._due) if moment.iteration else 0

    def look_when_due(self, teacher: nn.Module, moment: Moment) -> None:
        """Look where the run has come to the next of the moments to look at, and there is time for it."""
        passed = sum(due <= moment.progress for due in self._due)
        if passed > self._seen and self._affordable(moment):
            self._seen = passed
            self.look(teacher, moment)

    def look_last(self, teacher: nn.Module, moment: Moment) -> None:
        """Look once more when the run has ended, unless the time is too short for it."""
        if self._affordable(moment):
            self.look(teacher, moment)

    def look(self, teacher: nn.Module, moment: Moment) -> None:
        """Ask the teacher and write what it says."""
        began = time.monotonic()
        looks = [self._ask(teacher, place) for place in self._places]
        arrays = {
            f"{name}_{number}": getattr(stack, name)
            for number, (_, stack) in enumerate(looks)
            for name in ("image", "labels", "confidence")
        }
        with atomic_path(_file(self.folder, moment.iteration, "npz")) as part, part.open("wb") as stream:
            np.savez_compressed(stream, **arrays)
        self.cost_s = time.monotonic() - began
        self._spent_s += self.cost_s
        snapshot = Snapshot(
            iteration=moment.iteration,
            seconds=round(moment.seconds, 2),
            progress=round(moment.progress, 4),
            teaches=self.objective.uses_unlabelled(moment.progress),
            threshold=self.objective.config.pseudo_labels.threshold,
            cost_s=round(self.cost_s, 4),
            glimpses=tuple(glimpse for glimpse, _ in looks),
        )
        write_text(_file(self.folder, moment.iteration, "json"), snapshot.model_dump_json(indent=1) + "\n")

    def _affordable(self, moment: Moment) -> bool:
        return self._spent_s + self.cost_s <= _SHARE_OF_TIME * moment.seconds

    @torch.no_grad()
    def _ask(self, teacher: nn.Module, place: _Place) -> tuple[Glimpse, Stack]:
        objective, plan = self.objective, self.objective.plan
        device = next(teacher.parameters()).device
        image = torch.from_numpy(cut_image(place.case, place.centre, objective.source_vox))[None].to(device)
        there = np.ones((1, *place.case.labels.shape), bool)
        inside = torch.from_numpy(cut(there, place.centre, objective.source_vox, False))[None].to(device)
        same = SpatialDraw.identity(1, len(plan.patch_vox), device)
        pseudo = objective.pseudo_labels(teacher, image, inside, same)
        valid = pseudo.valid[0].cpu().numpy()
        labels = np.where(valid, pseudo.labels[0].cpu().numpy(), UNJUDGED).astype(np.uint8)
        sure = pseudo.confidence[0].float().cpu().numpy()
        shown = apply_spatial(image, same, plan.patch_vox)[0, 0].float().cpu().numpy()
        spacing = (*plan.spacing_mm, *(1.0,) * (3 - len(plan.spacing_mm)))
        axis = int(np.argmax(spacing)) if max(spacing) > 2 * min(spacing) and labels.ndim == 3 else 2
        whole = Stack(*(_solid(part) for part in (_grey(shown, valid), labels, np.round(255 * sure).astype(np.uint8))))
        stack = _thinned(whole, axis)
        count = max(1, int(valid.sum()))
        counts = valid & (sure >= objective.config.pseudo_labels.threshold)
        glimpse = Glimpse(
            case=place.case.name,
            axis=axis,
            spacing_mm=(float(spacing[0]), float(spacing[1]), float(spacing[2])),
            fullest=_fullest(stack.labels, axis),
            confident=round(int(counts.sum()) / count, 4),
            classes={name: round(int((labels == k).sum()) / count, 5) for name, k in plan.label_names.items()},
        )
        return glimpse, stack


def read_snapshots(folder: Path) -> list[Snapshot]:
    """What a microscope's folder holds, oldest first; what is damaged is left out."""
    found = []
    for path in sorted(folder.glob("[0-9]*.json")):
        try:
            found.append(Snapshot.model_validate(json.loads(path.read_text(encoding="utf-8"))))
        except (OSError, ValueError):
            continue
    return found


def read_stack(folder: Path, iteration: int, number: int) -> Stack:
    """The slices of one scan.

    Args:
        folder: the microscope's.
        iteration: of the snapshot.
        number: of the scan in it, from 0.

    Raises:
        OSError: there is no such snapshot.
        KeyError, ValueError: it has no such scan, or is damaged.
    """
    with np.load(_file(folder, iteration, "npz"), allow_pickle=False) as stored:
        return Stack(*(stored[f"{name}_{number}"] for name in ("image", "labels", "confidence")))


def _file(folder: Path, iteration: int, ending: str) -> Path:
    return folder / f"{iteration:08d}.{ending}"


def _choose(
    objective: Objective, labelled: Sequence[CachedCase], unlabelled: Sequence[CachedCase]
) -> tuple[_Place, ...]:
    """The same scans and places for the same study and seed."""
    order = np.random.default_rng([objective.config.seed, 11]).permutation(len(unlabelled))
    chosen = sorted((unlabelled[index] for index in order), key=lambda case: bool(case.voxels))[:SCANS]
    means = [
        np.concatenate([places for value, places in case.voxels.items() if value]).mean(0) / np.array(case.labels.shape)
        for case in labelled
        if max(case.voxels) > 0
    ]
    place = np.median(means, axis=0) if means else np.full(len(objective.plan.patch_vox), 0.5)
    half = np.array(objective.plan.patch_vox) // 2
    found = []
    for case in sorted(chosen, key=lambda case: case.name):
        shape = np.array(case.labels.shape)
        low = np.minimum(half, shape // 2)
        centre = np.clip((place * shape).astype(np.intp), low, np.maximum(shape - half, low))
        found.append(_Place(case, centre.astype(np.intp)))
    return tuple(found)


def _grey(image: NDArray[np.float32], valid: NDArray[np.bool_]) -> Pixels:
    low, high = np.percentile(image[valid], [0.5, 99.5]) if valid.any() else (0.0, 1.0)
    scaled = np.clip((image - low) / max(float(high - low), 1e-6), 0, 1)
    return np.asarray(255 * scaled * valid, dtype=np.uint8)


def _solid(array: NDArray[Any]) -> Pixels:
    return np.asarray(array if array.ndim == 3 else array[..., None], dtype=np.uint8)


def _thinned(stack: Stack, axis: int) -> Stack:
    """As many slices, evenly spread, as keep the stack small."""
    slices = stack.labels.shape[axis]
    kept = min(slices, max(1, _MOST_VOXELS * slices // stack.labels.size))
    at = ((np.arange(kept) + 0.5) * slices / kept).astype(np.intp)
    return Stack(*(np.take(part, at, axis) for part in (stack.image, stack.labels, stack.confidence)))


def _fullest(labels: Pixels, axis: int) -> int:
    others = tuple(other for other in range(3) if other != axis)
    shown = ((labels > 0) & (labels != UNJUDGED)).sum(others)
    return int(shown.argmax()) if shown.any() else labels.shape[axis] // 2
