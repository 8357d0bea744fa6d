"""What a report is made of: scored folders, pictures of cases, time and memory, and what to be careful about."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from maskmatch_med.errors import InputError, StudyError
from maskmatch_med.evaluation import CasePicture, Evaluation, Headline, worst_median_best
from maskmatch_med.evaluation.calibration import Calibration, calibrate
from maskmatch_med.evaluation.report import Cost
from maskmatch_med.evaluation.scoring import Pairs, predicted_files, renumbering
from maskmatch_med.io import find_cases, read_labels, read_volume
from maskmatch_med.nets import ModelFolder
from maskmatch_med.study import Study
from maskmatch_med.training.card import held_out
from maskmatch_med.volume import Array, Volume


@dataclass(frozen=True, eq=False)
class ScoredFolder:
    """One folder of predictions.

    Args:
        folder: where they lie.
        files: the label file of each case.
        pairs: with their references; None where there are none.
        evaluation: their scores.
        own: the structures by name with the values of these predictions, where those are not the study's.
    """

    folder: Path
    files: Mapping[str, Path]
    pairs: Pairs | None
    evaluation: Evaluation | None
    own: Mapping[str, int] | None = None

    @property
    def name(self) -> str:
        """The model's name, where predictions lie as the study keeps them."""
        return self.folder.resolve().name

    def scores(self, classes: Mapping[str, int]) -> Evaluation | None:
        """Its scores, their classes with the values of ``classes``: models of one page may have numbered them apart."""
        found = self.evaluation
        if found is None or self.own is None:
            return found
        return replace(found, classes={name: value for name, value in classes.items() if name in found.classes})

    def calibration(self) -> Calibration | None:
        """How far the written probabilities can be trusted; None without them or without references."""
        pairs = self.pairs
        if pairs is None:
            return None
        return calibrate(pairs.predictions, list(pairs.classes.values()), lambda name: pairs.read(name)[1])

    def read(self, name: str, classes: Mapping[str, int]) -> tuple[Array, Array | None]:
        """Prediction and reference of one case, (X, Y, Z) uint8 each, with the values of ``classes``."""
        found, truth = read_labels(self.files[name], unjudged=None), None
        if self.pairs is not None:
            found, truth = self.pairs.read(name)
        table = None if self.own is None else renumbering(self.own, classes)
        if table is None:
            return found.array, None if truth is None else truth.array
        return table[found.array], None if truth is None else table[truth.array]

    def volumes(self, classes: Mapping[str, int]) -> dict[str, list[float]]:
        """The predicted volumes in ml by structure, a number a case."""
        found: dict[str, list[float]] = {name: [] for name in classes}
        for path in self.files.values():
            label = read_labels(path, unjudged=None)
            counts = np.bincount(label.array.ravel(), minlength=256)
            for name, value in classes.items():
                number = counts[(self.own or classes).get(name, value)]
                found[name].append(float(number * label.geometry.voxel_mm3 / 1000))
        return found


@dataclass(frozen=True)
class ImageSource:
    """Where the scans of cases can be found: the folder asked for, the reference's data set, the study.

    Args:
        study: the study of the predictions.
        images: a folder that the user named.
        reference: the references; scans lie beside them in a data set.
    """

    study: Study | None
    images: Path | None
    reference: Path | None

    def read(self, name: str) -> Volume | None:
        """The scan of a case; None where it is not found or cannot be read."""
        try:
            if name in self._files:
                return read_volume(self._files[name])
            if self.study is not None and name in self.study.folder.names():
                return self.study.case(name).read_image()
        except (InputError, StudyError):
            return None
        return None

    @cached_property
    def _files(self) -> dict[str, Path]:
        """The first channel of each case in the folders named."""
        folders = [] if self.images is None else [self.images]
        for root in (self.reference, self.reference.parent) if self.reference else ():
            folders += [root / part for part in ("imagesTr", "imagesTs", "images")]
        found: dict[str, Path] = {}
        for folder in folders:
            if folder.is_dir():
                for case in find_cases([folder], channels=1):
                    found.setdefault(case.name.removesuffix("_0000"), case.channels[0])
        return found


def pictures(scored: Sequence[ScoredFolder], images: ImageSource, classes: Mapping[str, int]) -> list[CasePicture]:
    """The worst, median and best case of the last scored folder, as all folders see it, in the values of ``classes``.

    Where nothing is scored, the cases of least, middle and largest predicted volume.
    """
    if not scored:
        return []
    main = next((part for part in reversed(scored) if part.evaluation is not None), scored[-1])
    chosen = worst_median_best(main.evaluation.case_dice()) if main.evaluation is not None else _by_volume(main)
    found = []
    for word, case in chosen.items():
        image = images.read(case)
        if image is None:
            continue
        shown = [part for part in scored if case in part.files and (main.evaluation is None) == (part.pairs is None)]
        picture = CasePicture(
            title=f"{word.capitalize()}: {case}",
            image=image,
            reference=main.read(case, classes)[1],
            predictions={part.name: part.read(case, classes)[0] for part in shown},
            notes={part.name: _note(part, case) for part in shown},
        )
        found.append(picture)
    return found


