"""Works through the jobs of a study, in a process of its own: ``python -m maskmatch_med.jobs.runner STUDY``.

One runner works at a time. A command that an earlier runner has started is taken over where it still lives; where it
has ended, its exit code tells how, and without one it died.
"""

from __future__ import annotations

import os
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from maskmatch_med.errors import StudyError
from maskmatch_med.jobs.inside import PROGRESS, STOP, VARIABLE
from maskmatch_med.jobs.job import WISHED, Job, Status
from maskmatch_med.jobs.processes import start_detached
from maskmatch_med.jobs.queue import JobQueue, now
from maskmatch_med.jobs.turns import Ticket, Turns, this_process

_POLL_S = 0.2
_TURN_POLL_S = 0.5
_WAIT_FOR_OTHER_S = 5.0
_PROGRAM = """
import pathlib, sys
from maskmatch_med.cli.app import main
code = main(sys.argv[2:])
pathlib.Path(sys.argv[1]).write_text(str(code))
sys.exit(code)
"""
DIED = (
    "its process ended without a word: it was killed, the memory was full, or the computer restarted; "
    "resume it to go on from what was saved last"
)


def work_through(queue: JobQueue, turns: Turns | None = None) -> None:
    """Run the jobs until none waits; each waits for its turn among the studies of this machine."""
    turns, study = turns or Turns(), queue.root.parent
    while any(job.status in {"waiting", "running"} for job in queue.jobs()):
        ticket = turns.draw(study, this_process())
        try:
            if _wait_for_turn(queue, turns) and (job := _next(queue)) is not None:
                _work_on(queue, job, turns, ticket)
        finally:
            if ticket is not None:
                turns.give_back(ticket)


def _wait_for_turn(queue: JobQueue, turns: Turns) -> bool:
    """Wait for the other studies; False where meanwhile nothing waits any more. A command that runs is not held up."""
    while True:
        states = {job.status for job in queue.jobs()}
        if "running" in states or turns.before(queue.root.parent) is None:
            return True
        if "waiting" not in states:
            return False
        time.sleep(_TURN_POLL_S)


def _work_on(queue: JobQueue, job: Job, turns: Turns, ticket: Ticket | None) -> None:
    """Run a job's commands one after another, or take over the one that runs."""
    while job.status == "running":
        if job.state.pid is None:
            job = _start(queue, job)
        if ticket is not None and (process := job.state.process) is not None:
            ticket = turns.keep(ticket, process)
        if job.status == "running":
            _watch(queue, job)
            job = queue.job(job.id)


def _next(queue: JobQueue) -> Job | None:
    """The job that runs already, else the one whose turn it is, marked as running; None where there is none."""
    with queue.changing():
        running = [job for job in queue.jobs() if job.status == "running"]
        if running:
            return running[0]
        waiting = queue.waiting()
        if not waiting:
            return None
        state = waiting[0].state
        update = {"status": "running", "started": state.started or now(), "ended": None, "pid": None}
        return queue.save(waiting[0], state.model_copy(update=update))


def _start(queue: JobQueue, job: Job) -> Job:
    """Start the command of the step, unless the job was asked to end before."""
    with queue.changing():
        job = queue.job(job.id)
        if job.state.wish is not None:
            return _end(queue, job, WISHED[job.state.wish])
        exit_path = job.exit_path(job.state.step)
        for path in (exit_path, job.folder / STOP, job.folder / PROGRESS):
            path.unlink(missing_ok=True)
        command = job.spec.commands[job.state.step]
        environment = {**os.environ, VARIABLE: str(job.folder), "PYTHONUNBUFFERED": "1", "COLUMNS": "120"}
        words = [sys.executable, "-c", _PROGRAM, str(exit_path), *command.words]
        process = start_detached(words, job.log_path, environment)
        number, began = (process.pid, process.create_time) if process else (0, 0.0)
        return queue.save(job, job.state.model_copy(update={"pid": number, "create_time": began}))


def _watch(queue: JobQueue, job: Job) -> None:
    """Wait until the command has ended, end it where it does not listen, and note what became of it."""
    process, ended_by_us = job.state.process, False
    while process is not None and process.alive():
        time.sleep(_POLL_S)
        state = queue.job(job.id).state
        grace = job.spec.commands[state.step].grace_s
        if state.wish is not None and time.time() - state.wished > grace:
            process.end()
            ended_by_us = True
    with queue.changing():
        job = queue.job(job.id)
        code = _exit_code(job)
        if job.state.wish is not None and (code == 0 or ended_by_us):
            _end(queue, job, WISHED[job.state.wish])
        elif code is None:
            _end(queue, job, "died", message=DIED)
        elif code != 0:
            _end(queue, job, "failed", message=job.error_in_log() or f"its command ended with the exit code {code}")
        elif job.state.step + 1 < len(job.spec.commands):
            queue.save(job, job.state.model_copy(update={"step": job.state.step + 1, "pid": None}))
        else:
            _end(queue, job, "done")


def _end(queue: JobQueue, job: Job, status: Status, message: str = "") -> Job:
    (job.folder / STOP).unlink(missing_ok=True)
    update: dict[str, Any] = {"status": status, "ended": now(), "pid": None, "wish": None, "message": message}
    return queue.save(job, job.state.model_copy(update=update))


def _exit_code(job: Job) -> int | None:
    """What the command left; None where it could not."""
    with suppress(OSError, ValueError):
        return int(job.exit_path(job.state.step).read_text(encoding="utf-8"))
    return None


def main() -> None:
    """Work through the study named on the command line; leave where another runner does so already."""
    queue = JobQueue(Path(sys.argv[1]))
    with suppress(StudyError), queue.runner_lock.held(timeout_s=_WAIT_FOR_OTHER_S):
        work_through(queue)


if __name__ == "__main__":
    main()
