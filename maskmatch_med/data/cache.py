"""Preprocessed scans on disk, memory-mapped, made once for a plan and remade when a scan or its label changes.

``STUDY/.cache/KEY/CASE/`` holds ``image.npy`` (C, *spatial) float16, or float32 where that is not exact enough,
``labels.npy`` (*spatial) uint8, ``voxels.npz`` (sampled positions of each class) and ``entry.json``, written last,
which names what the arrays were made from and by which version of the preprocessing, and says whether every voxel is
judged.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maskmatch_med.data.preprocess import preprocess, preprocess_labels
from maskmatch_med.errors import InputError
from maskmatch_med.io.labels import UNJUDGED
from maskmatch_med.planning.plan import PREPROCESSING_KEY, Plan
from maskmatch_med.progress import Progress
from maskmatch_med.study import Case, FolderLock

PREPROCESSING_VERSION = 2
"""Counted up with every change of the code that changes what is stored, so that older entries are made anew."""
_EXACT_ENOUGH = 0.01
"""Half precision is kept where it moves no normalised intensity by more: a fifth of a strong view's least noise."""
_POSITIONS_A_CLASS = 20_000
_FILES = ("image.npy", "labels.npy", "voxels.npz")
_LONGEST_PREPARATION_S = 1800.0
_KEPT_PLANS = 3


@dataclass(frozen=True, eq=False)
class CachedCase:
    """One scan as training reads it.

    Args:
        name: the case.
        group: the patient, where known.
        image: (C, *spatial) float16 or float32, memory-mapped.
        labels: (*spatial) uint8, memory-mapped; 255 = not judged.
        voxels: for each class with judged voxels, positions (N, D) of some of them.
        judged: whether every voxel is judged, where that is known already; else the labels are read for it.
    """

    name: str
    group: str | None
    image: NDArray[np.floating[Any]]
    labels: NDArray[np.uint8]
    voxels: dict[int, NDArray[np.int32]]
    judged: bool | None = None

    @property
    def complete(self) -> bool:
        """Whether every voxel is judged."""
        if self.judged is not None:
            return self.judged
        return bool(self.voxels) and not bool((self.labels == UNJUDGED).any())


def cache_cases(cases: Sequence[Case], plan: Plan, root: Path, progress: Progress | None = None) -> list[CachedCase]:
    """Bring every case into the cache and open it.

    Args:
        cases: scans of a study.
        plan: decides spacing and normalisation.
        root: the study's cache folder.
        progress: called with (done, total, case name), or with whom it waits for in place of the name.

    Several trainings may share the cache: a scan that one of them prepares is waited for by the others.

    Raises:
        InputError: a scan cannot be read or does not fit the plan.
        StudyError: another process has been preparing one scan for half an hour.
    """
    opened = []
    for index, case in enumerate(cases):
        if progress is not None:
            progress(index, len(cases), case.name)
        folder = root / plan.preprocessing_key / case.name
        tell = None if progress is None else partial(_tell_waiting, progress, index, len(cases))
        _bring_up_to_date(case, plan, folder, tell)
        opened.append(_open(case, folder))
    _forget_old_plans(root, plan.preprocessing_key)
    if progress is not None:
        progress(len(cases), len(cases), "")
    return opened


def _forget_old_plans(root: Path, current: str) -> None:
    """Remove what was prepared under plans other than the latest few; their arrays are made anew when asked for.

    The other folders of the cache, such as copies for display, are left alone.
    """
    if not (root / current).is_dir():
        return
    os.utime(root / current)
    plans = [path for path in root.iterdir() if path.is_dir() and PREPROCESSING_KEY.fullmatch(path.name)]
    plans.sort(key=lambda path: path.stat().st_mtime)
    for path in plans[:-_KEPT_PLANS]:
        shutil.rmtree(path, ignore_errors=True)


def _tell_waiting(progress: Progress, done: int, total: int, holder: str) -> None:
    progress(done, total, f"waiting: {holder}")


