"""One job: what it was asked, how it stands, and its files.

``jobs/ID/job.json`` says what to run and never changes; ``state.json`` how it stands; ``log.txt`` what it printed;
``progress.json`` how far the command says it is; ``stop`` asks it to save and end; ``exit-STEP`` holds an exit code.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from maskmatch_med.jobs.inside import PROGRESS
from maskmatch_med.jobs.processes import Identity

Status = Literal["waiting", "running", "paused", "stopped", "done", "failed", "died"]
Wish = Literal["pause", "stop"]
WISHED: dict[Wish, Status] = {"pause": "paused", "stop": "stopped"}
"""How a job stands once it has done as asked."""
_TAIL_BYTES = 1 << 16


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Command(_Record):
    """One command line of a job.

    Args:
        words: what follows ``maskmatch``.
        title: for people.
        grace_s: seconds that it is given to save and end by itself when asked; 0 for commands that do not listen.
    """

    words: tuple[str, ...]
    title: str = ""
    grace_s: float = 0.0


class JobSpec(_Record):
    """What a job does.

    Args:
        kind: such as ``train``.
        title: for people.
        commands: run one after another, as long as each succeeds.
        about: small values for pages, such as the model's name.
    """

    kind: str = Field(pattern="^[a-z]+$")
    title: str
    commands: tuple[Command, ...] = Field(min_length=1)
    about: dict[str, str] = {}


class State(_Record):
    """How a job stands; times are UTC in ISO 8601.

    Args:
        status: see :data:`Status`.
        queued: since when it waits; decides whose turn it is.
        started: of the first command.
        ended: of the last command.
        step: index of the command that runs or is next.
        pid: process of the command.
        create_time: when that began, so that no later process is taken for it.
        wish: what it was asked to do while it ran.
        wished: when, in seconds since 1970.
        message: why it failed, in plain words.
    """

    status: Status
    queued: str
    started: str | None = None
    ended: str | None = None
    step: int = 0
    pid: int | None = None
    create_time: float = 0.0
    wish: Wish | None = None
    wished: float = 0.0
    message: str = ""

    @property
    def process(self) -> Identity | None:
        """The command's process; None where none was started."""
        return None if self.pid is None else Identity(self.pid, self.create_time)


@dataclass(frozen=True)
class Job:
    """A job as it stands.

    Args:
        folder: where its files lie.
        spec: what it does.
        state: how it stands.
    """

    folder: Path
    spec: JobSpec
    state: State

    @property
    def id(self) -> str:
        """Its name in the study, such as ``0003-train``."""
        return self.folder.name

    @property
    def status(self) -> Status:
        """How it stands."""
        return self.state.status

    @property
    def can_resume(self) -> bool:
        """Whether it can go on where it ended."""
        return self.status in {"paused", "stopped", "failed", "died"}

    @property
    def log_path(self) -> Path:
        """What it printed."""
        return self.folder / "log.txt"

    def exit_path(self, step: int) -> Path:
        """Where the command of a step leaves its exit code."""
        return self.folder / f"exit-{step}"

    def progress(self) -> dict[str, Any]:
        """The newest event that its command told; empty before the first."""
        try:
            return dict(json.loads((self.folder / PROGRESS).read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return {}

    def log_tail(self, lines: int = 100) -> str:
        """The last lines that it printed; of a line drawn over itself, only how it ended."""
        try:
            with self.log_path.open("rb") as stream:
                stream.seek(0, 2)
                stream.seek(max(0, stream.tell() - _TAIL_BYTES))
                text = stream.read().decode("utf-8", "replace")
        except OSError:
            return ""
        return "\n".join(list(_as_seen(text.rstrip()))[-lines:])

    def error_in_log(self) -> str:
        """The sentence with which its command refused or failed; empty where it said none."""
        said = [line for line in self.log_tail().splitlines() if line.startswith("maskmatch: ")]
        return said[-1].removeprefix("maskmatch: ") if said else ""


def _as_seen(text: str) -> Iterator[str]:
    for line in text.split("\n"):
        yield line.rstrip("\r").rpartition("\r")[2]
