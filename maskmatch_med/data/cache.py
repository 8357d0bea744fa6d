"""Preprocessed scans on disk, memory-mapped, made once for a plan and remade when a scan or its label changes.

``STUDY/.cache/KEY/CASE/`` holds ``image.npy`` (C, *spatial) float32, ``labels.npy`` (*spatial) uint8, ``voxels.npz``
(sampled positions of each class) and ``entry.json``, written last, which names what the arrays were made from.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maskmatch_med.data.preprocess import preprocess, preprocess_labels
from maskmatch_med.errors import InputError
from maskmatch_med.planning.plan import Plan
from maskmatch_med.study import Case, FolderLock

UNJUDGED = 255
_POSITIONS_A_CLASS = 20_000
_FILES = ("image.npy", "labels.npy", "voxels.npz")
_LONGEST_PREPARATION_S = 1800.0


@dataclass(frozen=True, eq=False)
class CachedCase:
    """One scan as training reads it.

    Args:
        name: the case.
        group: the patient, where known.
        image: (C, *spatial) float32, memory-mapped.
        labels: (*spatial) uint8, memory-mapped; 255 = not judged.
        voxels: for each class with judged voxels, positions (N, D) of some of them.
    """

    name: str
    group: str | None
    image: NDArray[np.float32]
    labels: NDArray[np.uint8]
    voxels: dict[int, NDArray[np.int32]]

    @property
    def complete(self) -> bool:
        """Whether every voxel is judged."""
        return bool(self.voxels) and not bool((self.labels == UNJUDGED).any())


def cache_cases(
    cases: Sequence[Case], plan: Plan, root: Path, progress: Callable[[int, int, str], None] | None = None
) -> list[CachedCase]:
    """Bring every case into the cache and open it.

    Args:
        cases: scans of a study.
        plan: decides spacing and normalisation.
        root: the study's cache folder.
        progress: called with (done, total, case name).

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
        _bring_up_to_date(case, plan, folder)
        opened.append(_open(case, folder))
    if progress is not None:
        progress(len(cases), len(cases), "")
    return opened


def _bring_up_to_date(case: Case, plan: Plan, folder: Path) -> None:
    wanted = _identity(case)
    if _is_current(folder, wanted):
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    lock = FolderLock(folder.with_name(f"{folder.name}.lock"), f"preparing {case.name}")
    with lock.held(timeout_s=_LONGEST_PREPARATION_S):
        if not _is_current(folder, wanted):
            _write(case, plan, folder, wanted)


def _identity(case: Case) -> dict[str, object]:
    files = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in case.image_paths]
    return {"images": [list(entry) for entry in files], "label": case.label.sha256 if case.label else None}


def _is_current(folder: Path, wanted: dict[str, object]) -> bool:
    try:
        found = json.loads((folder / "entry.json").read_text(encoding="utf-8"))
        return bool(found == wanted) and all((folder / name).is_file() for name in _FILES)
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
    np.save(folder / "image.npy", image)
    np.save(folder / "labels.npy", labels)
    positions: dict[str, Any] = {str(label): found for label, found in _positions(labels).items()}
    np.savez(folder / "voxels.npz", **positions)
    (folder / "entry.json").write_text(json.dumps(identity), encoding="utf-8")


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
    return CachedCase(case.name, case.group, image, np.load(folder / "labels.npy", mmap_mode="r"), voxels)