def _bring_up_to_date(case: Case, plan: Plan, folder: Path, waiting: Callable[[str], None] | None) -> None:
    wanted = _identity(case)
    if _is_current(folder, wanted):
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    lock = FolderLock(folder.with_name(f"{folder.name}.lock"), f"preparing {case.name}")
    with lock.held(_LONGEST_PREPARATION_S, waiting):
        if not _is_current(folder, wanted):
            _write(case, plan, folder, wanted)


def _identity(case: Case) -> dict[str, object]:
    files = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in case.image_paths]
    label = case.label.sha256 if case.label else None
    return {"version": PREPROCESSING_VERSION, "images": [list(entry) for entry in files], "label": label}


def _is_current(folder: Path, wanted: dict[str, object]) -> bool:
    try:
        entry = json.loads((folder / "entry.json").read_text(encoding="utf-8"))
        found = isinstance(entry, dict) and isinstance(entry.get("judged"), bool) and entry.get("made_from") == wanted
        return found and all((folder / name).is_file() for name in _FILES)
    except (OSError, ValueError):
        return False


def _write(case: Case, plan: Plan, folder: Path, identity: dict[str, object]) -> None:
    volume = case.read_image()
    if volume.channels != len(plan.channel_names):
        raise InputError(
            f"{case.image_paths[0]} has {volume.channels} channels, the plan was made for {len(plan.channel_names)}: "
            f"{', '.join(plan.channel_names)}"
        )
    label_map = case.read_label()
    try:
        image = preprocess(volume, plan).image
    except InputError as error:
        raise InputError(f"{case.image_paths[0]}: {error}") from error
    try:
        labels = np.full(image.shape[1:], UNJUDGED, np.uint8)
        labels = labels if label_map is None else preprocess_labels(label_map, plan)
    except InputError as error:
        raise InputError(f"{case.label.path if case.label else case.name}: {error}") from error
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    np.save(folder / "image.npy", _narrow(image))
    np.save(folder / "labels.npy", labels)
    positions: dict[str, Any] = {str(label): found for label, found in _positions(labels).items()}
    np.savez(folder / "voxels.npz", **positions)
    entry = {"made_from": identity, "judged": not bool((labels == UNJUDGED).any())}
    (folder / "entry.json").write_text(json.dumps(entry), encoding="utf-8")


def _narrow(image: NDArray[np.float32]) -> NDArray[np.floating[Any]]:
    """The image in half precision, where that is exact enough: half the disk, and half of what must be read of it."""
    with np.errstate(over="ignore"):
        half = image.astype(np.float16)
    planes = zip(*(array.reshape(-1, *image.shape[2:]) for array in (half, image)), strict=True)
    exact = all(np.allclose(narrow, wide, rtol=0, atol=_EXACT_ENOUGH) for narrow, wide in planes)
    return half if exact else image


def _positions(labels: NDArray[np.uint8]) -> dict[int, NDArray[np.int32]]:
    rng = np.random.default_rng(0)
    found = {}
    for label in np.unique(labels[labels != UNJUDGED]):
        flat = np.flatnonzero(labels == label)
        if len(flat) > _POSITIONS_A_CLASS:
            flat = np.sort(rng.choice(flat, _POSITIONS_A_CLASS, replace=False))
        found[int(label)] = np.stack(np.unravel_index(flat, labels.shape), 1).astype(np.int32)
    return found


def _open(case: Case, folder: Path) -> CachedCase:
    with np.load(folder / "voxels.npz") as stored:
        voxels = {int(label): stored[label] for label in stored.files}
    image = np.load(folder / "image.npy", mmap_mode="r")
    labels = np.load(folder / "labels.npy", mmap_mode="r")
    judged = json.loads((folder / "entry.json").read_text(encoding="utf-8"))["judged"]
    return CachedCase(case.name, case.group, image, labels, voxels, judged)
