"""Files that appear whole or not at all."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PART_SUFFIX = ".part"
"""Ending of a file still being written; its name also starts with a dot, so that no reader takes it for data."""


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Give a temporary path beside ``path``; what was written there takes its place when the block ends well.

    The content is synced to disk before the rename, so after a crash ``path`` holds the old or the new content.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.parent / f".{path.name}.{uuid.uuid4().hex[:8]}{PART_SUFFIX}"
    try:
        yield part
        with part.open("rb+") as stream:
            os.fsync(stream.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def write_bytes(path: Path, content: bytes) -> None:
    """Write ``content`` to ``path`` atomically."""
    with atomic_path(path) as part:
        part.write_bytes(content)


def write_text(path: Path, content: str) -> None:
    """Write ``content`` to ``path`` atomically, in UTF-8 and with bare line feeds."""
    write_bytes(path, content.encode("utf-8"))


def copy_file(source: Path, target: Path) -> None:
    """Copy the bytes of ``source``, and nothing else of it, to ``target`` atomically."""
    with atomic_path(target) as part, source.open("rb") as read, part.open("wb") as write:
        shutil.copyfileobj(read, write, 1 << 20)
