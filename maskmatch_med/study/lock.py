"""A lock on a folder that outlives no process: one left by a dead process is taken over."""

from __future__ import annotations

import json
import os
import platform
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from maskmatch_med.errors import StudyError

_POLL_S = 0.05
_UNWRITTEN_S = 5.0


class FolderLock:
    """An exclusive lock, held through a small JSON file that names its process.

    The lock may be entered again by the object that holds it. The holder is dead when no process of its number exists
    on this computer, or when that process started at another time.

    Args:
        path: the lock file.
        purpose: shown to who has to wait, such as ``"writing to the study"``.
    """

    def __init__(self, path: Path, purpose: str) -> None:
        self.path = path
        self.purpose = purpose
        self._depth = 0
        self._threads = threading.RLock()

    @contextmanager
    def held(self, timeout_s: float = 20.0) -> Iterator[bool]:
        """Hold the lock during the block; gives True where the block is the outermost.

        Raises:
            StudyError: a living process kept it for ``timeout_s`` seconds.
        """
        with self._threads:
            if self._depth == 0:
                self._acquire(timeout_s)
            self._depth += 1
            try:
                yield self._depth == 1
            finally:
                self._depth -= 1
                if self._depth == 0:
                    self.path.unlink(missing_ok=True)

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

    def _acquire(self, timeout_s: float) -> None:
        end = time.monotonic() + timeout_s
        while not self._try_create():
            record = _read(self.path)
            if record is not None and _is_dead(record, self.path):
                self._take_away(record)
            elif time.monotonic() > end:
                raise StudyError(
                    f"{self.path.parent} is in use: process {(record or {}).get('pid', 'unknown')} on "
                    f"{(record or {}).get('host', 'this computer')} is {(record or {}).get('purpose', 'busy')}; "
                    f"wait for it to end (if that computer has crashed, delete {self.path})"
                )
            else:
                time.sleep(_POLL_S)

    def _try_create(self) -> bool:
        record = {
            "pid": os.getpid(),
            "create_time": psutil.Process().create_time(),
            "host": platform.node(),
            "purpose": self.purpose,
        }
        try:
            number = os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
        except (FileExistsError, PermissionError) as error:
            if isinstance(error, PermissionError) and not self.path.exists():
                raise StudyError(f"cannot write to {self.path.parent}: {error.strerror}; check its rights") from error
            return False
        with os.fdopen(number, "w", encoding="utf-8") as stream:
            json.dump(record, stream)
        return True

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
    if not record:
        try:
            return time.time() - path.stat().st_mtime > _UNWRITTEN_S
        except OSError:
            return False
    if record.get("host") != platform.node():
        return False
    try:
        started = psutil.Process(int(record["pid"])).create_time()
    except (psutil.NoSuchProcess, KeyError, TypeError, ValueError):
        return True
    except psutil.AccessDenied:
        return False
    return abs(started - float(record.get("create_time", 0.0))) > 1.0
