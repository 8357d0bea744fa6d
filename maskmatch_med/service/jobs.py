"""Long work: queue a training or a prediction, see how it stands, pause, resume and stop it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from maskmatch_med.config import Preset
from maskmatch_med.errors import StudyError, TrainingError
from maskmatch_med.jobs import Command, Job, JobQueue, JobSpec, Status
from maskmatch_med.jobs.turns import Turns
from maskmatch_med.methods import parse_recipe
from maskmatch_med.service.outlook import why_blocked
from maskmatch_med.study import Study
from maskmatch_med.training import read_log

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
    preset: Preset = "quick"
    minutes: float | None = None
    name: str | None = None
    start_from: str | None = None
    predict: bool = True
    device: str = "auto"
    settings: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class JobState:
    """A job as a page shows it.

    Args:
        id: its name.
        kind: ``train`` or ``predict``.
        title: for people.
        model: the model that it makes or uses.
        method: the recipe of a training; empty for other work.
        status: waiting, running, paused, stopped, done, failed or died.
        message: why it failed, in plain words.
        doing: the title of the command that runs or comes next.
        share: how far that command is, 0 to 1; None while it has not said.
        minutes_left: of that command; None while it cannot be told.
        event: the newest that it told: iteration, losses, confident share, …
        ahead: how many jobs come before it; 0 where it does not wait.
        waits_for: name of the other study whose turn it is on this machine; empty where it does not wait for one.
        ending: what it was asked to do and does now, ``pause`` or ``stop``; empty where nothing.
        can_resume: whether it can go on where it ended.
        queued, started, ended: UTC in ISO 8601.
    """

    id: str
    kind: str
    title: str
    model: str
    method: str
    status: Status
    message: str
    doing: str
    share: float | None
    minutes_left: float | None
    event: dict[str, Any]
    ahead: int
    waits_for: str
    ending: Literal["", "pause", "stop"]
    can_resume: bool
    queued: str
    started: str | None
    ended: str | None


def queue_training(study: Study | Path | str, order: TrainingOrder | None = None) -> JobState:
    """Queue a training; it starts at once where no other job of the study runs.

    Raises:
        TrainingError: no scan has a label.
        StudyError: the name is taken, the model to start from is missing, or the study may not be written.
        InputError: there is no such method, or the name cannot be a folder's.
    """
    opened, order = _opened(study), order or TrainingOrder()
    parse_recipe(order.method)
    if (blocked := why_blocked(opened)) is not None:
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
        about = {"model": name, "method": order.method}
        spec = JobSpec(kind="train", title=f"Train {name}", commands=tuple(commands), about=about)
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
    jobs = queue.tend()
    return [_shown(job, queue, jobs) for job in reversed(jobs)]


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


def job_log_path(study: Study | Path | str, id: str) -> Path:
    """The file with all that a job printed; it need not be there yet.

    Raises:
        StudyError: there is none of that name.
    """
    return _queue(study).job(id).log_path


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


def _shown(job: Job, queue: JobQueue, jobs: Sequence[Job] | None = None) -> JobState:
    event = job.progress() if job.status == "running" else {}
    share, left = _progress(event, queue.root.parent / "models" / job.spec.about.get("model", "") / "log.jsonl")
    jobs = queue.jobs() if jobs is None else jobs
    ids = [waiting.id for waiting in queue.in_turn(jobs)]
    running = any(other.status == "running" for other in jobs)
    ahead = ids.index(job.id) + running if job.id in ids else 0
    return JobState(
        id=job.id,
        kind=job.spec.kind,
        title=job.spec.title,
        model=job.spec.about.get("model", ""),
        method=job.spec.about.get("method", ""),
        status=job.status,
        message=job.state.message,
        doing="Preparing the scans" if event.get("event") == "prepare" else job.spec.commands[job.state.step].title,
        share=share,
        minutes_left=left,
        event=event,
        ahead=ahead,
        waits_for=_waits_for(queue) if job.status == "waiting" and not ahead else "",
        ending=job.state.wish or "",
        can_resume=job.can_resume,
        queued=job.state.queued,
        started=job.state.started,
        ended=job.state.ended,
    )


def _waits_for(queue: JobQueue) -> str:
    other = Turns().before(queue.root.parent)
    return "" if other is None else other.study.name


def _progress(event: dict[str, Any], log: Path) -> tuple[float | None, float | None]:
    """Share done and minutes left; what was spent before the first iteration says nothing of the pace."""
    if event.get("event") in {"prepare", "count"}:
        return event["done"] / max(event["total"], 1), None
    if event.get("event") == "finish":
        return 1.0, None
    share, seconds = event.get("progress"), event.get("seconds")
    if not isinstance(share, float | int) or not isinstance(seconds, float | int):
        return None, None
    pace = float(seconds) - _began(log)
    return float(share), pace * (1 - share) / share / 60 if share > _ENOUGH_TO_ESTIMATE else None


def _began(log: Path) -> float:
    """Seconds of a run when its first iteration was logged; 0 where that is not known."""
    try:
        with log.open(encoding="utf-8") as stream:
            return float(json.loads(stream.readline())["seconds"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0.0


def _queue(study: Study | Path | str) -> JobQueue:
    return JobQueue(study.root if isinstance(study, Study) else Path(study))


def _opened(study: Study | Path | str) -> Study:
    return study if isinstance(study, Study) else Study.at(Path(study))
