"""The jobs of a study, one at a time and in the order in which they were asked for: ``STUDY/jobs/``.

A runner (:mod:`maskmatch_med.jobs.runner`) works through them in a process of its own. Pages and servers only read and
change the files here, so it does not matter which of them is alive.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from pydantic import ValidationError

from maskmatch_med.errors import StudyError
from maskmatch_med.io.atomic import write_bytes, write_text
from maskmatch_med.jobs.inside import PROGRESS, STOP
from maskmatch_med.jobs.job import WISHED, Job, JobSpec, State, Wish
from maskmatch_med.jobs.processes import start_detached
from maskmatch_med.study import FolderLock
from maskmatch_med.study.struck import mentions, struck_from_text

_RUNNER_STARTS_S = 15.0


class JobQueue:
    """The jobs of one study.

    Args:
        study: the study's folder.
    """

    def __init__(self, study: Path) -> None:
        self.root = Path(study).resolve() / "jobs"
        self.runner_lock = FolderLock(self.root / ".runner", "working through the jobs")
        self._lock = FolderLock(self.root / ".lock", "changing a job")

    def add(self, spec: JobSpec) -> Job:
        """Queue a job; it starts at once where none runs.

        Raises:
            StudyError: the study may not be written.
        """
        try:
            self.root.mkdir(exist_ok=True)
            with self.changing():
                numbers = [int(p.name[:4]) for p in self.root.glob("[0-9]*-*")]
                folder = self.root / f"{max(numbers, default=0) + 1:04d}-{spec.kind}"
                folder.mkdir()
                job = Job(folder, spec, State(status="waiting", queued=now()))
                write_text(folder / "job.json", spec.model_dump_json(indent=1) + "\n")
                self.save(job, job.state)
        except OSError as error:
            raise StudyError(f"cannot write to {self.root}: {error.strerror or error}; check its rights") from error
        self.start_runner()
        return job

    def jobs(self) -> list[Job]:
        """All jobs, oldest first."""
        found = (self._load(path.parent) for path in sorted(self.root.glob("[0-9]*-*/state.json")))
        return [job for job in found if job is not None]

    def job(self, id: str) -> Job:
        """One job.

        Raises:
            StudyError: there is none of that name.
        """
        found = next((job for job in self.jobs() if job.id == id), None)
        if found is None:
            raise StudyError(f"{self.root} has no job {id!r}; it has {', '.join(j.id for j in self.jobs()) or 'none'}")
        return found

    def waiting(self) -> list[Job]:
        """The jobs whose turn has not come, in the order of their turns."""
        return self.in_turn(self.jobs())

    @staticmethod
    def in_turn(jobs: Sequence[Job]) -> list[Job]:
        """Those of some jobs whose turn has not come, in the order of their turns."""
        return sorted((job for job in jobs if job.status == "waiting"), key=lambda job: job.state.queued)

    def tend(self) -> list[Job]:
        """All jobs; work that has lost its runner, because that was killed or the computer restarted, gets another."""
        jobs = self.jobs()
        if any(job.status in {"waiting", "running"} for job in jobs) and self.runner_lock.holder() is None:
            try:
                recent = time.time() - self._marker.stat().st_mtime < _RUNNER_STARTS_S
            except OSError:
                recent = False
            if not recent:
                self.start_runner()
        return jobs

    def pause(self, id: str) -> Job:
        """Let a job save what it has and end, to go on later; its place is free for the next."""
        return self._wish(id, "pause")

    def stop(self, id: str) -> Job:
        """Let a job save what it has and end; what it made is kept."""
        return self._wish(id, "stop")

    def resume(self, id: str) -> Job:
        """Queue a job that was paused, was stopped or has failed once more; it goes on where it ended.

        Raises:
            StudyError: it waits, runs or has done its work.
        """
        with self.changing():
            job = self.job(id)
            if not job.can_resume:
                raise StudyError(f"{id} is {job.status}; only jobs that have ended early can be resumed")
            state = State(status="waiting", queued=now(), started=job.state.started, step=job.state.step)
            resumed = self.save(job, state)
        self.start_runner()
        return resumed

    def strike(self, name: str, stands: str) -> None:
        """Let a stand-in take the place of a scan in what jobs that do not run have said of it."""
        if not self.root.is_dir():
            return
        with self.changing():
            for job in self.jobs():
                message = struck_from_text(job.state.message, name, stands)
                if message != job.state.message:
                    self.save(job, job.state.model_copy(update={"message": message}))
                (job.folder / PROGRESS).unlink(missing_ok=True)
                _strike_file(job.log_path, name, stands)
            _strike_file(self.root / "runner.txt", name, stands)

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Hold the lock under which states change."""
        with self._lock.held():
            yield

    def save(self, job: Job, state: State) -> Job:
        """Write a job's state; under :meth:`changing`."""
        write_text(job.folder / "state.json", state.model_dump_json(indent=1) + "\n")
        return Job(job.folder, job.spec, state)

    def start_runner(self) -> None:
        """Start a runner; where one works already, the new one leaves."""
        self._marker.touch()
        words = [sys.executable, "-m", "maskmatch_med.jobs.runner", str(self.root.parent)]
        start_detached(words, self.root / "runner.txt", os.environ)

    @property
    def _marker(self) -> Path:
        return self.root / ".started"

    def _wish(self, id: str, wish: Wish) -> Job:
        with self.changing():
            job = self.job(id)
            if job.status == "running":
                (job.folder / STOP).touch()
                return self.save(job, job.state.model_copy(update={"wish": wish, "wished": time.time()}))
            if job.status == "waiting" or (job.status == "paused" and wish == "stop"):
                return self.save(job, job.state.model_copy(update={"status": WISHED[wish], "ended": now()}))
            raise StudyError(f"{id} is {job.status}; there is nothing to {wish}")

    def _load(self, folder: Path) -> Job | None:
        """A job; None where a process died while it was being queued, or its files are damaged."""
        try:
            spec = JobSpec.model_validate(json.loads((folder / "job.json").read_text(encoding="utf-8")))
            state = State.model_validate(json.loads((folder / "state.json").read_text(encoding="utf-8")))
        except (OSError, ValueError, ValidationError):
            return None
        return Job(folder, spec, state)


def _strike_file(path: Path, name: str, stands: str) -> None:
    """Rewrite a log that names a scan."""
    with suppress(FileNotFoundError):
        text = path.read_bytes().decode("utf-8", "surrogateescape")
        if mentions(name)(text):
            write_bytes(path, struck_from_text(text, name, stands).encode("utf-8", "surrogateescape"))


def now() -> str:
    """UTC time in ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")
