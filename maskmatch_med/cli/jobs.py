"""Commands on the long work of a study: list, pause, resume and stop jobs, and read what they printed."""

from __future__ import annotations

from datetime import datetime
from shlex import quote
from typing import TYPE_CHECKING, Annotated

import typer

from maskmatch_med.cli.learn import StudyPath

if TYPE_CHECKING:
    from maskmatch_med.service import JobState

JobId = Annotated[
    str | None, typer.Argument(metavar="[JOB]", help="Such as 0003-train; by default the one that it fits.")
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    family = typer.Typer(
        help="Long work that the app has started: list, pause, resume, stop, log.",
        no_args_is_help=True,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    family.command("list", epilog="Example: maskmatch jobs list hippocampus")(list_)
    family.command("pause", epilog="Example: maskmatch jobs pause hippocampus")(pause)
    family.command("resume", epilog="Example: maskmatch jobs resume hippocampus 0003-train")(resume)
    family.command("stop", epilog="Example: maskmatch jobs stop hippocampus")(stop)
    family.command("log", epilog="Example: maskmatch jobs log hippocampus 0003-train --lines 40")(log)
    app.add_typer(family, name="jobs")


def list_(study: StudyPath) -> None:
    """Show the jobs of a study, newest first; work that has lost its runner is taken up again."""
    from maskmatch_med import service
    from maskmatch_med.cli.console import print_rows

    jobs = service.job_states(service.open_study(study))
    if not jobs:
        typer.echo(f"{study}: nothing has been started yet")
        return
    rows = [(job.id, job.title, job.status, _clock(job.started), _clock(job.ended)) for job in jobs]
    print_rows(f"Jobs of {study}", rows, ("job", "work", "state", "started", "ended"))
    for job in jobs:
        if told := _progress(job):
            typer.echo(f"{job.id}: {told}")


def pause(study: StudyPath, job: JobId = None) -> None:
    """Let the running job, or the one named, save and end; `resume` goes on with it."""
    from maskmatch_med import service

    found = _the_one(study, job, ("running", "waiting"), "runs or waits")
    asked = service.pause_job(study, found)
    _told(study, asked, f"{found} saves and pauses", "resume")


def resume(study: StudyPath, job: JobId = None) -> None:
    """Go on with the job that ended early last, or the one named."""
    from maskmatch_med import service

    found = _the_one(study, job, ("paused", "stopped", "failed", "died"), "has ended early")
    _told(study, service.resume_job(study, found), f"{found} goes on when its turn comes", "list")


def stop(study: StudyPath, job: JobId = None) -> None:
    """Let the running job, or the one named, save and end; the model so far is kept."""
    from maskmatch_med import service

    found = _the_one(study, job, ("running", "waiting"), "runs or waits")
    _told(study, service.stop_job(study, found), f"{found} saves and ends; the model so far is kept", "list")


def log(
    study: StudyPath,
    job: JobId = None,
    lines: Annotated[int, typer.Option(help="How many of the last lines.", min=1)] = 100,
) -> None:
    """Print the last lines that the newest job, or the one named, has printed."""
    from maskmatch_med import service

    typer.echo(service.job_log(study, _the_one(study, job, (), "was started"), lines))


def _the_one(study: StudyPath, named: str | None, wanted: tuple[str, ...], what: str) -> str:
    """The job named, else one that runs, else the newest in one of the states; any state where none is given.

    Raises:
        StudyError: no job fits.
    """
    from maskmatch_med import service
    from maskmatch_med.errors import StudyError

    jobs = service.job_states(service.open_study(study))
    if named is not None:
        return named
    fitting = [job for job in jobs if not wanted or job.status in wanted]
    if not fitting:
        known = ", ".join(f"{job.id} ({job.status})" for job in jobs[:5]) or "none"
        raise StudyError(f"no job of {study} {what}; its jobs are: {known}")
    return max(fitting, key=lambda job: (job.status == "running", job.ended or job.queued)).id


def _told(study: StudyPath, job: JobState, words: str, then: str) -> None:
    ended = {"paused": f"{job.id} is paused", "stopped": f"{job.id} is stopped"}
    typer.echo(ended.get(job.status, words))
    typer.echo(f"Next: maskmatch jobs {then} {quote(str(study))}")


def _progress(job: JobState) -> str:
    if job.status == "waiting":
        return f"waits for {job.waits_for}" if job.waits_for else _behind(job.ahead)
    if job.status == "running":
        left = f", {job.minutes_left:.1f} min left" if job.minutes_left is not None else ""
        return f"{job.doing} {job.share or 0:.0%}{left}"
    return job.message


def _behind(ahead: int) -> str:
    return f"starts after {ahead} other job{'' if ahead == 1 else 's'}" if ahead else "starts next"


def _clock(moment: str | None) -> str:
    return f"{datetime.fromisoformat(moment).astimezone():%d %b %H:%M}" if moment else ""
