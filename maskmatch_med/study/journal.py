"""A file to which entries are only ever added, each on disk before it counts.

An entry is its length (4 bytes), the CRC-32 of the rest (4 bytes), and a line of JSON followed by bytes packed by zlib.
Reading ends at the first entry that is cut short or damaged: a process that died as it wrote had not acknowledged it.
What is cut off is set aside in a file of its own and not deleted.
"""

from __future__ import annotations

import json
import os
import struct
import zlib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from maskmatch_med.errors import not_written
from maskmatch_med.io.atomic import write_bytes
from maskmatch_med.study.records import newer

_MAGIC = b"MMJOURN2"
"""How a file begins; the digit grows with each change of the layout."""
_HEAD = struct.Struct("<II")


@dataclass(frozen=True)
class Entry:
    """One entry.

    Args:
        header: small values, kept as JSON.
        data: the bytes that go with them.
    """

    header: dict[str, Any]
    data: bytes = b""

    def packed(self) -> bytes:
        """The entry as it lies in the file."""
        body = json.dumps(self.header).encode() + b"\n" + zlib.compress(self.data, 1)
        return _HEAD.pack(len(body), zlib.crc32(body)) + body


@dataclass(frozen=True)
class Journal:
    """The entries of one file.

    Args:
        path: the file; it need not exist.
    """

    path: Path

    def read(self) -> tuple[list[Entry], int]:
        """All sound entries, oldest first, and the number of bytes that they take; nothing where there is no file.

        Raises:
            NewerError: a newer version of the program has written it.
        """
        raw = self._content()
        if not raw:
            return [], 0
        entries, end = list[Entry](), len(_MAGIC)
        while (found := _entry_at(raw, end)) is not None:
            entry, end = found
            entries.append(entry)
        return entries, end

    def start(self, entries: Sequence[Entry]) -> int:
        """Write the file anew with these entries, whole or not at all.

        Returns:
            The bytes that they take.

        Raises:
            DiskFullError, ReadOnlyError, StudyError: the disk is full, may not be written, or fails.
        """
        content = _MAGIC + b"".join(entry.packed() for entry in entries)
        try:
            self._set_aside(self._walk()[1])
            write_bytes(self.path, content)
            _sync_folder(self.path.parent)
        except OSError as error:
            raise not_written(self.path.parent, error) from error
        return len(content)

    def append(self, entry: Entry, end: int) -> int:
        """Add an entry behind the sound ones; it is on disk when this returns.

        Args:
            entry: what to add.
            end: the bytes that the sound entries take, as :meth:`read` gave them.

        Returns:
            The bytes that they take now.

        Raises:
            DiskFullError, ReadOnlyError, StudyError: the disk is full, may not be written, or fails; the file is as
                it was.
        """
        packed = entry.packed()
        try:
            self._set_aside(end)
            with self.path.open("r+b") as stream:
                stream.truncate(end)
                stream.seek(end)
                try:
                    stream.write(packed)
                    stream.flush()
                    os.fsync(stream.fileno())
                except OSError:
                    _cut(self.path, end)
                    raise
        except OSError as error:
            raise not_written(self.path.parent, error) from error
        return end + len(packed)

    def last_header(self) -> dict[str, Any] | None:
        """The header of the last sound entry, found without unpacking any; None where there is none."""
        last = self._walk()[0]
        return dict(json.loads(last.partition(b"\n")[0])) if last else None

    def _walk(self) -> tuple[bytes, int]:
        """What the last sound entry holds, packed, and the bytes that all of them take."""
        raw = self._content()
        if not raw:
            return b"", 0
        last, end = b"", len(_MAGIC)
        while (found := _body_at(raw, end)) is not None:
            last, end = found
        return last, end

    def _content(self) -> bytes:
        """What the file holds; nothing where there is none, or it is no journal."""
        try:
            raw = self.path.read_bytes()
        except FileNotFoundError:
            return b""
        name, layout = raw[: len(_MAGIC) - 1], raw[len(_MAGIC) - 1 : len(_MAGIC)]
        if name == _MAGIC[:-1] and layout > _MAGIC[-1:]:
            raise newer(self.path, f"is laid out as number {layout.decode(errors='replace')}")
        return raw if raw.startswith(_MAGIC) else b""

    def _set_aside(self, end: int) -> None:
        """Keep what lies behind the sound entries under a name of its own."""
        if not self.path.is_file() or self.path.stat().st_size <= end:
            return
        with self.path.open("rb") as stream:
            stream.seek(end)
            rest = stream.read()
        number = len(list(self.path.parent.glob(f"{self.path.stem}-cut-*"))) + 1
        write_bytes(self.path.with_name(f"{self.path.stem}-cut-{number}{self.path.suffix}"), rest)


def _body_at(raw: bytes, start: int) -> tuple[bytes, int] | None:
    """What an entry at a place holds, and where it ends; None where there is none, or a broken one."""
    if len(raw) - start < _HEAD.size:
        return None
    length, crc = _HEAD.unpack_from(raw, start)
    begin = start + _HEAD.size
    body = raw[begin : begin + length]
    if length == 0 or len(body) < length or zlib.crc32(body) != crc:
        return None
    return body, begin + length


def _entry_at(raw: bytes, start: int) -> tuple[Entry, int] | None:
    found = _body_at(raw, start)
    if found is None:
        return None
    line, _, packed = found[0].partition(b"\n")
    try:
        return Entry(dict(json.loads(line)), zlib.decompress(packed)), found[1]
    except (ValueError, TypeError, zlib.error):
        return None


def _cut(path: Path, end: int) -> None:
    with suppress(OSError):
        os.truncate(path, end)


def _sync_folder(folder: Path) -> None:
    """Make the name of a new file as durable as its content, where the system can."""
    with suppress(OSError):
        number = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)
