"""Where DICOM files lie: a folder tree or a zip archive. Files are told by their first bytes, never by their names.

Members of an archive are read into memory one at a time; nothing is ever extracted, so no name in it can reach outside.
"""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from maskmatch_med.errors import InputError
from maskmatch_med.io.archives import BROKEN_ZIP, MOST_MEMBER_BYTES, checked_members, is_hidden, is_zip, reason

_HEAD = 132
_MAGIC = b"DICM"
_FIRST_GROUPS = (b"\x02\x00", b"\x08\x00")
_EXPLICIT_VRS = (b"UL", b"UI", b"OB", b"CS", b"SH", b"LO", b"DA", b"TM")
_OTHER_ENDINGS = (
    *(".nii", ".nii.gz", ".hdr", ".img", ".nrrd", ".nhdr", ".mha", ".mhd", ".mgh", ".mgz", ".mnc", ".brik", ".head"),
    *(".png", ".jpg", ".jpeg", ".tif", ".tiff", ".gif", ".bmp", ".raw", ".gz", ".zip", ".json", ".csv", ".tsv"),
    *(".txt", ".pdf", ".xml", ".html", ".py", ".md", ".npy", ".npz", ".safetensors", ".sqlite", ".toml"),
)


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
        except BROKEN_ZIP as error:
            raise InputError(f"cannot read {self} ({reason(error)}); check the file or copy it anew") from error


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
    if is_zip(path):
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
            names = [info.filename for info in checked_members(path, archive) if _may_be_dicom(info)]
            for name in sorted(names):
                with archive.open(name) as stream:
                    if looks_dicom(stream.read(_HEAD)):
                        yield DicomFile(path, name)
    except InputError:
        raise
    except BROKEN_ZIP as error:
        raise InputError(f"the archive {path} is damaged or encrypted ({reason(error)}); pack it anew") from error


def _may_be_dicom(info: zipfile.ZipInfo) -> bool:
    return not (info.is_dir() or is_hidden(info.filename) or info.filename.lower().endswith(_OTHER_ENDINGS))


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
