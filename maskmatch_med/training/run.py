"""A training run from a study to a model folder: plan, cache, split, loop, weights, card."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
from lightning_fabric import Fabric

from maskmatch_med.config import TrainConfig
from maskmatch_med.data.cache import CachedCase, cache_cases
from maskmatch_med.data.folds import hold_out
from maskmatch_med.data.sampling import PatchSampler, SamplingOptions
from maskmatch_med.errors import StoppedError, StudyError, TrainingError
from maskmatch_med.io.atomic import write_text
from maskmatch_med.io.nifti import read_geometry
from maskmatch_med.methods import Objective, parse_recipe
from maskmatch_med.nets import ModelFolder, kept_network, load_weights, save_weights
from maskmatch_med.planning.plan import Plan
from maskmatch_med.study import FolderLock, Study
from maskmatch_med.training.budget import Budget
from maskmatch_med.training.card import model_card
from maskmatch_med.training.checkpoint import Checkpoint
from maskmatch_med.training.learnt import LearntFrom, record_learnt
from maskmatch_med.training.log import Report, RunLog
from maskmatch_med.training.loop import LoopParts, TrainingLoop
from maskmatch_med.training.microscope import Microscope
from maskmatch_med.training.precision import FABRIC, Precision, precision_of
from maskmatch_med.training.presets import PRESETS
from maskmatch_med.training.validation import Validator


@dataclass
class RunOptions:
    """What surrounds a run.

    Args:
        name: the model's name in the study.
        plan: how scans reach the network.
        resume: go on from the model's last state where there is one.
        start_from: a model whose weights to begin with.
        device: where to train.
        began: ``time.monotonic()`` when the command began; its wall time counts from there.
        stop_requested: asked before every step.
        report: receives progress.
        until: stop, as if asked to, when so many iterations are done.
    """

    name: str
    plan: Plan
    resume: bool = False
    start_from: ModelFolder | None = None
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    began: float = field(default_factory=time.monotonic)
    stop_requested: Callable[[], bool] = lambda: False
    report: Report = lambda event: None
    until: int | None = None


@dataclass(frozen=True)
class Split:
    """The cached scans of a run by their part in it, and which label version each was cached with."""

    labelled: list[CachedCase]
    unlabelled: list[CachedCase]
    validation: list[CachedCase]
    versions: dict[str, str] = field(default_factory=dict)

    def learnt_from(self) -> LearntFrom:
        """The label versions of the scans by their part, for the study to remember."""
        return LearntFrom(
            labelled={case.name: self.versions[case.name] for case in self.labelled},
            held_out={case.name: self.versions[case.name] for case in self.validation},
            unlabelled=tuple(case.name for case in self.unlabelled),
        )

    def counts(self) -> dict[str, int]:
        """How many scans play which part."""
        partial = sum(not case.complete for case in self.labelled)
        names = {case.name for case in self.labelled}
        loose = sum(case.name not in names for case in self.unlabelled)
        return {
            "labelled": len(self.labelled),
            "partial": partial,
            "unlabelled": loose,
            "validation": len(self.validation),
        }


def run_training(study: Study, config: TrainConfig, options: RunOptions) -> ModelFolder:
    """Train a model in the study.

    Args:
        study: with at least one labelled scan.
        config: the method and its settings.
        options: name, plan and what surrounds the run.

    Returns:
        The model's folder. After a requested stop it holds the weights so far and can be resumed.

    Raises:
        StudyError: the name is taken, or another process trains this model.
        TrainingError: nothing is labelled, or the loss stopped being finite.
        InputError: a scan cannot be read.
    """
    folder = ModelFolder(study.model_dir(options.name))
    fresh = not folder.root.exists()
    if not fresh and not options.resume:
        raise StudyError(
            f"a model named {options.name!r} is already in {study.root}; go on with it by --resume, or choose another "
            "--name"
        )
    if folder.metrics().get("finished"):
        options.report({"event": "notice", "text": f"{options.name} has finished already; nothing to do"})
        return folder
    recipe = parse_recipe(config.method)
    folder.root.mkdir(parents=True, exist_ok=True)
    with FolderLock(folder.root / "lock", f"training {options.name}").held(timeout_s=0):
        try:
            _train(study, folder, Objective(recipe, options.plan, config), options)
        except BaseException:
            if fresh and not folder.state_path.exists():
                shutil.rmtree(folder.root, ignore_errors=True)
            raise
    return folder


def _train(study: Study, folder: ModelFolder, objective: Objective, options: RunOptions) -> None:
    config, plan, report = objective.config, objective.plan, options.report
    checkpoint = Checkpoint.load(folder.state_path) if folder.state_path.exists() else None
    precision = precision_of(config, options.device)
    fabric = fabric_of(options.device, precision)
    write_text(folder.plan_path, plan.model_dump_json(indent=2) + "\n")
    write_text(folder.config_path, config.model_dump_json(indent=2) + "\n")
    split = split_cases(study, objective, _prepare_report(options))
    torch.manual_seed(config.seed)
    student = objective.build_student()
    if options.start_from is not None:
        load_weights(kept_network(student), options.start_from.weights_path)
    parts = LoopParts(
        student=student,
        objective=objective,
        sampler=PatchSampler(split.labelled, split.unlabelled, sampling_options(objective)),
        budget=_budget(config, options, checkpoint),
        state_path=folder.state_path,
        data=data_fingerprint(study),
        validate=Validator(split.validation, plan, fabric.device) if split.validation else None,
        microscope=_microscope(folder, objective, split),
        stop_requested=options.stop_requested,
        report=report,
        until=options.until,
    )
    loop = TrainingLoop(parts, config, fabric)
    if checkpoint is not None:
        _restore(loop, checkpoint, folder.state_path)
        report({"event": "notice", "text": f"going on with {options.name} from iteration {checkpoint.iteration}"})
        if checkpoint.data != parts.data:
            text = "scans or labels have changed since it was interrupted; it goes on with those of now"
            report({"event": "notice", "text": text})
    record_learnt(folder.root, split.learnt_from(), options.start_from.root if options.start_from else None)
    log = RunLog(folder.root, loop.iteration)
    try:
        finished = loop.run(log)
    finally:
        log.close()
    save_weights(kept_network(loop.teacher.network), folder.weights_path)
    preset = PRESETS[config.preset]
    metrics = {
        "finished": finished,
        "iterations": loop.iteration,
        "seconds": round(parts.budget.elapsed, 1),
        "device": str(fabric.device),
        "precision": precision,
        "memory_mib": _memory_mib(fabric.device),
        "data": split.counts(),
        "validation_scans": len(parts.validate.cases) if parts.validate else 0,
        "scans": _ranges(study),
        "validation": loop.validations[-1] if loop.validations else None,
        "teacher_dice_by_scale": objective.reliability.dice(),
        "inference": {"scales": list(preset.scales), "mirror": preset.mirror},
    }
    card = model_card(options.name, plan, config, metrics)
    write_text(folder.card_path, card)
    write_text(folder.metrics_path, json.dumps(metrics, indent=2) + "\n")
    report({"event": "finish", **metrics})


def _microscope(folder: ModelFolder, objective: Objective, split: Split) -> Microscope | None:
    """None for recipes that learn from labels alone: they have no pseudo-labels."""
    if not split.unlabelled:
        return None
    return Microscope(folder.microscope_dir, objective, split.labelled, split.unlabelled)


def _memory_mib(device: torch.device) -> float:
    """The most memory that tensors took on a card; on the host what the process holds when training ends."""
    taken = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else psutil.Process().memory_info().rss
    return round(taken / 2**20, 1)


def _ranges(study: Study) -> dict[str, dict[str, list[float]]]:
    """Least and greatest spacing in mm and shape in voxels along each canonical axis, over all scans of the study."""
    grids = [read_geometry(case.image_paths[0]).to_canonical().target for case in study.cases()]
    found = {
        "spacing_mm": np.array([grid.spacing_mm for grid in grids]).round(4),
        "shape_vox": np.array([grid.shape for grid in grids]),
    }
    return {key: {"least": rows.min(0).tolist(), "greatest": rows.max(0).tolist()} for key, rows in found.items()}


def _prepare_report(options: RunOptions) -> Report:
    """Reports preparation, and ends it where a stop is asked for; what is cached stays."""

    def report(event: dict[str, Any]) -> None:
        options.report(event)
        if options.stop_requested():
            raise StoppedError("stopped while preparing the scans; what is prepared is kept for the next start")

    return report


def split_cases(study: Study, objective: Objective, report: Report) -> Split:
    """Cache the scans that a recipe needs and decide which play which part.

    Raises:
        TrainingError: no scan has a judged voxel of any structure.
    """
    cases = study.cases()
    if all(case.label is None for case in cases):
        raise TrainingError(_nothing_to_learn(study, len(cases), 0))
    wanted = [case for case in cases if case.label is not None or objective.terms]
    cached = cache_cases(
        wanted,
        objective.plan,
        study.cache_dir,
        lambda done, total, name: report({"event": "prepare", "done": done, "total": total, "case": name}),
    )
    config, judged = objective.config, [case for case in cached if case.voxels]
    labelled, validation = hold_out(judged, config.seed, config.validation_share)
    if not any(max(case.voxels) > 0 for case in labelled):
        raise TrainingError(_nothing_to_learn(study, len(cases), len(labelled)))
    held = {case.group or case.name for case in validation}
    loose = [case for case in cached if not case.complete and (case.group or case.name) not in held]
    versions = {case.name: case.label.version for case in cases if case.label is not None}
    return Split(labelled, (loose or labelled) if objective.terms else [], validation, versions)


def _nothing_to_learn(study: Study, scans: int, judged: int) -> str:
    return (
        f"{study.root} has no label to learn from: {scans} scans, {judged} with judged voxels, none "
        "with a structure; label a scan first, or import with --labels or a larger --labelled"
    )


def data_fingerprint(study: Study) -> str:
    """A hash of the study's scans and current labels, kept with the state so that a resumed run can tell a change."""
    lines = [f"{case.name} {case.label.sha256 if case.label else None}" for case in study.cases()]
    return hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()