def cautions(scored: Sequence[ScoredFolder], study: Study | None, reference: Path | None) -> list[str]:
    """What a reader must know before the scores."""
    labelled = {case.name for case in study.labelled_cases()} if study else set()
    found = []
    for part in scored:
        cases = part.evaluation.cases if part.evaluation else ()
        seen = sum(case in labelled for case in cases)
        if seen:
            found.append(
                f"{part.name}: {seen} of the {len(cases)} scored scans have a label in this study, so the model may "
                "have learnt from them. Their scores do not tell how good it is on new scans."
            )
        if part.evaluation and len(cases) < 10:
            found.append(f"{part.name}: {len(cases)} scored cases are few; mean and limits are uncertain.")
    if any(path.with_name(f"{name}.png").is_file() for part in scored for name, path in part.files.items()):
        found.append("Pictures carry no true size: distances and areas are in pixels.")
    if reference is None and not any(part.evaluation for part in scored) and scored:
        found.append("Nothing is scored: name the references with --reference DIR.")
    return found


def classes_of(scored: Sequence[ScoredFolder], study: Study | None) -> dict[str, int]:
    """Name to value of the structures, background left out."""
    for part in scored:
        if part.pairs is not None and part.own is None:
            return dict(part.pairs.classes)
    if study is not None:
        return {name: value for name, value in study.label_names.items() if value}
    values: set[int] = set()
    for part in scored:
        for path in part.files.values():
            values |= set(read_labels(path, unjudged=None).values)
    return {f"label {value}": value for value in sorted(values - {0})}


def holds_predictions(folder: Path) -> bool:
    """Whether there is a prediction to report."""
    try:
        return bool(predicted_files(folder))
    except InputError:
        return False


def models_of(study: Study) -> list[ModelFolder]:
    """The study's models, the oldest first."""
    folders = [ModelFolder(path) for path in study.models_dir.glob("*") if (path / "config.json").is_file()]
    return sorted(folders, key=lambda folder: (folder.config_path.stat().st_mtime, folder.root.name))


def study_of(folder: Path) -> Study | None:
    """The study that a model or a folder of predictions lies in."""
    root = folder.resolve().parent.parent
    try:
        return Study.at(root) if (root / "sources").is_dir() else None
    except StudyError:
        return None


def cost(model: ModelFolder, predictions: Path | None) -> Cost:
    """What a model took, from its metrics, its settings and the summary of its predictions."""
    metrics = model.metrics()
    try:
        method = str(json.loads(model.config_path.read_text(encoding="utf-8")).get("method", ""))
    except (OSError, ValueError):
        method = ""
    seconds, iterations = metrics.get("seconds"), metrics.get("iterations")
    memory = metrics.get("memory_mib")
    return Cost(
        name=model.root.name,
        method=method,
        training=f"{seconds / 60:.1f} min" if seconds else "not finished",
        iterations=f"{iterations:,} of {seconds / iterations:.2f} s" if seconds and iterations else "",
        device=str(metrics.get("device", "")),
        memory=f"{memory:,.0f} MiB" if memory else "",
        predicting=_seconds_a_scan(predictions),
    )


def prediction_cost(folder: Path) -> Cost:
    """What predicting took, where the model is not known."""
    return Cost(folder.resolve().name, predicting=_seconds_a_scan(folder))


def validation_headlines(metrics: Mapping[str, Any]) -> list[Headline]:
    """The Dice on labelled scans that training held out."""
    scores = metrics.get("validation") or {}
    note = f"validation Dice, {held_out(metrics)}"
    return [Headline(name, f"{dice:.3f}", note) for name, dice in list(scores.items())[:4]]


def learnt_from(metrics: Mapping[str, Any]) -> list[tuple[str, str]]:
    """How many scans of which kind a training took, as a fact; none where it is not recorded."""
    data = metrics.get("data")
    if not data:
        return []
    learnt = f"{data.get('labelled', 0)} labelled, {data.get('unlabelled', 0)} without a label"
    return [("Learnt from", f"{learnt}, {data.get('validation', 0)} held out")]


def _seconds_a_scan(folder: Path | None) -> str:
    path = folder / "summary.csv" if folder else None
    if path is None or not path.is_file():
        return ""
    with path.open(newline="", encoding="utf-8") as stream:
        values = [float(row["seconds"]) for row in csv.DictReader(stream) if row.get("seconds")]
    return f"{median(values):.1f}" if values else ""


def _by_volume(part: ScoredFolder) -> dict[str, str]:
    """Cases of least, middle and largest predicted volume."""
    sizes = []
    for name, path in part.files.items():
        label = read_labels(path, unjudged=None)
        sizes.append((float((label.array > 0).sum()) * label.geometry.voxel_mm3, name))
    sizes.sort()
    words = (("smallest volume", 0), ("median volume", len(sizes) // 2), ("largest volume", len(sizes) - 1))
    found: dict[str, str] = {}
    for word, place in words:
        if sizes[place][1] not in found.values():
            found[word] = sizes[place][1]
    return found


def _note(part: ScoredFolder, case: str) -> str:
    dice = part.evaluation.case_dice().get(case, math.nan) if part.evaluation else math.nan
    return "" if math.isnan(dice) else f"Dice {dice:.3f}"
