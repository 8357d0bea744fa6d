"""Where DICOM files lie: a folder tree or a zip archive. Files are told by their first bytes, never by their names.

Members of an archive are read into memory one at a time; nothing is ever extracted, so no name in it can reach outside.
"""

from __future__ import annotations

import io
import os
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from maskmatch_med.errors import InputError

MOST_MEMBERS = 100_000
"""Files in one archive."""
MOST_BYTES = 32 << 30
"""Size of an archive's content once decompressed."""
MOST_MEMBER_BYTES = 4 << 30
"""Size of one of its files."""
MOST_RATIO = 200
"""How much larger than the archive its content may be, above :data:`FREE_BYTES`."""
FREE_BYTES = 1 << 30
"""Content of this size is read whatever its ratio."""

_HEAD = 132
_MAGIC = b"DICM"
_FIRST_GROUPS = (b"\x02\x00", b"\x08\x00")
_EXPLICIT_VRS = (b"UL", b"UI", b"OB", b"CS", b"SH", b"LO", b"DA", b"TM")
_OTHER_ENDINGS = (
    *(".nii", ".nii.gz", ".hdr", ".img", ".nrrd", ".nhdr", ".mha", ".mhd", ".mgh", ".mgz", ".mnc", ".brik", ".head"),
    *(".png", ".jpg", ".jpeg", ".tif", ".tiff", ".gif", ".bmp", ".raw", ".gz", ".zip", ".json", ".csv", ".tsv"),
    *(".txt", ".pdf", ".xml", ".html", ".py", ".md", ".npy", ".npz", ".safetensors", ".sqlite", ".toml"),
)
_BROKEN_ZIP = (zipfile.BadZipFile, zlib.error, OSError, EOFError, ValueError, NotImplementedError, RuntimeError)


@dataclass(frozen=True, order=True)
class DicomFile:
    """One file of a folder, or one member of a zip archive.

    Args:
        path: the file, or the archive.
        member: the name within the archive; empty for a plain file.
    """

    path: Path
    member: str = ""

    def __str__(self) -> str:
        return f"{self.path}:{self.member}" if self.member else str(self.path)

    @property
    def folder(self) -> str:
        """The folder that it lies in."""
        return f"{self.path}:{PurePosixPath(self.member).parent}" if self.member else str(self.path.parent)

    def open(self) -> BinaryIO:
        """A stream of its bytes, seekable.

        Raises:
            OSError: the file is not there, or not allowed to be read.
            InputError: the archive is damaged.
        """
        if not self.member:
            return self.path.open("rb")
        try:
            return io.BytesIO(_member_bytes(self.path, self.member))
        except _BROKEN_ZIP as error:
            raise InputError(f"cannot read {self} ({reason(error)}); check the file or copy it anew") from error


def reason(error: BaseException) -> str:
    """The beginning of what a library says, short enough for a sentence and without what it quotes from the file."""
    if isinstance(error, NotImplementedError):
        return "it is packed in a way that cannot be read here"
    if "'" in str(error) or '"' in str(error):
        return "what it holds is damaged"
    first = str(error).strip().partition("\n")[0].partition(" - ")[0].rstrip(" .:")
    return first[:160] or "what it holds is damaged"


def is_dicom(path: Path) -> bool:
    """Whether a file is DICOM by its first bytes, or a folder or zip archive holds such a file."""
    try:
        return next(dicom_files(path), None) is not None
    except InputError:
        return False


def dicom_files(path: Path) -> Iterator[DicomFile]:
    """The DICOM files of a folder tree, of a zip archive, or the file itself, in order of their names.

    Hidden files, links to folders and files named as another format are passed over. Files of a folder that may not be
    read are given too, as they may be slices.

    Raises:
        InputError: the archive is damaged, encrypted, too large, or holds names that point outside of it; or a folder
            may not be listed.
    """
    if path.is_dir():
        return (DicomFile(file) for file in _walk(path) if _starts_as_dicom(file, unreadable=True))
    if _is_zip(path):
        return _zip_members(path)
    return iter([DicomFile(path)] if _starts_as_dicom(path) else [])


