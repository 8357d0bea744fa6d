"""Zip archives that may be anybody's: looked at before anything is read, and those of scans unpacked into a folder.

Archives of DICOM files are read where they are (:mod:`maskmatch_med.io.dicom`); other formats want files.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from maskmatch_med.errors import FULL, DiskFullError, InputError, MaskMatchError
from maskmatch_med.io.cases import IMAGE_FOLDERS, LABEL_FOLDERS
from maskmatch_med.io.formats import FORMATS, format_of, strip_extension
from maskmatch_med.io.refusals import Refused, refuse
from maskmatch_med.progress import Progress, silent

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
SPARE_BYTES = 1 << 26
"""Disk to leave free."""

_DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, ValueError, NotImplementedError, RuntimeError)
BROKEN_ZIP = (*_DAMAGE, OSError)
"""What reading an archive raises where it is damaged."""
_VOLUMES = tuple(ending for row in FORMATS if row.name not in ("DICOM", "picture") for ending in row.endings)
_SCANS = tuple(ending for row in FORMATS if row.name != "DICOM" for ending in row.endings)
_FORBIDDEN = re.compile(r'[<>:"|?*\x00-\x1f]')


def reason(error: BaseException) -> str:
    """The beginning of what a library says, short enough for a sentence and without what it quotes from the file."""
    if isinstance(error, NotImplementedError):
        return "it is packed in a way that cannot be read here"
    if "'" in str(error) or '"' in str(error):
        return "what it holds is damaged"
    first = str(error).strip().partition("\n")[0].partition(" - ")[0].rstrip(" .:")
    return first[:160] or "what it holds is damaged"


def is_zip(path: Path) -> bool:
    """Whether a file is a zip archive by its first bytes; NumPy's ``.npz`` is none here."""
    try:
        with path.open("rb") as stream:
            return stream.read(4) in {b"PK\x03\x04", b"PK\x05\x06"} and not path.name.lower().endswith(".npz")
    except (OSError, ValueError):
        return False


def is_hidden(name: str) -> bool:
    """Whether a member is what a system left there, such as ``__MACOSX``."""
    return any(part.startswith(".") or part == "__MACOSX" for part in PurePosixPath(name).parts)


def points_outside(name: str) -> bool:
    """Whether a member's name would leave the folder that an archive is unpacked into."""
    plain = name.replace("\\", "/")
    return plain.startswith("/") or plain[1:2] == ":" or ".." in plain.split("/")


def checked_members(path: Path, archive: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    """The members of an archive.

    Raises:
        InputError: there are too many, they would grow too large, or a name points outside of it.
    """
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


def holds_scans(path: Path) -> bool:
    """Whether a file is a zip archive of scans or pictures that have to be unpacked: it holds no DICOM file."""
    if path.suffix.lower() != ".zip" or not is_zip(path) or format_of(path) is not None:
        return False
    try:
        with zipfile.ZipFile(path) as archive:
            return bool(_named(archive, _SCANS))
    except BROKEN_ZIP:
        return False


def volumes_in(path: Path) -> list[str]:
    """The members of a readable archive of DICOM files that are volumes of another format, which nobody looks into.

    Pictures are none: discs of scans carry those of their viewer.
    """
    with zipfile.ZipFile(path) as archive:
        return _named(archive, _VOLUMES)


def _named(archive: zipfile.ZipFile, endings: tuple[str, ...]) -> list[str]:
    names = (info.filename for info in archive.infolist() if not info.is_dir() and not is_hidden(info.filename))
    return sorted(name for name in names if name.lower().endswith(endings))


@contextmanager
def unpacked(
    archives: Sequence[Path], beside: Path, progress: Progress = silent, refused: Refused | None = None
) -> Iterator[dict[Path, Path]]:
    """Folders with what zip archives hold, by archive, for a while.

    Folders that all files of an archive lie in are left out, but for one that is named as of images or labels; so are
    hidden files. Signs that some system does not allow in names become ``_``.

    Args:
        archives: the files.
        beside: the folder in which a new one is made for them, or the nearest above it that is there; where that may
            not be written, among the temporary files.
        progress: told how far it is, in bytes.
        refused: takes what would be an error of one archive.

    Raises:
        InputError: an archive is damaged, encrypted or too large, or two of its files would be one here.
        DiskFullError: the disk has no room for what they hold.
    """
    there = next(folder for folder in (beside.absolute(), *beside.absolute().parents) if folder.is_dir())
    may_write = os.access(there, os.W_OK)
    with tempfile.TemporaryDirectory(dir=there if may_write else None, prefix=".unpacked-") as parent:
        places: dict[Path, Path] = {}
        for number, path in enumerate(archives):
            target = Path(parent, str(number), strip_extension(path))
            try:
                _unpack(path, target, progress)
            except InputError as error:
                refuse(refused, path, str(error))
            else:
                places[path] = target
        yield places


def _unpack(path: Path, target: Path, progress: Progress) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            members = [
                (info, _parts(info.filename))
                for info in checked_members(path, archive)
                if not info.is_dir() and not is_hidden(info.filename)
            ]
            _check_places(path, target, members)
            shared = _shared([parts for _, parts in members])
            total, done = sum(info.file_size for info, _ in members), 0
            for info, parts in members:
                place = target.joinpath(*parts[shared:])
                place.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(info) as stream, place.open("xb") as written:
                    shutil.copyfileobj(stream, written, 1 << 20)
                done += info.file_size
                progress(done, total, f"unpacking {path.name}")
    except MaskMatchError:
        raise
    except OSError as error:
        if error.errno in FULL:
            raise
        raise InputError(f"{path} cannot be unpacked here ({error.strerror}); rename what it holds") from error
    except _DAMAGE as error:
        raise InputError(f"the archive {path} is damaged or encrypted ({reason(error)}); pack it anew") from error


def _parts(name: str) -> list[str]:
    """The folders and the name of a member, with signs that every system allows."""
    parts = [part for part in name.replace("\\", "/").split("/") if part not in ("", ".")]
    return [_FORBIDDEN.sub("_", part).rstrip(" .") or "_" for part in parts]


def _shared(places: list[list[str]]) -> int:
    """How many folders all the files have in common, up to one named as of images or labels."""
    depth = min((len(parts) - 1 for parts in places), default=0)
    known = {*IMAGE_FOLDERS, *LABEL_FOLDERS}
    ends = (level for level in range(depth) if places[0][level] in known or len({p[level] for p in places}) > 1)
    return next(ends, depth)


def _check_places(path: Path, target: Path, members: list[tuple[zipfile.ZipInfo, list[str]]]) -> None:
    """Refuse files that would be one, also where upper and lower case are the same, and more than the disk holds."""
    seen: dict[str, str] = {}
    for info, parts in members:
        twin = seen.setdefault("/".join(parts).casefold(), info.filename)
        if twin is not info.filename:
            raise InputError(f"{path} holds {twin[:80]!r} and {info.filename[:80]!r}, which are one name; rename one")
    need = sum(info.file_size for info, _ in members)
    there = next(folder for folder in target.parents if folder.is_dir())
    free = shutil.disk_usage(there).free
    if need + SPARE_BYTES > free:
        raise DiskFullError(
            f"{path} holds {need / 1e9:.2f} GB and there are {free / 1e9:.2f} GB free; free some space and try again"
        )
