"""Bring the files of one scan into ``imagesTr``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from maskmatch_med.errors import InputError
from maskmatch_med.io import nifti, read_volume
from maskmatch_med.io.atomic import copy_file
from maskmatch_med.study.sources import serves_as_it_is
from maskmatch_med.volume import Geometry, Volume

_FORBIDDEN = re.compile(r'[<>:"/\\|?*\x00-\x1f]')
_RESERVED = re.compile(r"(con|prn|aux|nul|(com|lpt)[0-9¹²³]|conin\$|conout\$) *(\.|$)", re.IGNORECASE)
"""Names of devices on Windows, where no file can have them, whatever its ending."""


@dataclass(frozen=True)
class SourceInfo:
    """What to remember of a scan that is handed over in memory.

    Args:
        name: file name it came from.
        format: such as ``png``.
        is_raster: whether that was a 2D picture.
        sha256: one hash a source file.
        notes: what was changed on the way, in sentences.
        frames: which entries of a fourth axis were chosen; None where none were.
    """

    name: str
    format: str = "array"
    is_raster: bool = False
    sha256: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    frames: tuple[int, ...] | None = None


def check_name(name: str, what: Literal["case", "model"] = "case") -> None:
    """Refuse the name of a case or model that cannot be a file name on every system.

    Raises:
        InputError: it is empty, starts with a dot, ends in a space or dot, holds a forbidden character, or is one that
            Windows keeps for a device, also with an ending behind a dot (``con``, ``NUL.1``, ``com1``).
    """
    if not name or name[0] == "." or name[-1] in ". " or _FORBIDDEN.search(name) or _RESERVED.match(name):
        way_out = "rename the scan" if what == "case" else "choose another"
        raise InputError(f"the {what} name {name!r} cannot be used as a file name on every system; {way_out}")


def write_images(
    root: Path, name: str, image: Sequence[Path] | Volume, *, link: bool
) -> tuple[tuple[int, int, int], list[str]]:
    """Write one NIfTI file a channel; files that can serve as they are keep their bytes.

    Returns:
        Shape (X, Y, Z), and what was changed on the way in sentences.
    """
    targets = root / "imagesTr"
    if isinstance(image, Volume):
        for channel in range(image.channels):
            nifti.write_scan(targets / f"{name}_{channel:04d}.nii.gz", image.array[channel], image.geometry)
        return image.geometry.shape, []
    if not all(serves_as_it_is(path) for path in image):
        return write_images(root, name, read_volume(image), link=link)
    geometry = nifti.read_geometry(image[0])
    notes = []
    for channel, path in enumerate(image):
        target = targets / f"{name}_{channel:04d}.nii.gz"
        notes += _place(path, target, geometry, image[0], link=link)
    return geometry.shape, notes


def channel_count(image: Sequence[Path] | Volume) -> int:
    """Number of channels that these files or this scan bring."""
    if isinstance(image, Volume):
        return image.channels
    return len(image) if all(serves_as_it_is(path) for path in image) else read_volume(image).channels


def _place(path: Path, target: Path, geometry: Geometry, first: Path, *, link: bool) -> list[str]:
    if not nifti.read_geometry(path).same_grid(geometry):
        resampled = read_volume([first, path])
        nifti.write_scan(target, resampled.array[-1], geometry)
        return [f"{path.name} was resampled to the grid of {first.name}"]
    if len(nifti.axes(path)) != 3:
        nifti.write_scan(target, read_volume(path).array[0], geometry)
        return [f"{path.name} was stored with {len(nifti.axes(path))} axes and written with 3"]
    if not path.name.lower().endswith(".gz"):
        nifti.compress(path, target)
    elif not link or not _link(path, target):
        copy_file(path, target)
    return []


def _link(path: Path, target: Path) -> bool:
    """Let ``target`` be the same file as ``path``: a hard link, else a symbolic one; False where neither works."""
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    for make in (target.hardlink_to, target.symlink_to):
        try:
            make(path.resolve())
        except OSError:
            continue
        return True
    return False
