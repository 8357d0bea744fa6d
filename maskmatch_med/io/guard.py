"""Readers written in C and C++ in a child process, with a limit of time and of memory.

A damaged file can crash such a reader, let it run for ever or fill the memory; then only the child ends. It is started
when first needed and kept for the next file, so that a file costs milliseconds and not the start of Python. Request
and reply are lines of JSON, values come back through a temporary .npy file.
"""

from __future__ import annotations

import atexit
import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from maskmatch_med.errors import InputError
from maskmatch_med.io.child import ARRAY_NAME
from maskmatch_med.volume import Array

_START_SECONDS = 60.0
_LEAST_SECONDS = 25.0
_LEAST_BYTES_A_SECOND = 4e6
_TICK_SECONDS = 0.05
_SPARE_BYTES = 1 << 30
_START = "import sys; sys.path[:] = sys.argv[1:]; from maskmatch_med.io.child import serve; serve()"
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS": "1"}


@dataclass(frozen=True)
class Limits:
    """What one file may cost.

    Args:
        seconds: of wall time.
        memory_bytes: more than the child has before it reads.
    """

    seconds: float
    memory_bytes: int

    @classmethod
    def of(cls, stored_bytes: int, value_bytes: int) -> Limits:
        """Limits for a file of ``stored_bytes`` on disk that says it holds ``value_bytes`` of values."""
        seconds = _LEAST_SECONDS + (stored_bytes + value_bytes) / _LEAST_BYTES_A_SECOND
        return cls(seconds, min(_SPARE_BYTES + 4 * value_bytes, psutil.virtual_memory().total))


class Guard:
    """One child process that reads a file at a time; started again after it was lost."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._child: subprocess.Popen[str] | None = None
        self._replies: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._owner = 0

    def run(self, task: str, path: Path, limits: Limits, **arguments: Any) -> tuple[dict[str, Any], Array | None]:
        """Run a reader's task on a file.

        Args:
            task: ``"module:function"`` with ``function(path, arguments) -> (facts, array or None)``.
            path: the file.
            limits: what it may cost.
            arguments: what the function is told besides; it must fit in JSON.

        Returns:
            What the function returned.

        Raises:
            InputError: the reader refused the file, crashed, or needed more time or memory than it may.
        """
        with self._lock, tempfile.TemporaryDirectory(prefix="maskmatch-", ignore_cleanup_errors=True) as folder:
            request = {
                "task": task,
                "path": str(path.absolute()),
                "folder": folder,
                "memory_bytes": limits.memory_bytes,
                "arguments": arguments,
            }
            try:
                reply = json.loads(self._ask(json.dumps(request), path, limits))
            except BaseException:
                self.close()
                raise
            if "error" in reply:
                raise InputError(f"cannot read {path} ({reply['error']}); check the file or export it anew")
            values = Path(folder) / ARRAY_NAME
            return reply["facts"], np.load(values, allow_pickle=False) if values.exists() else None

    def close(self) -> None:
        """End the child."""
        child, self._child = self._child, None
        if child is None or self._owner != os.getpid():
            return
        child.kill()
        child.wait()
        for stream in (child.stdin, child.stdout):
            if stream is not None:
                stream.close()

    def _ask(self, request: str, path: Path, limits: Limits) -> str:
        if self._child is None or self._owner != os.getpid() or self._child.poll() is not None:
            self._start(path)
        child = self._child
        if child is None or child.stdin is None:
            raise InputError(f"cannot read {path}: the process that reads it was closed; try again")
        try:
            child.stdin.write(request + "\n")
            child.stdin.flush()
        except OSError:
            pass  # the child is gone; what it left as its exit status is told below
        memory = psutil.Process(child.pid).memory_info().rss + limits.memory_bytes if child.poll() is None else 0
        return self._reply(child, path, Limits(limits.seconds, memory))

    def _start(self, path: Path) -> None:
        self.close()
        self._owner = os.getpid()
        self._replies = queue.SimpleQueue()
        child = subprocess.Popen(
            [sys.executable, "-P", "-c", _START, *sys.path],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            encoding="utf-8",
            env=os.environ | _ONE_THREAD,
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        )
        self._child = child
        threading.Thread(target=_forward, args=(child, self._replies), daemon=True).start()
        self._reply(child, path, Limits(_START_SECONDS, psutil.virtual_memory().total))

    def _reply(self, child: subprocess.Popen[str], path: Path, limits: Limits) -> str:
        end = time.monotonic() + limits.seconds
        while time.monotonic() < end:
            try:
                line = self._replies.get(timeout=_TICK_SECONDS)
            except queue.Empty:
                _refuse_too_much_memory(child, path, limits.memory_bytes)
                continue
            if line is None:
                raise InputError(
                    f"{path} made its reader crash (exit status {child.wait()}): it is damaged; export it anew"
                )
            return line
        raise InputError(f"reading {path} was stopped after {limits.seconds:.0f} s: it is damaged or far too large")


def _forward(child: subprocess.Popen[str], replies: queue.SimpleQueue[str | None]) -> None:
    """Pass on the child's lines, and None when it ended."""
    try:
        if child.stdout is not None:
            for line in child.stdout:
                replies.put(line)
    except (OSError, ValueError):
        pass  # closed while it was read
    replies.put(None)


def _refuse_too_much_memory(child: subprocess.Popen[str], path: Path, most: int) -> None:
    try:
        used = psutil.Process(child.pid).memory_info().rss
    except psutil.Error:
        return
    if used > most:
        raise InputError(f"reading {path} was stopped at {used >> 20} MiB of memory: it is damaged or far too large")


GUARD = Guard()
"""The child of this process."""
atexit.register(GUARD.close)
