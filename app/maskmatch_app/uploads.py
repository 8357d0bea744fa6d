"""Uploads in chunks, appended to a file on disk as they arrive: resumable, and small in memory whatever the size."""

from __future__ import annotations

import errno
import re
import shutil
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from maskmatch_app.shelf import arrived, staging
from maskmatch_med.errors import InputError

_KEY = re.compile(r"[0-9a-f]{16,64}")
_PART = re.compile(r'[^<>:"\\|?*\x00-\x1f]{1,200}')
LARGEST = 1 << 38
"""Bytes of one file, 256 GiB."""
_SPARE = 1 << 26
"""Bytes of disk to leave free."""
_QUIET_S = 60.0
"""After so long without a byte a drop counts as cut short."""
_FORGOTTEN_S = 7 * 24 * 3600.0


class NoSpaceError(Exception):
    """The disk has no room for the rest of a file."""


class OffsetError(Exception):
    """A chunk does not begin where the file ends.

    Args:
        expected: where it ends.
    """

    def __init__(self, expected: int) -> None:
        super().__init__(f"the next chunk begins at byte {expected}")
        self.expected = expected


@dataclass(frozen=True)
class Upload:
    """One file on its way.

    Args:
        root: the study that it is for.
        key: what the browser calls it, from its name, size and time, so that a second try finds the first.
        name: its path relative to what was dropped, ``/`` between the parts.
        size: bytes in all.
        drop: what the browser calls the files that were dropped together, the same when they are dropped again.

    Raises:
        InputError: key, name, size or drop cannot be used.
    """

    root: Path
    key: str
    name: str
    size: int
    drop: str = ""

    def __post_init__(self) -> None:
        parts = self.name.split("/")
        good = all(_PART.fullmatch(part) and part[0] != "." and part[-1] not in ". " for part in parts)
        if not good or len(self.name) > 1000:
            raise InputError(f"the file name {self.name!r} cannot be used on every system; rename the file")
        if not _KEY.fullmatch(self.key) or (self.drop and not _KEY.fullmatch(self.drop)):
            raise InputError("the upload has no usable key")
        if not 0 < self.size <= LARGEST:
            raise InputError(f"{self.name} is empty" if self.size == 0 else f"{self.name} is too large")

    @property
    def target(self) -> Path:
        """Where it lies when it is whole."""
        return arrived(self.root, self.drop).joinpath(*self.name.split("/"))

    @property
    def part(self) -> Path:
        """Where it grows."""
        return staging(self.root) / "parts" / f"{self.key}.part"

    def received(self) -> int:
        """Bytes that have arrived."""
        if self.target.is_file() and self.target.stat().st_size == self.size:
            return self.size
        return self.part.stat().st_size if self.part.is_file() else 0

    async def append(self, offset: int, chunks: AsyncIterator[bytes]) -> int:
        """Add what comes to the end; what came before a broken connection stays.

        Args:
            offset: where the first chunk begins.
            chunks: the bytes.

        Returns:
            Bytes that have arrived now.

        Raises:
            OffsetError: the file does not end at ``offset``.
            NoSpaceError: the disk is full, or would be.
            InputError: more bytes came than were announced.
        """
        have = self.received()
        if offset != have:
            raise OffsetError(have)
        if have == self.size:
            return have
        self.part.parent.mkdir(parents=True, exist_ok=True)
        if shutil.disk_usage(self.part.parent).free < self.size - have + _SPARE:
            raise NoSpaceError(f"the disk of the study has no room for {self.name}; free some space and try again")
        try:
            with self.part.open("ab") as stream:
                async for chunk in chunks:
                    have += len(chunk)
                    if have > self.size:
                        raise InputError(f"{self.name} has more bytes than announced; the file changed, drop it again")
                    stream.write(chunk)
        except OSError as error:
            if error.errno in {errno.ENOSPC, errno.EDQUOT}:
                raise NoSpaceError(f"the disk became full at {self.name}; free some space and try again") from error
            raise
        if have == self.size:
            self.target.parent.mkdir(parents=True, exist_ok=True)
            self.part.replace(self.target)
        return have

    def forget(self) -> None:
        """Remove what has arrived of it."""
        self.part.unlink(missing_ok=True)
        self.target.unlink(missing_ok=True)


def cut_short(root: Path) -> dict[str, list[Path]]:
    """The whole files of drops that nobody took in, by drop: their page was closed, or their connection broke.

    Empty while anything still arrives.
    """
    places = [path for path in staging(root).glob("*") if path.is_dir() and path.name != "parts"]
    found = {("" if place.name == root.name else place.name): place for place in places}
    files = {drop: sorted(path for path in place.rglob("*") if path.is_file()) for drop, place in found.items()}
    parts = list((staging(root) / "parts").glob("*.part"))
    touched = [path.stat().st_mtime for some in (*files.values(), parts) for path in some]
    if touched and time.time() - max(touched) < _QUIET_S:
        return {}
    return {drop: some for drop, some in files.items() if some}


def discard(root: Path, drop: str = "") -> None:
    """Remove the uploads of a drop, and parts that nobody has gone on with for a week; other parts stay."""
    shutil.rmtree(staging(root) / drop if drop else arrived(root), ignore_errors=True)
    for part in (staging(root) / "parts").glob("*.part"):
        if time.time() - part.stat().st_mtime > _FORGOTTEN_S:
            part.unlink(missing_ok=True)
