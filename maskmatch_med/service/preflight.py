"""What to know before a training: cheap looks at labels, grids and machine, each told as a sentence with what to do.

Nothing here takes longer than some seconds: labels are counted once a version, and no more than fit into a moment.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
import psutil
import torch

from maskmatch_med.errors import MaskMatchError, named
from maskmatch_med.io import nifti, read_labels
from maskmatch_med.io.labels import UNJUDGED
from maskmatch_med.study import Case, Study
from maskmatch_med.study.checking.cohort import SIZE_FACTOR, SPACING_FACTOR
from maskmatch_med.study.checking.outliers import amount, outliers

_LOOK_S = 2.0
_FEW_VOXELS = 500
_FEW_SHARE = 0.001
_GB = 1e9
_COPIES_WHILE_READING = 6
_AXES = ("right to left", "front to back", "head to foot")


@dataclass(frozen=True)
class Advice:
    """One thing to know.

    Args:
        level: ``warning`` where the result may suffer, ``note`` where it is good to know.
        text: what was found, and what to do.
    """

    level: Literal["note", "warning"]
    text: str


def advice_before_training(study: Study, cases: Sequence[Case]) -> list[Advice]:
    """What to know before a training, the warnings first."""
    found = [*_labels(study, cases), *_grids(cases), *_machine(study, cases)]
    return sorted(found, key=lambda advice: advice.level == "note")


def _labels(study: Study, cases: Sequence[Case]) -> Iterator[Advice]:
    labelled = [case for case in cases if case.label is not None]
    if len(labelled) == 1:
        text = "Only one scan has a label: none can be held out, so the training cannot tell how good it is."
        yield Advice("warning", f"{text} Label two or three more scans that look different.")
    elif sum(case.judged == "complete" for case in cases) < 10 and labelled:
        text = "Fewer than ten scans have a complete label, so none is held out to measure the Dice on."
        yield Advice("note", f"{text} Judge the result by eye on the page Review.")
    if labelled and all(case.judged == "complete" for case in cases):
        text = "Every scan has a complete label, so there is nothing unlabelled to learn from."
        yield Advice("note", f"{text} Add scans without labels; they cost nobody's time.")
    seen, all_seen = _seen(labelled)
    counts = {name: label.voxels for name, label in seen.items()}
    yield from _structures(study.label_names, counts, all_seen)
    yield from _few_judged(labelled, counts)
    yield from _no_empty_slice(labelled, seen)


@dataclass(frozen=True)
class _SeenLabel:
    """What a look at a label found: voxels by value, 255 = not judged; and whether a slice is judged to be empty."""

    voxels: Mapping[int, int]
    empty_slice: bool


def _seen(labelled: Sequence[Case]) -> tuple[dict[str, _SeenLabel], bool]:
    """What each label holds, and whether time has sufficed for all of them; the next look goes on from here."""
    end, seen = time.monotonic() + _LOOK_S, dict[str, _SeenLabel]()
    for case in labelled:
        if time.monotonic() > end:
            return seen, False
        if case.label is not None:
            seen[case.name] = _look(case.label.path, case.label.sha256)
    return seen, True


@lru_cache(maxsize=4096)
def _look(path: Path, sha256: str) -> _SeenLabel:
    """Look at one version of a label; without voxels where it cannot be read, which `check` tells."""
    try:
        array = read_labels(path, unjudged=UNJUDGED).array
    except (MaskMatchError, OSError):
        return _SeenLabel({}, empty_slice=False)
    values, counts = np.unique(array, return_counts=True)
    others = [tuple({0, 1, 2} - {axis}) for axis in range(3) if array.shape[axis] > 1]
    empty_slice = any(not array.any(axis=across).all() for across in others)
    return _SeenLabel(dict(zip(values.tolist(), counts.tolist(), strict=True)), empty_slice)


def _structures(
    label_names: Mapping[str, int], counts: Mapping[str, Mapping[int, int]], all_seen: bool
) -> Iterator[Advice]:
    structures = {name: value for name, value in label_names.items() if value}
    if not counts or not all_seen:
        return
    for name, value in structures.items():
        having = [case for case, found in counts.items() if found.get(value)]
        if not having:
            text = f"No label shows {name}: the model cannot learn it."
            yield Advice("warning", f"{text} Paint it on one scan, or remove it on the page Scans.")
        elif len(having) < len(counts):
            without = named([case for case in counts if case not in having])
            text = f"{name} is painted on {len(having)} of {len(counts)} labelled scans, not on {without}."
            yield Advice("note", f"{text} Where it is there and not yet painted, paint it: its absence is learnt too.")


def _few_judged(labelled: Sequence[Case], counts: Mapping[str, Mapping[int, int]]) -> Iterator[Advice]:
    few = []
    for case in labelled:
        found = counts.get(case.name) or {}
        judged = sum(number for value, number in found.items() if value != UNJUDGED)
        if found and (judged < _FEW_VOXELS or judged < _FEW_SHARE * sum(found.values())):
            few.append(f"{case.name} ({judged:,} voxels)")
    if few:
        text = f"Very few voxels are judged on {named(few)}."
        yield Advice("warning", f"{text} Complete at least one slice there: it tells what is not a structure as well.")


def _no_empty_slice(labelled: Sequence[Case], seen: Mapping[str, _SeenLabel]) -> Iterator[Advice]:
    """Volumes painted in part, of which no slice says what lies away from the structures, where no whole label does."""
    if any(case.judged == "complete" for case in labelled):
        return
    solid = [case.name for case in labelled if not case.is_raster and case.name in seen]
    without = [name for name in solid if seen[name].voxels and not seen[name].empty_slice]
    if without:
        text = f"No slice without a structure is marked complete on {named(without)}."
        more = "that takes no stroke, and nothing else tells that what lies away from the painted slices is background."
        yield Advice("warning", f"{text} Complete two there, before and behind the structure: {more}")


def _grids(cases: Sequence[Case]) -> Iterator[Advice]:
    solid = [case for case in cases if not case.is_raster]
    grids = {case.name: _grid(case.image_paths[0], _stamp(case.image_paths[0])) for case in solid}
    known = {name: grid for name, grid in grids.items() if grid is not None}
    if missing := [name for name in grids if name not in known]:
        text = f"The scans {named(missing)} cannot be read."
        yield Advice("warning", f"{text} Training will stop there: run `maskmatch check`, or add them anew.")
    odd = dict[str, str]()
    for axis, along in enumerate(_AXES):
        for name, found in outliers({n: grid[0][axis] for n, grid in known.items()}, SPACING_FACTOR).items():
            odd.setdefault(name, f"voxels of {amount(found.value)} mm {along} against {amount(found.median)}")
        for name, found in outliers({n: grid[1][axis] for n, grid in known.items()}, SIZE_FACTOR).items():
            odd.setdefault(name, f"{amount(found.value)} mm {along} against {amount(found.median)}")
    if odd:
        name, reason = next(iter(odd.items()))
        text = f"Scans on a very different grid: {len(odd)} of {len(cases)}, such as {name}: {reason}."
        yield Advice("warning", f"{text} See on the page Scans whether they show the same part of the body.")


@lru_cache(maxsize=8192)
def _grid(path: Path, stamp: int) -> tuple[tuple[float, float, float], tuple[float, float, float]] | None:
    """Spacing and extent in mm along right, front and head; None where the file cannot be read."""
    try:
        grid = nifti.read_geometry(path).to_canonical().target
    except (MaskMatchError, OSError):
        return None
    a, b, c = (n * mm for n, mm in zip(grid.shape, grid.spacing_mm, strict=True))
    return grid.spacing_mm, (a, b, c)


def _stamp(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


def _machine(study: Study, cases: Sequence[Case]) -> Iterator[Advice]:
    voxels = [int(np.prod(case.shape)) * max(1, len(study.channel_names)) for case in cases]
    needed = sum(2 * n for n in voxels) + sum(int(np.prod(case.shape)) for case in cases)
    missing, free = needed - _size(study.cache_dir), shutil.disk_usage(study.root).free
    if missing > 0.9 * free:
        text = f"The prepared scans take about {missing / _GB:.1f} GB and the disk has {free / _GB:.1f} GB free."
        yield Advice("warning", f"{text} Make room, or move the study to a larger disk.")
    reading, available = _COPIES_WHILE_READING * 4 * max(voxels, default=0), psutil.virtual_memory().available
    if reading > available:
        text = (
            f"Preparing the largest scan takes about {reading / _GB:.1f} GB of memory, {available / _GB:.1f} are free."
        )
        yield Advice("warning", f"{text} Close other programs, or crop the scan before adding it.")
    if not torch.cuda.is_available():
        text = "There is no GPU that can be used; training runs on the processor."
        yield Advice("note", f"{text} Leave it to itself while it trains; with an NVIDIA GPU it is faster.")


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*.npy") if path.is_file())
