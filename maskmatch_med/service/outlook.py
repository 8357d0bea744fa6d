"""What a study offers to a training, and what each preset means on this machine."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from maskmatch_med.config import TrainConfig
from maskmatch_med.errors import MaskMatchError
from maskmatch_med.inference import PredictOptions
from maskmatch_med.nets import ModelFolder
from maskmatch_med.planning import Plan
from maskmatch_med.service.browsing import may_write
from maskmatch_med.service.preflight import Advice, advice_before_training
from maskmatch_med.study import Drafts, Study
from maskmatch_med.training import PRESETS, PresetDefaults

_WORDS = {
    "quick": "A first look: a small network, to see whether the labels are understood.",
    "balanced": "For most work: a larger network; predictions are averaged over mirror images.",
    "best": "For the final result: the largest network and the longest training; leave it running overnight.",
}


@dataclass(frozen=True)
class PresetOffer:
    """One preset on this machine.

    Args:
        name: ``quick``, ``balanced`` or ``best``.
        minutes: wall time of the training.
        text: what it does, in a sentence.
        iterations: how many fit into that time, by the newest training of this kind; None where there was none.
        prediction_minutes: of the prediction afterwards, by the newest one; None where there was none.
    """

    name: str
    minutes: float
    text: str
    iterations: int | None
    prediction_minutes: float | None


@dataclass(frozen=True)
class TrainingOutlook:
    """What a study offers to a training.

    Args:
        complete: scans with a complete label.
        partial: scans that are judged in part.
        unlabelled: scans without a label.
        minutes: wall time of each preset.
        blocked: why nothing can be trained, in a sentence; None where something can.
        warnings: what to know before, in sentences: the result may suffer.
        notes: what is good to know, in sentences.
        unsaved: scans with strokes that are in no version yet, so that no training sees them.
        machine: what this machine has, in words.
        offers: the presets, the quickest first.
        models: the trained models that a training can begin with, newest first.
    """

    complete: int
    partial: int
    unlabelled: int
    minutes: dict[str, float]
    blocked: str | None
    warnings: tuple[str, ...]
    notes: tuple[str, ...]
    unsaved: tuple[str, ...]
    machine: str
    offers: tuple[PresetOffer, ...]
    models: tuple[str, ...]

    @property
    def to_predict(self) -> int:
        """Scans without a complete label."""
        return self.partial + self.unlabelled


def training_outlook(study: Study | Path | str) -> TrainingOutlook:
    """What the data offers and what to know, before anything is started; takes some seconds at most.

    Raises:
        StudyError: the folder is no study, or a sidecar is damaged.
    """
    opened = study if isinstance(study, Study) else Study.at(Path(study))
    cases = opened.cases()
    judged = [case.judged for case in cases]
    complete, partial, none = (judged.count(state) for state in ("complete", "partial", "none"))
    advice: list[Advice] = advice_before_training(opened, cases) if cases else []
    models = _models(opened)
    return TrainingOutlook(
        complete=complete,
        partial=partial,
        unlabelled=none,
        minutes={name: preset.minutes for name, preset in PRESETS.items()},
        blocked=why_blocked(opened),
        warnings=tuple(one.text for one in advice if one.level == "warning"),
        notes=tuple(one.text for one in advice if one.level == "note"),
        unsaved=tuple(Drafts(opened).unsaved()),
        machine=machine_in_words(),
        offers=tuple(_offers(models, opened, partial + none)),
        models=tuple(model.root.name for model in models if model.weights_path.is_file()),
    )


def why_blocked(study: Study) -> str | None:
    """Why nothing can be trained, in a sentence with what to do; None where something can."""
    if not any(case.judged != "none" for case in study.cases()):
        return "No scan has a label yet: paint a structure on one scan first."
    if not may_write(study.root):
        return "This study may only be read here: change the rights of its folder, or copy it, to train in it."
    return None


def machine_in_words() -> str:
    """The processor cores and the GPU of this machine."""
    cores = os.cpu_count() or 1
    told = f"{cores} processor core{'' if cores == 1 else 's'}"
    if torch.cuda.is_available():
        memory = torch.cuda.get_device_properties(0).total_memory / 1e9
        return f"{torch.cuda.get_device_name(0)} with {memory:.0f} GB, {told}"
    return f"{told}, no GPU"


def _models(study: Study) -> list[ModelFolder]:
    """Trained models, the newest first."""
    found = [ModelFolder(path.parent) for path in study.models_dir.glob("*/metrics.json")]
    return sorted(found, key=lambda model: model.metrics_path.stat().st_mtime, reverse=True)


def _offers(models: list[ModelFolder], study: Study, scans: int) -> Iterator[PresetOffer]:
    device = "cuda" if torch.cuda.is_available() else "cpu"
    runs = [(model, *_told(model)) for model in models]
    alike = [run for run in runs if str(run[2].get("device", "")).startswith(device)]
    timed = [(model, metrics) for model, _, metrics in alike]
    for name, preset in PRESETS.items():
        rate = next((_per_minute(metrics) for _, config, metrics in alike if config and config.preset == name), None)
        seconds = next(filter(None, (_a_scan(study, *run, preset) for run in timed)), None)
        yield PresetOffer(
            name=name,
            minutes=preset.minutes,
            text=_WORDS[name],
            iterations=None if rate is None else round(rate * preset.minutes),
            prediction_minutes=None if seconds is None else seconds * scans / 60,
        )


def _told(model: ModelFolder) -> tuple[TrainConfig | None, dict[str, Any]]:
    try:
        return TrainConfig.load(model.config_path), model.metrics()
    except MaskMatchError:
        return None, {}


def _per_minute(metrics: dict[str, Any]) -> float | None:
    seconds, iterations = metrics.get("seconds"), metrics.get("iterations")
    return 60 * iterations / seconds if seconds and iterations else None


def _a_scan(study: Study, model: ModelFolder, metrics: dict[str, Any], preset: PresetDefaults) -> float | None:
    """Seconds that one scan would take with a preset's scales and mirror images, by a prediction of this model."""
    try:
        path = study.predictions_dir / model.root.name / "summary.csv"
        with path.open(encoding="utf-8", newline="") as stream:
            seconds = [float(row["seconds"]) for row in csv.DictReader(stream)]
        plan = Plan.load(model.plan_path)
        told = metrics.get("inference", {})
        did = PredictOptions(tuple(told.get("scales", (1.0,))), mirror=told.get("mirror", False)).passes(plan)
    except (OSError, KeyError, ValueError, MaskMatchError):
        return None
    asked = PredictOptions(preset.scales, mirror=preset.mirror).passes(plan)
    return sum(seconds) / len(seconds) * asked / did if seconds else None
