"""Long work: queue a training or a prediction, see how it stands, pause, resume and stop it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from maskmatch_med.errors import StudyError, TrainingError
from maskmatch_med.jobs import Command, Job, JobQueue, JobSpec, Status
from maskmatch_med.methods import parse_recipe
from maskmatch_med.study import Study
from maskmatch_med.training import read_log
from maskmatch_med.training.presets import PRESETS

_TRAIN_GRACE_S = 180.0
_ENOUGH_TO_ESTIMATE = 0.01


@dataclass(frozen=True)
class TrainingOrder:
    """What to train.

    Args:
        method: the recipe.
        preset: how much time to spend.
        minutes: wall time; that of the preset where not given.
        name: the model's name; a free one after the method where not given.
        start_from: a model of the study to begin with.
        predict: whether to predict all scans without a complete label when it has ended.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        settings: further settings, keys may be dotted.
    """

    method: str = "maskmatch"
    preset: Literal["quick", "balanced", "best"] = "quick"
    minutes: float | None = None
    name: str | None = None
    start_from: str | None = None
    predict: bool = True
    device: str = "auto"
    settings: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class TrainingOutlook:
    """What a study offers to a training.

    Args:
        complete: scans with a complete label.
        partial: scans that are judged in part.
        unlabelled: scans without a label.
        minutes: wall time of each preset.
        blocked: why nothing can be trained, in a sentence; None where something can.
        warnings: what to know before, in sentences.
    """

    complete: int
    partial: int
    unlabelled: int
    minutes: dict[str, float]
    blocked: str | None
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class JobState:
    """A job as a page shows it.

    Args:
        id: its name.
        kind: ``train`` or ``predict``.
        title: for people.
        model: the model that it makes or uses.
        status: waiting, running, paused, stopped, done, failed or died.
        message: why it failed, in plain words.
        doing: the title of the command that runs or comes next.
        share: how far that command is, 0 to 1; None while it has not said.
        minutes_left: of that command; None while it cannot be told.
        event: the newest that it told: iteration, losses, confident share, …
        ahead: how many jobs come before it; 0 where it does not wait.
        can_resume: whether it can go on where it ended.
        queued, started, ended: UTC in ISO 8601.
    """

    id: str
    kind: str
    title: str
    model: str
    status: Status
    message: str
    doing: str
    share: float | None
    minutes_left: float | None
    event: dict[str, Any]
    ahead: int
    can_resume: bool
    queued: str
    started: str | None
    ended: str | None


def training_outlook(study: Study | Path | str) -> TrainingOutlook:
    """What the data offers, before anything is started."""
    judged = [case.judged for case in _opened(study).cases()]
    complete, partial, none = (judged.count(state) for state in ("complete", "partial", "none"))
    warnings = []
    if complete + partial == 1:
        warnings.append("Only one scan has a label: none can be held out, so the training cannot tell how good it is.")
    if not none and not partial:
        warnings.append("Every scan has a complete label: there is nothing unlabelled to learn from.")
    blocked = None if complete + partial else "No scan has a label yet: paint a structure on one scan first."
    minutes = {name: preset.minutes for name, preset in PRESETS.items()}
    return TrainingOutlook(complete, partial, none, minutes, blocked, tuple(warnings))


def queue_training(study: Study | Path | str, order: TrainingOrder | None = None) -> JobState:
    """Queue a training; it starts at once where no other job of the study runs.

    Raises:
        TrainingError: no scan has a label.
        StudyError: the name is taken, the model to start from is missing, or the study may not be written.
        InputError: there is no such method, or the name cannot be a folder's.
    """
    opened, order = _opened(study), order or TrainingOrder()
    parse_recipe(order.method)
    if (blocked := training_outlook(opened).blocked) is not None:
        raise TrainingError(blocked)
    root, queue = opened.root.resolve(), JobQueue(opened.root)
    queue.root.mkdir(exist_ok=True)
    with queue.changing():
        name = _free_name(opened, queue, order)
        words = ["train", str(root), "--name", name, "--method", order.method, "--preset", order.preset, "--resume"]
        words += ["--device", order.device]
        if order.minutes is not None:
            words += ["--minutes", str(order.minutes)]
        if order.start_from is not None:
            words += ["--from", str(_model(opened, order.start_from))]
        for key, value in order.settings.items():
            words += ["--set", f"{key}={value}"]
        commands = [Command(words=tuple(words), title="Training", grace_s=_TRAIN_GRACE_S)]
        if order.predict:
            commands.append(_prediction(root, name))
        spec = JobSpec(kind="train", title=f"Train {name}", commands=tuple(commands), about={"model": name})
        job = queue.add(spec)
    return _shown(job, queue)


def queue_prediction(study: Study | Path | str, model: str) -> JobState:
    """Queue the prediction of all scans without a complete label.

    Raises:
        StudyError: there is no such model, or the study may not be written.
    """
    opened = _opened(study)
    _model(opened, model)
    queue = JobQueue(opened.root)
    commands = (_prediction(opened.root.resolve(), model),)
    spec = JobSpec(kind="predict", title=f"Predict with {model}", commands=commands, about={"model": model})
    return _shown(queue.add(spec), queue)


def job_states(study: Study | Path | str) -> list[JobState]:
    """All jobs of a study, newest first; work that has lost its runner is taken up again."""
    queue = _queue(study)
    return [_shown(job, queue) for job in reversed(queue.tend())]


def job_state(study: Study | Path | str, id: str) -> JobState:
    """One job.

    Raises:
        StudyError: there is none of that name.
    """
    queue = _queue(study)
    return _shown(queue.job(id), queue)


def pause_job(study: Study | Path | str, id: str) -> JobState:
    """Let a job save and end, to be resumed; the next one starts. A job that waits is taken out of the queue.

    Raises:
        StudyError: it has ended already.
    """
    queue = _queue(study)
    return _shown(queue.pause(id), queue)


def stop_job(study: Study | Path | str, id: str) -> JobState:
    """Let a job save and end; the model so far is kept and can predict.

    Raises:
        StudyError: it has ended already.
    """
    queue = _queue(study)
    return _shown(queue.stop(id), queue)


def resume_job(study: Study | Path | str, id: str) -> JobState:
    """Queue a job that has ended early once more; a training goes on from its last state.

    Raises:
        StudyError: it runs, waits or is done.
    """
    queue = _queue(study)
    return _shown(queue.resume(id), queue)


def job_log(study: Study | Path | str, id: str, lines: int = 100) -> str:
    """The last lines that a job printed.

    Raises:
        StudyError: there is none of that name.
    """
    return _queue(study).job(id).log_tail(lines)


def training_curve(study: Study | Path | str, model: str) -> list[dict[str, Any]]:
    """What a training has logged so far: iteration, seconds, losses, confident share, validation Dice; oldest first."""
    return read_log(_opened(study).model_dir(model) / "log.jsonl")


def unlabelled_names(study: Study | Path | str) -> list[str]:
    """The scans without a complete label."""
    return [case.name for case in _opened(study).cases() if case.judged != "complete"]


def _prediction(root: Path, model: str) -> Command:
    words = ("predict", str(root / "models" / model), str(root / "imagesTr"), "-o", str(root / "predictions" / model))
    return Command(words=(*words, "--uncertainty", "--unlabelled", str(root)), title="Predicting")


def _free_name(study: Study, queue: JobQueue, order: TrainingOrder) -> str:
    taken = {job.spec.about.get("model", "") for job in queue.jobs() if job.spec.kind == "train"}
    taken = {name.casefold() for name in taken}
    wanted = order.method.replace("+", "-") if order.name is None else order.name
    name, number = wanted, 1
    while name.casefold() in taken or study.model_dir(name).exists():
        if order.name is not None:
            raise StudyError(f"a model named {name!r} is already in {study.root}; choose another name")
        number += 1
        name = f"{wanted}-{number}"
    return name


def _model(study: Study, name: str) -> Path:
    folder = study.model_dir(name)
    if not (folder / "weights.safetensors").is_file():
        raise StudyError(f"{study.root} has no trained model {name!r}; train one first")
    return folder.resolve()


def _shown(job: Job, queue: JobQueue) -> JobState:
    event = job.progress() if job.status == "running" else {}
    share, left = _progress(event)
    ids = [waiting.id for waiting in queue.waiting()]
    running = any(other.status == "running" for other in queue.jobs())
    ahead = ids.index(job.id) + running if job.id in ids else 0
    return JobState(
        id=job.id,
        kind=job.spec.kind,
        title=job.spec.title,
        model=job.spec.about.get("model", ""),
        status=job.status,
        message=job.state.message,
        doing="Preparing the scans" if event.get("event") == "prepare" else job.spec.commands[job.state.step].title,
        share=share,
        minutes_left=left,
        event=event,
        ahead=ahead,
        can_resume=job.can_resume,
        queued=job.state.queued,
        started=job.state.started,
        ended=job.state.ended,
    )


def _progress(event: dict[str, Any]) -> tuple[float | None, float | None]:
    """Share done and minutes left."""
    if event.get("event") in {"prepare", "count"}:
        return event["done"] / max(event["total"], 1), None
    share = event.get("progress")
    if not isinstance(share, float | int):
        return None, None
    seconds = float(event.get("seconds", 0.0))
    return float(share), seconds * (1 - share) / share / 60 if share > _ENOUGH_TO_ESTIMATE else None


def _queue(study: Study | Path | str) -> JobQueue:
    return JobQueue(study.root if isinstance(study, Study) else Path(study))


def _opened(study: Study | Path | str) -> Study:
    return study if isinstance(study, Study) else Study.at(Path(study))
