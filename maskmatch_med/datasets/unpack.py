"""Unpack a tar file that may be anybody's: plain files below one folder, and nothing else."""

from __future__ import annotations

import re
import shutil
import tarfile
from pathlib import Path

from maskmatch_med.errors import DiskFullError, InputError
from maskmatch_med.progress import Progress

_PART = re.compile(r'[^<>:"\\|?*\x00-\x1f]{1,200}')
_SPARE_BYTES = 1 << 26


def unpack(archive: Path, target: Path, top: str, progress: Progress | None = None) -> None:
    """Write the files of an archive to a folder; rights, owners and times in it are not taken over.

    Everything is looked at before anything is written. Files whose name begins with a dot are left out: archives made
    on macOS carry one beside each file.

    Args:
        archive: a tar file without compression.
        target: a new folder.
        top: the folder in the archive that holds all of it, and becomes ``target``.
        progress: told how far it is, in bytes.

    Raises:
        InputError: it is no tar file, is cut short, or holds a link, a device, or a file outside ``top``.
        DiskFullError: it holds more than the disk has room for.
    """
    try:
        with tarfile.open(archive, "r:") as tar:
            members = [(member, place) for member in tar if (place := _place(member, top, archive)) is not None]
            _check_all(members, target, archive)
            total, done = sum(member.size for member, _ in members), 0
            for member, place in members:
                path = target.joinpath(*place)
                path.parent.mkdir(parents=True, exist_ok=True)
                stream = tar.extractfile(member)
                if stream is None:  # cannot be: these are files
                    continue
                with stream, path.open("xb") as written:
                    shutil.copyfileobj(stream, written, 1 << 20)
                done += member.size
                if progress is not None:
                    progress(done, total, f"{place[-1]} unpacked")
    except (tarfile.TarError, EOFError) as error:
        raise InputError(f"{archive} cannot be unpacked: {error}; remove it and fetch it again") from error


def _place(member: tarfile.TarInfo, top: str, archive: Path) -> tuple[str, ...] | None:
    """The parts of a file's path below ``top``; None for folders and hidden files."""
    parts = [part for part in member.name.split("/") if part != "."]
    if member.isdir() and all(part != ".." for part in parts) and not member.name.startswith("/"):
        return None
    if not member.isreg():
        raise InputError(
            f"{archive} holds {member.name!r}, which is a link or a device; such an archive is not unpacked"
        )
    if len(parts) < 2 or parts[0] != top:
        if parts and parts[-1].startswith("._"):
            return None
        raise InputError(f"{archive} holds {member.name!r}, which is not below {top}/; such an archive is not unpacked")
    below = tuple(parts[1:])
    if any(not _PART.fullmatch(part) or part == ".." or part[-1] in " ." for part in below):
        raise InputError(
            f"{archive} holds {member.name!r}, a name that cannot be used; such an archive is not unpacked"
        )
    return None if any(part.startswith(".") for part in below) else below


def _check_all(members: list[tuple[tarfile.TarInfo, tuple[str, ...]]], target: Path, archive: Path) -> None:
    """Refuse what names a file twice, also where upper and lower case are the same, or needs more than there is."""
    seen = set[str]()
    for member, place in members:
        name = "/".join(place).casefold()
        if name in seen:
            raise InputError(f"{archive} holds {member.name!r} twice; such an archive is not unpacked")
        seen.add(name)
    need, free = sum(member.size for member, _ in members), shutil.disk_usage(target.parent).free
    if need + _SPARE_BYTES > free:
        raise DiskFullError(
            f"{archive} holds {need / 1e9:.2f} GB and {target.parent} has {free / 1e9:.2f} GB free; free some space "
            "and try again"
        )
