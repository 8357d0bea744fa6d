"""What was exported from a study: ``exports.jsonl``, a line an export, each appended whole."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from maskmatch_med.study.struck import back_again, renamed

_FILE = "exports.jsonl"


class ExportRecord(BaseModel):
    """One export.

    Args:
        name: of the file or folder that was written.
        format: such as ``nifti``.
        author: who asked for it; may be empty.
        labels: the label version of each scan whose label it holds; a stand-in for scans that were taken out since.
        predictions: the model of each scan of which it holds a prediction; likewise.
        when: UTC in ISO 8601.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    format: str
    author: str = ""
    labels: dict[str, str] = {}
    predictions: dict[str, str] = {}
    when: str = Field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="milliseconds"))


def record_export(root: Path, record: ExportRecord) -> None:
    """Note an export in the study; the line is on disk when this returns.

    Raises:
        OSError: the study cannot be written.
    """
    line = record.model_dump_json().encode() + b"\n"
    handle = os.open(root / _FILE, os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0), 0o644)
    try:
        os.write(handle, line)
        os.fsync(handle)
    finally:
        os.close(handle)


def exports_of(root: Path) -> list[ExportRecord]:
    """The exports of a study, oldest first; a line that was cut short by a crash is passed over."""
    found = []
    try:
        lines = (root / _FILE).read_bytes().splitlines()
    except FileNotFoundError:
        return []
    back = back_again(root)
    for line in lines:
        try:
            found.append(ExportRecord.model_validate(renamed(json.loads(line), back)))
        except (ValueError, AttributeError, TypeError):
            continue
    return found
