"""What a command does when it runs as a job: it looks for a request to stop, and tells how far it is.

The environment variable ``MASKMATCH_JOB`` names the job's folder; without it both do nothing. Files serve for both
because they work alike on every system.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

VARIABLE = "MASKMATCH_JOB"
STOP = "stop"
PROGRESS = "progress.json"
_LOOK_S = 0.25
_TELL_S = 0.5


class Inside:
    """A command's side of its job.

    Args:
        folder: the job's folder; None where the command runs on its own.
    """

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self._asked = False
        self._looked = self._told = -1.0
        self._event = ""

    @classmethod
    def here(cls) -> Inside:
        """That of this process."""
        named = os.environ.get(VARIABLE)
        return cls(Path(named) if named else None)

    def stop_asked(self) -> bool:
        """Whether the job was asked to pause or stop; looked up at most four times a second."""
        now = time.monotonic()
        if self.folder is not None and not self._asked and now - self._looked >= _LOOK_S:
            self._looked = now
            self._asked = (self.folder / STOP).exists()
        return self._asked

    def tell(self, event: Mapping[str, Any]) -> None:
        """Leave the newest event for who looks at the job, at most twice a second and once for each new kind."""
        now, kind = time.monotonic(), str(event.get("event", ""))
        if self.folder is None or (now - self._told < _TELL_S and kind == self._event):
            return
        self._told, self._event = now, kind
        part = self.folder / f".{PROGRESS}.part"
        with suppress(OSError):
            part.write_text(json.dumps({**event, "told": time.time()}), encoding="utf-8")
            part.replace(self.folder / PROGRESS)
