"""Plan and train."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from maskmatch_med.config import Preset, TrainConfig
from maskmatch_med.errors import InputError
from maskmatch_med.io.atomic import atomic_path
from maskmatch_med.methods import parse_recipe
from maskmatch_med.nets import ModelFolder
from maskmatch_med.planning import Plan, fingerprint, make_plan, override
from maskmatch_med.service.devices import budget_of, memory_explained, resolve_device
from maskmatch_med.study import Study, names_now
from maskmatch_med.training import Report, RunOptions, run_training


def open_study(study: Study | Path | str) -> Study:
    """The study itself, opened if a path is given."""
    return study if isinstance(study, Study) else Study.open(Path(study))


def plan_study(
    study: Study | Path | str,
    preset: Preset = "balanced",
    device: str = "auto",
    settings: Mapping[str, Any] | None = None,
) -> tuple[Plan, Path]:
    """Make the study's plan and write it to ``plan.json``, which training then obeys.

    Args:
        study: with at least one scan.
        preset: how much time and memory to spend.
        device: where training will run; decides the size of patch and network.
        settings: values to replace, keys may be dotted.

    Returns:
        The plan and the file.

    Raises:
        InputError: there is no scan, or a setting is impossible.
    """
    opened = open_study(study)
    plan = make_plan(fingerprint(opened), budget=budget_of(device), preset=preset)
    plan = override(plan, dict(settings or {}))
    path = opened.root / "plan.json"
    with atomic_path(path) as part:
        plan.save(part)
    return plan, path


@dataclass
class TrainRequest:
    """What surrounds a training besides its configuration; every field has a default.

    Args:
        name: the model's name; the method's by default.
        resume: go on where an interrupted training stopped.
        start_from: a model folder whose plan and weights to begin with.
        began: ``time.monotonic()`` when the command began.
        stop_requested: asked before every step; true ends the training with its state saved.
        report: receives what happens, see :data:`maskmatch_med.training.Report`.
        until: end as if asked to when so many iterations are done.
    """

    name: str | None = None
    resume: bool = False
    start_from: Path | str | None = None
    began: float = field(default_factory=time.monotonic)
    stop_requested: Callable[[], bool] = lambda: False
    report: Report = lambda event: None
    until: int | None = None


def train(
    study: Study | Path | str, config: TrainConfig | None = None, request: TrainRequest | None = None
) -> ModelFolder:
    """Train a model in the study.

    Args:
        study: with at least one labelled scan.
        config: the method and its settings.
        request: name, resuming, starting weights, reporting.

    Returns:
        The model's folder.

    Raises:
        StudyError: the name is taken, or another process trains this model.
        TrainingError: nothing is labelled, or the loss stopped being finite.
        InputError: a scan or a setting cannot be used.
    """
    opened, config, request = open_study(study), config or TrainConfig(), request or TrainRequest()
    resolve_device(config.device)
    parse_recipe(config.method)
    name = config.method.replace("+", "-") if request.name is None else request.name
    folder = _model_folder(opened, name)
    config = _settings(config, request, folder, name)
    begun = request.resume and folder.state_path.exists()
    start = None if begun or config.start_from is None else ModelFolder(Path(config.start_from))
    options = RunOptions(
        name=name,
        plan=_plan_for(opened, config, folder if request.resume else None, start, request.report),
        resume=request.resume,
        start_from=start,
        device=resolve_device(config.device),
        began=request.began,
        stop_requested=request.stop_requested,
        report=request.report,
        until=request.until,
    )
    with memory_explained("a step of this plan", "set a smaller patch_vox or batch_size in plan.json, or --device cpu"):
        return run_training(opened, config, options)


def _settings(config: TrainConfig, request: TrainRequest, folder: ModelFolder, name: str) -> TrainConfig:
    """The settings with the model to start from, or those that a resumed run began with."""
    start_from = config.start_from if request.start_from is None else request.start_from
    if start_from is not None:
        config = config.model_copy(update={"start_from": str(Path(start_from).resolve())})
    if not (request.resume and folder.config_path.exists() and folder.plan_path.exists()):
        return config
    kept = TrainConfig.load(folder.config_path).model_copy(update={"device": config.device})
    if kept != config:
        request.report({"event": "notice", "text": f"{name} goes on with the settings that it began with"})
    return kept


def _model_folder(study: Study, name: str) -> ModelFolder:
    try:
        return ModelFolder(study.model_dir(name))
    except InputError as error:
        raise InputError(
            f"{name!r} cannot be a model's name, because it cannot be a folder's on every system; choose another --name"
        ) from error


def _plan_for(
    study: Study, config: TrainConfig, resumed: ModelFolder | None, start: ModelFolder | None, report: Report
) -> Plan:
    """The plan of the run that is resumed, of the model to start from, the study's own file, or a new one."""
    begun = resumed is not None and resumed.plan_path.exists()
    if start is not None:
        plan, _ = start.load()
        if plan.label_names != study.label_names or len(plan.channel_names) != len(study.channel_names):
            raise InputError(
                f"{start.root} segments {plan.label_names} from {len(plan.channel_names)} channels, the study has "
                f"{study.label_names} and {len(study.channel_names)}; train without --from"
            )
        if not begun:
            return plan
    if resumed is not None and begun:
        plan = Plan.load(resumed.plan_path)
        if names_now(study.root, plan.label_names) != study.label_names:
            raise InputError(
                f"the classes of the study have changed since {resumed.root} was begun; train another --name"
            )
        return plan
    path = study.root / "plan.json"
    if not path.exists():
        return make_plan(fingerprint(study), budget=budget_of(config.device), preset=config.preset)
    plan = Plan.load(path)
    if plan.label_names != study.label_names or len(plan.channel_names) != len(study.channel_names):
        raise InputError(f"{path} was made for other labels or channels; delete it or run `maskmatch plan` again")
    report({"event": "notice", "text": f"obeying {path}; delete it to plan anew"})
    return plan
