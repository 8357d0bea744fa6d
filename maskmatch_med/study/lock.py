"""A lock on a folder that outlives no process: one left by a dead process is taken over."""

from __future__ import annotations

import json
import os
import platform
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

from maskmatch_med.errors import BusyError, not_written

_POLL_S = 0.05
_UNWRITTEN_S = 5.0
HEARTBEAT_S = 5.0
"""How often a holder renews the time of its lock file."""
STALE_S = 60.0
"""Age of a lock file after which the holder on another computer counts as dead."""


class FolderLock:
    """An exclusive lock, held through a small JSON file that names its process.

    The lock may be entered again by the object that holds it. A holder on this computer is dead when no process of its
    number exists, or when that process started at another time. Of another computer, or of a container, which has a
    host name of its own, the processes cannot be seen: a holder renews the time of its file every 5 seconds, and counts
    as dead when the file is older than 60 seconds. The clocks of computers that share a folder must agree to that.

    Args:
        path: the lock file.
        purpose: shown to who has to wait, such as ``"writing to the study"``.
    """

    def __init__(self, path: Path, purpose: str) -> None:
        self.path = path
        self.purpose = purpose
        self._depth = 0
        self._threads = threading.RLock()
        self._heart: _Heartbeat | None = None

    @contextmanager
    def held(self, timeout_s: float = 20.0, waiting: Callable[[str], None] | None = None) -> Iterator[bool]:
        """Hold the lock during the block; gives True where the block is the outermost.

        Args:
            timeout_s: how long to wait for a living holder, in seconds.
            waiting: told once, in words, for whom this has to wait.

        Raises:
            BusyError: a living process kept it for ``timeout_s`` seconds.
            DiskFullError, ReadOnlyError: the lock file cannot be written.
        """
        with self._threads:
            if self._depth == 0:
                self._heart = _Heartbeat(self.path, self._acquire(timeout_s, waiting))
            self._depth += 1
            try:
                yield self._depth == 1
            finally:
                self._depth -= 1
                if self._depth == 0 and self._heart is not None:
                    self._heart.end()
                    self._heart = None

    def holder(self) -> dict[str, Any] | None:
        """What the lock file says of its holder; None where the lock is free or its holder is dead."""
        record = _read(self.path)
        return None if record is None or _is_dead(record, self.path) else record

    def remove_if_dead(self) -> bool:
        """Remove the lock file of a dead process; whether there was one."""
        record = _read(self.path)
        if record is None or not _is_dead(record, self.path):
            return False
        self._take_away(record)
        return True

    def _acquire(self, timeout_s: float, waiting: Callable[[str], None] | None) -> dict[str, Any]:
        end = time.monotonic() + timeout_s
        while (created := self._try_create()) is None:
            record = _read(self.path)
            if record is not None and _is_dead(record, self.path):
                self._take_away(record)
            elif time.monotonic() > end:
                raise BusyError(
                    f"{self.path.parent} is in use: {_in_words(record)}; "
                    f"wait for it to end (if it has crashed, {self.path} counts as left behind after a minute)"
                )
            else:
                if waiting is not None and record is not None:
                    waiting(_in_words(record))
                    waiting = None
                time.sleep(_POLL_S)
        return created

    def _try_create(self) -> dict[str, Any] | None:
        record = {
            "pid": os.getpid(),
            "create_time": psutil.Process().create_time(),
            "host": platform.node(),
            "purpose": self.purpose,
            "token": uuid.uuid4().hex,
        }
        try:
            number = os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
        except FileExistsError:
            return None
        except OSError as error:
            if isinstance(error, PermissionError) and self.path.exists():
                return None
            raise not_written(self.path.parent, error) from error
        try:
            with os.fdopen(number, "w", encoding="utf-8") as stream:
                json.dump(record, stream)
        except OSError as error:
            self.path.unlink(missing_ok=True)
            raise not_written(self.path.parent, error) from error
        return record

    def _take_away(self, dead: dict[str, Any]) -> None:
        """Move the dead lock aside, and put it back if another process has replaced it meanwhile."""
        aside = self.path.with_name(f"{self.path.name}.{uuid.uuid4().hex[:8]}")
        try:
            self.path.rename(aside)
        except OSError:
            return
        if _read(aside) != dead and not self.path.exists():
            aside.rename(self.path)
        aside.unlink(missing_ok=True)


class _Heartbeat:
    """Renews the time of a lock file from a thread until the lock is given up, as long as the file is ours."""

    def __init__(self, path: Path, record: dict[str, Any]) -> None:
        self._path, self._record = path, record
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._beat, name=f"lock {path.name}", daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Stop, and remove the file unless another process has taken the lock over."""
        self._ended.set()
        self._thread.join()
        if _read(self._path) == self._record:
            self._path.unlink(missing_ok=True)

    def _beat(self) -> None:
        while not self._ended.wait(HEARTBEAT_S):
            if _read(self._path) == self._record:
                with suppress(OSError):
                    os.utime(self._path)


def _in_words(record: dict[str, Any] | None) -> str:
    known = record or {}
    return (
        f"process {known.get('pid', 'unknown')} on {known.get('host', 'this computer')} is "
        f"{known.get('purpose', 'busy')}"
    )


def _read(path: Path) -> dict[str, Any] | None:
    """The lock's record; empty where its process died before it wrote it; None where there is no lock."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        return {}
    except OSError:
        return None
    return record if isinstance(record, dict) else {}


def _is_dead(record: dict[str, Any], path: Path) -> bool:
    if not record or record.get("host") != platform.node():
        try:
            return time.time() - path.stat().st_mtime > (STALE_S if record else _UNWRITTEN_S)
        except OSError:
            return False
    try:
        process = psutil.Process(int(record["pid"]))
        started = process.create_time()
        if process.status() == psutil.STATUS_ZOMBIE:  # it has ended, and nobody has asked for its exit code
            return True
    except (psutil.NoSuchProcess, KeyError, TypeError, ValueError):
        return True
    except psutil.AccessDenied:
        return False
    return abs(started - float(record.get("create_time", 0.0))) > 1.0
