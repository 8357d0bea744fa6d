"""What a run tells: one line a logged iteration in log.jsonl, the same in TensorBoard, and a callback."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch.utils.tensorboard import SummaryWriter

from maskmatch_med.io.atomic import write_text

Report = Callable[[dict[str, Any]], None]
"""Receives what happens: ``{"event": "prepare" | "train" | "validate" | "notice" | "finish", …}``."""


class RunLog:
    """Appends to log.jsonl and TensorBoard; lines past the iteration that a run resumes from are dropped.

    Args:
        folder: the model's folder.
        first_iteration: the iteration to go on from.
    """

    def __init__(self, folder: Path, first_iteration: int) -> None:
        self.path = folder / "log.jsonl"
        kept = [line for line in read_log(self.path) if line["iteration"] <= first_iteration] if first_iteration else []
        write_text(self.path, "".join(json.dumps(line) + "\n" for line in kept))
        self._stream = self.path.open("a", encoding="utf-8")
        self._board = SummaryWriter(str(folder / "tensorboard"), purge_step=first_iteration + 1)

    def write(self, line: dict[str, Any]) -> None:
        """Log one line: ``iteration``, ``seconds`` and named numbers; a dict of numbers becomes dotted names."""
        self._stream.write(json.dumps(line) + "\n")
        self._stream.flush()
        for name, value in line.items():
            numbers = value if isinstance(value, dict) else {"": value}
            for part, number in numbers.items():
                if isinstance(number, int | float) and name not in {"iteration", "seconds"}:
                    self._board.add_scalar(f"{name}/{part}" if part else name, number, line["iteration"])

    def close(self) -> None:
        """Flush both."""
        self._stream.close()
        self._board.close()


def read_log(path: Path) -> list[dict[str, Any]]:
    """The lines of a log.jsonl; a last line that a kill cut short is left out."""
    if not path.exists():
        return []
    lines = []
    for text in path.read_text(encoding="utf-8").splitlines():
        try:
            lines.append(json.loads(text))
        except ValueError:
            break
    return lines
