"""Look at a study as people do: a row a scan, and how far the work is."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

from maskmatch_med.errors import MaskMatchError
from maskmatch_med.evaluation.pictures import PALETTE
from maskmatch_med.io import nifti
from maskmatch_med.nets import ModelFolder
from maskmatch_med.phantom import PhantomOptions, write_phantom
from maskmatch_med.progress import Progress
from maskmatch_med.service import reported
from maskmatch_med.service.pages import is_study
from maskmatch_med.service.predictions import Predictions
from maskmatch_med.study import Case, ImportOptions, LabelVersion, Study, import_scans
from maskmatch_med.training.card import was_too_short
from maskmatch_med.volume import Shape3

ScanState = Literal["labelled", "accepted", "partial", "predicted", "none"]


@dataclass(frozen=True)
class ScanEntry:
    """One scan as a table shows it.

    Args:
        name: the case.
        state: ``labelled`` and ``accepted`` (a model's label that somebody accepted) are complete labels; a scan whose
            newest prediction was rejected is not ``predicted``.
        shape: (X, Y, Z) voxels as stored.
        spacing_mm: along the same axes; None where the file cannot be read.
        source_name: file name it came from.
        is_raster: whether it came from a 2D picture.
        group: the patient group; None where it stands alone.
        predicted_by: names of the models with a prediction of it.
        label_version: of its current label; None where it has none.
        labelled_at: when that was made, UTC in ISO 8601.
    """

    name: str
    state: ScanState
    shape: Shape3
    spacing_mm: tuple[float, float, float] | None
    source_name: str
    is_raster: bool
    group: str | None
    predicted_by: tuple[str, ...]
    label_version: str | None
    labelled_at: str | None


@dataclass(frozen=True)
class Round:
    """One trained model: how many labels it learnt from and how well it did on scans held out.

    Args:
        model: its name.
        labelled: labels it was given, those held out to check it on among them.
        dice: mean validation Dice; None where nothing was held out.
        begun: when its training began or went on the last time, UTC in ISO 8601.
        short: whether its training made too few iterations to expect anything useful.
    """

    model: str
    labelled: int
    dice: float | None
    begun: str
    short: bool = False


@dataclass(frozen=True)
class StudyPage:
    """A study at one moment.

    Args:
        name: of the study.
        channels: their names.
        structures: names of the classes 1, 2, …
        colours: theirs, as ``#rrggbb``.
        scans: in order of their names.
        rounds: the trained models, oldest first.
    """

    name: str
    channels: tuple[str, ...]
    structures: tuple[str, ...]
    colours: tuple[str, ...]
    scans: tuple[ScanEntry, ...]
    rounds: tuple[Round, ...]

    @property
    def states(self) -> Counter[str]:
        """How many scans are in each state."""
        return Counter(scan.state for scan in self.scans)


def may_write(root: Path) -> bool:
    """Whether a study, or the folder in which it is to be made, may be written; the mount counts as well."""
    place = root if root.exists() else root.parent
    return os.access(place, os.W_OK)


def studies_in(folder: Path) -> list[Path]:
    """The studies that lie directly in a folder, in order of their names."""
    found = folder.iterdir() if folder.is_dir() else ()
    return sorted(path for path in found if not path.name.startswith(".") and is_study(path))


def study_stamp(root: Path) -> tuple[int, ...]:
    """A value that changes whenever scans, labels, predictions or models of a study do."""
    watched = ("study.sqlite", "dataset.json", "imagesTr", "labelsTr", "history", "sources", "models", "predictions")
    paths = [root / name for name in watched] + sorted((root / "predictions").glob("*"))
    paths += sorted((root / "models").glob("*/metrics.json"))
    return tuple(path.stat().st_mtime_ns if path.exists() else 0 for path in paths)


def browse(root: Path) -> StudyPage:
    """Look at a study; nothing in it changes.

    Raises:
        StudyError: the folder is no study, or a sidecar is damaged.
    """
    study = Study.at(root)
    predictions = Predictions.of(study)
    structures = tuple(
        sorted((n for n, value in study.label_names.items() if value), key=study.label_names.__getitem__)
    )
    given = study.label_colours
    return StudyPage(
        name=study.name,
        channels=study.channel_names,
        structures=structures,
        colours=tuple(given.get(name, PALETTE[rank % len(PALETTE)]) for rank, name in enumerate(structures)),
        scans=tuple(_entry(case, predictions) for case in study.cases()),
        rounds=tuple(_rounds(study)),
    )


def label_history(root: Path, name: str) -> list[LabelVersion]:
    """All label versions of a scan, newest first.

    Raises:
        StudyError: there is no such scan.
    """
    study = Study.at(root)
    return study.versions(study.case(name).name)[::-1]


def make_demo_study(root: Path, progress: Progress | None = None) -> Path:
    """Make a study of 24 generated scans, 4 of them labelled, where there is none yet.

    Returns:
        ``root``.

    Raises:
        InputError: the folder holds something else.
    """
    if not is_study(root):
        options = PhantomOptions(test=0)
        with TemporaryDirectory(dir=root.parent, prefix=f".{root.name}.") as scratch:
            data = write_phantom(Path(scratch) / root.name, options)
            import_scans(data, root, ImportOptions(splits=data / "splits.json", labelled=options.labelled), progress)
    return root


def _entry(case: Case, predictions: Predictions) -> ScanEntry:
    predicted_by = tuple(sorted(predictions.by_case.get(case.name, ())))
    return ScanEntry(
        name=case.name,
        state=_state(case, predictions),
        shape=case.shape,
        spacing_mm=_spacing_mm(case.image_paths[0], case.image_paths[0].stat().st_mtime_ns),
        source_name=case.source_name,
        is_raster=case.is_raster,
        group=case.group,
        predicted_by=predicted_by,
        label_version=case.label.version if case.label else None,
        labelled_at=case.label.created if case.label else None,
    )


@lru_cache(maxsize=10_000)
def _spacing_mm(path: Path, changed_ns: int) -> tuple[float, float, float] | None:
    """Remembered while the file stays as it is: a study is looked at anew after each label."""
    del changed_ns
    try:
        return nifti.read_geometry(path).spacing_mm
    except MaskMatchError:
        return None


def _state(case: Case, predictions: Predictions) -> ScanState:
    if case.label is None:
        return "predicted" if predictions.newest(case.name) and not predictions.rejected([case.name]) else "none"
    if not case.label.complete:
        return "partial"
    return "accepted" if case.label.source == "model accepted" else "labelled"


def _short(model: ModelFolder) -> bool:
    with suppress(MaskMatchError):  # without a configuration that can be read nothing is known
        return was_too_short(model)
    return False


def _rounds(study: Study) -> Iterable[Round]:
    for model in reported.models_of(study):
        try:
            metrics = model.metrics()
        except MaskMatchError:
            continue
        if metrics:
            scores = [float(value) for value in (metrics.get("validation") or {}).values()]
            dice = sum(scores) / len(scores) if scores else None
            counts = metrics.get("data", {})
            labelled = int(counts.get("labelled", 0)) + int(counts.get("validation", 0))
            begun = datetime.fromtimestamp(model.config_path.stat().st_mtime, UTC).isoformat(timespec="milliseconds")
            yield Round(model.root.name, labelled, dice, begun, _short(model))