def _walk(folder: Path) -> Iterator[Path]:
    for parent, folders, names in os.walk(folder, onerror=_refuse_folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if not name.startswith(".") and not name.lower().endswith(_OTHER_ENDINGS):
                yield Path(parent, name)


def _refuse_folder(error: OSError) -> None:
    why = error.strerror or type(error).__name__
    raise InputError(f"cannot list the folder {error.filename} ({why}); ask for the permission, or move it away")


def _is_zip(path: Path) -> bool:
    try:
        with path.open("rb") as stream:
            return stream.read(4) in {b"PK\x03\x04", b"PK\x05\x06"} and not path.name.lower().endswith(".npz")
    except (OSError, ValueError):
        return False


def _starts_as_dicom(path: Path, *, unreadable: bool = False) -> bool:
    try:
        if not path.is_file():
            return False
        with path.open("rb") as stream:
            return looks_dicom(stream.read(_HEAD))
    except PermissionError:
        return unreadable
    except (OSError, ValueError):
        return False


def looks_dicom(head: bytes) -> bool:
    """Whether the first 132 bytes are a DICOM preamble, or a first element of group 2 or 8 where there is none."""
    if head[128:_HEAD] == _MAGIC:
        return True
    if len(head) < 16 or head[:2] not in _FIRST_GROUPS or head[3] != 0:
        return False
    return head[4:6] in _EXPLICIT_VRS or 0 < int.from_bytes(head[4:8], "little") <= 256


def _zip_members(path: Path) -> Iterator[DicomFile]:
    try:
        with zipfile.ZipFile(path) as archive:
            names = [info.filename for info in _checked(path, archive) if _may_be_dicom(info)]
            for name in sorted(names):
                with archive.open(name) as stream:
                    if looks_dicom(stream.read(_HEAD)):
                        yield DicomFile(path, name)
    except InputError:
        raise
    except _BROKEN_ZIP as error:
        raise InputError(f"the archive {path} is damaged or encrypted ({reason(error)}); pack it anew") from error


def _may_be_dicom(info: zipfile.ZipInfo) -> bool:
    name = PurePosixPath(info.filename)
    hidden = any(part.startswith(".") or part == "__MACOSX" for part in name.parts)
    return not (info.is_dir() or hidden or info.filename.lower().endswith(_OTHER_ENDINGS))


def _checked(path: Path, archive: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    infos = archive.infolist()
    if len(infos) > MOST_MEMBERS:
        raise InputError(f"{path} holds {len(infos)} files, more than {MOST_MEMBERS}; unpack it and give the folder")
    for info in infos:
        if points_outside(info.filename):
            raise InputError(
                f"{path} holds a file named {info.filename[:80]!r}, which points outside the archive; "
                "do not unpack it, and ask for one that was packed anew"
            )
    total = sum(info.file_size for info in infos)
    allowed = min(MOST_BYTES, max(FREE_BYTES, path.stat().st_size * MOST_RATIO))
    largest = max((info.file_size for info in infos), default=0)
    if total > allowed or largest > MOST_MEMBER_BYTES:
        raise InputError(
            f"{path} would grow to {total / (1 << 30):.1f} GiB, more than such an archive of scans should; "
            "if you trust it, unpack it and give the folder"
        )
    return infos


def points_outside(name: str) -> bool:
    """Whether a member's name would leave the folder that an archive is unpacked into."""
    plain = name.replace("\\", "/")
    return plain.startswith("/") or plain[1:2] == ":" or ".." in plain.split("/")


def _member_bytes(path: Path, member: str) -> bytes:
    with zipfile.ZipFile(path) as archive:
        size = archive.getinfo(member).file_size
        if size > MOST_MEMBER_BYTES:
            raise ValueError(f"{size} bytes")
        with archive.open(member) as stream:
            content = stream.read(size + 1)
    if len(content) > size:
        raise ValueError("larger than the archive says")
    return content
