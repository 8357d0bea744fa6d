"""Processes that nobody waits for: started detached, known again by number and start, ended with their children."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

_SAME_START_S = 1.0


@dataclass(frozen=True)
class Identity:
    """A process that cannot be mistaken for a later one with the same number.

    Args:
        pid: its number.
        create_time: when it began, in seconds since 1970.
    """

    pid: int
    create_time: float

    def alive(self) -> bool:
        """Whether it still runs; one that ended and was not yet collected does not."""
        return self._process() is not None

    def end(self, patience_s: float = 5.0) -> None:
        """End it and its children: asked first, killed after ``patience_s`` seconds."""
        process = self._process()
        if process is None:
            return
        try:
            family = [*process.children(recursive=True), process]
        except psutil.NoSuchProcess:
            return
        for member in family:
            _quietly(member.terminate)
        for member in psutil.wait_procs(family, timeout=patience_s)[1]:
            _quietly(member.kill)

    def _process(self) -> psutil.Process | None:
        try:
            process = psutil.Process(self.pid)
            same = abs(process.create_time() - self.create_time) <= _SAME_START_S
            return process if same and process.status() != psutil.STATUS_ZOMBIE else None
        except psutil.NoSuchProcess:
            return None


def start_detached(words: Sequence[str], log: Path, environment: Mapping[str, str]) -> Identity | None:
    """Start a process that outlives this one and its terminal.

    Args:
        words: program and arguments.
        log: what it prints is appended here.
        environment: all its variables.

    Returns:
        Its identity; None where it has ended already.
    """
    with log.open("ab") as stream:
        process = subprocess.Popen(
            list(words),
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            env=dict(environment),
            start_new_session=True,
            creationflags=_windows_flags(),
        )
    threading.Thread(target=process.wait, name=f"collect {process.pid}", daemon=True).start()
    try:
        return Identity(process.pid, psutil.Process(process.pid).create_time())
    except psutil.NoSuchProcess:
        return None


def _windows_flags() -> int:
    """No console and no Ctrl-C of the parent's; 0 where there are no such flags."""
    return int(getattr(subprocess, "DETACHED_PROCESS", 0)) | int(getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0))


def _quietly(act: Callable[[], None]) -> None:
    with suppress(psutil.Error):
        act()