def sampling_options(objective: Objective) -> SamplingOptions:
    """How many patches of what size a recipe's steps need."""
    config, plan = objective.config, objective.plan
    return SamplingOptions(
        source_vox=objective.source_vox,
        patch_vox=plan.patch_vox,
        labelled_batch=config.labelled_batch or plan.batch_size,
        unlabelled_batch=config.unlabelled_batch or max(2, plan.batch_size // 2),
        foreground_share=config.foreground_share,
        seed=config.seed,
    )


def _budget(config: TrainConfig, options: RunOptions, checkpoint: Checkpoint | None) -> Budget:
    minutes = None if config.iterations else config.minutes or PRESETS[config.preset].minutes
    spent = time.monotonic() - options.began + (checkpoint.elapsed if checkpoint else 0.0)
    return Budget(iterations=config.iterations, seconds=minutes * 60 if minutes else None, spent=spent)


def fabric_of(device: torch.device, precision: Precision) -> Fabric:
    """One device, in which what it sets up computes in a precision, on a CUDA card the fastest way, once measured."""
    torch.backends.cudnn.benchmark = True
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # the model card tells the precision
    devices: list[int] | int = [device.index] if device.type == "cuda" and device.index is not None else 1
    return Fabric(accelerator=device.type, devices=devices, precision=FABRIC[precision])


def _restore(loop: TrainingLoop, checkpoint: Checkpoint, path: Path) -> None:
    try:
        loop.restore(checkpoint)
    except (RuntimeError, ValueError, LookupError, TypeError) as error:
        raise StudyError(
            f"{path} belongs to another network or method than {path.parent}'s plan.json and config.json describe; "
            "restore those, or delete it to start this model anew"
        ) from error
