"""Where an export goes: a folder, or a zip that is written file by file, so that neither is held in memory."""

from __future__ import annotations

import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Protocol

from maskmatch_med.io.atomic import copy_file, write_text

_PACKED = (".gz", ".png", ".safetensors")
"""Endings of files that do not become smaller."""
_NO_DATE = (1980, 1, 1, 0, 0, 0)


class Sink(Protocol):
    """Takes files by their name, with ``/`` between folders."""

    def copy(self, source: Path, name: str) -> None:
        """Take the bytes of a file."""

    def text(self, name: str, content: str) -> None:
        """Take a text, in UTF-8."""

    @property
    def names(self) -> list[str]:
        """The names taken so far, in order."""

    @contextmanager
    def place(self, name: str) -> Iterator[Path]:
        """Give a path of that file name to write to; what lies there at the end of the block is taken."""
        yield Path()


class FolderSink:
    """Files of a folder.

    Args:
        root: made where needed.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.names: list[str] = []

    def copy(self, source: Path, name: str) -> None:
        """Copy a file, whole or not at all."""
        copy_file(source, self.root / name)
        self.names.append(name)

    def text(self, name: str, content: str) -> None:
        """Write a text, whole or not at all."""
        write_text(self.root / name, content)
        self.names.append(name)

    @contextmanager
    def place(self, name: str) -> Iterator[Path]:
        """Give the path in the folder."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        yield path
        self.names.append(name)


class ZipSink:
    """Files of an archive. The same files give the same bytes: no time, no owner.

    Args:
        archive: open for writing.
        top: a folder within the archive that holds all.
    """

    def __init__(self, archive: zipfile.ZipFile, top: str) -> None:
        self._archive, self._top = archive, top
        self.names: list[str] = []

    def copy(self, source: Path, name: str) -> None:
        """Add a file, a block at a time."""
        with source.open("rb") as read, self._archive.open(self._entry(name), "w", force_zip64=True) as write:
            shutil.copyfileobj(read, write, 1 << 20)
        self.names.append(name)

    def text(self, name: str, content: str) -> None:
        """Add a text."""
        self._archive.writestr(self._entry(name), content.encode("utf-8"))
        self.names.append(name)

    @contextmanager
    def place(self, name: str) -> Iterator[Path]:
        """Give a path among the temporary files, and add what was written there."""
        with tempfile.TemporaryDirectory(prefix="maskmatch-") as folder:
            path = Path(folder) / PurePosixPath(name).name
            yield path
            self.copy(path, name)

    def _entry(self, name: str) -> zipfile.ZipInfo:
        entry = zipfile.ZipInfo(f"{self._top}/{name}", _NO_DATE)
        entry.compress_type = zipfile.ZIP_STORED if name.endswith(_PACKED) else zipfile.ZIP_DEFLATED
        entry.external_attr = 0o644 << 16
        return entry
