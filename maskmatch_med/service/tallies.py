"""What was counted once and need not be counted again: numbers by a key that names all they were made from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from maskmatch_med.io.atomic import write_text
from maskmatch_med.study import Case, Study


class Tallies:
    """Numbers kept in one JSON file; a damaged or missing file is begun anew.

    Args:
        path: the file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._new = False
        try:
            self._known = dict(json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            self._known = {}

    def has(self, key: str) -> bool:
        """Whether the numbers of a key are known."""
        return key in self._known

    def of(self, key: str, count: Callable[[], Any]) -> Any:
        """The numbers of a key, counted where they are not known."""
        if key not in self._known:
            self._known[key] = count()
            self._new = True
        return self._known[key]

    def save(self) -> None:
        """Keep what is known; what cannot be written is counted again next time."""
        if self._new:
            with suppress(OSError):
                write_text(self._path, json.dumps(self._known))


def stamp(path: Path) -> str:
    """When a file was written, and its size: what tells one content from another without reading it."""
    state = path.stat()
    return f"{state.st_mtime_ns}.{state.st_size}"


def structures_of(study: Study) -> dict[str, int]:
    """Name to value of the structures, background left out."""
    return {name: value for name, value in study.label_names.items() if value}


def prediction_of(study: Study, model: str, case: Case) -> Path | None:
    """The file of a model's prediction; None where there is none."""
    path = study.predictions_dir / model / f"{case.name}.nii.gz"
    return path if path.is_file() else None


def naming(study: Study) -> str:
    """What the values of predictions depend on besides their files."""
    renamed = study.root / "history" / "renamed.json"
    text = json.dumps(study.label_names) + (stamp(renamed) if renamed.is_file() else "")
    return hashlib.sha256(text.encode()).hexdigest()[:16]
