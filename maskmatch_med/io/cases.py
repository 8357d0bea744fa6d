"""Find the scans among files and folders."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from maskmatch_med.errors import InputError
from maskmatch_med.io import nifti, rasters
from maskmatch_med.io.formats import READABLE, is_readable

IMAGE_FOLDERS = ("imagesTr", "images", "imgs")
LABEL_FOLDERS = ("labelsTr", "masks", "mask", "labels", "annotations")
LABEL_ENDINGS = ("_mask", "_masks", "_label", "_labels", "_seg", "_segmentation")
_RESULT_ENDINGS = (*LABEL_ENDINGS, "_uncertainty")
_MOST_CHANNELS = 8
"""Where nothing tells the number of channels, more numbers than these are taken for slices or frames."""
_CHANNEL = re.compile(r"^(?P<name>.+)_(?P<channel>\d{4})$")


@dataclass(frozen=True)
class CaseFiles:
    """The files of one scan.

    Args:
        name: the source's name without extension and without the channel ending ``_0000``.
        channels: one file a channel, or one coloured picture.
        is_raster: whether it is a 2D picture.
    """

    name: str
    channels: tuple[Path, ...]
    is_raster: bool


def stem(path: Path) -> str:
    """The file's name without a format's extension: ``a.b.nii.gz`` gives ``a.b``."""
    for suffix in (*nifti.SUFFIXES, *rasters.SUFFIXES):
        if path.name.lower().endswith(suffix):
            return path.name[: -len(suffix)]
    return path.stem


def files_in(folder: Path) -> list[Path]:
    """The readable files of a folder in order of their names; hidden files are left out."""
    return sorted(p for p in folder.iterdir() if not p.name.startswith(".") and is_readable(p) and p.is_file())


def image_folder(folder: Path) -> Path:
    """Where the scans of a data set lie: its ``imagesTr`` or ``images`` folder, else the folder itself."""
    for name in IMAGE_FOLDERS:
        if (folder / name).is_dir():
            return folder / name
    return folder


def find_cases(paths: Sequence[Path], *, channels: int | None = None) -> list[CaseFiles]:
    """Find the scans among files and folders, in order of their names.

    Of a folder its readable files are taken, or those of its ``imagesTr`` or ``images`` folder; masks, labels
    (``*_mask``, ``*_seg``, …), uncertainty maps and hidden files in it are passed over. NIfTI files are the channels of
    one scan where names end in ``_0000``, ``_0001``, …. So are pictures where all of a folder carry such an ending, of
    several scans, each with the same 2 to 8 numbers from ``_0000`` on. Other numbered pictures, such as the frames of
    a film or the slices of a volume, are a scan each; the ending ``_0000`` is cut off where no other number occurs.

    Args:
        paths: files or folders.
        channels: how many channels a scan has, where that is known: pictures with just that many numbers are grouped,
            also those of a single scan.

    Raises:
        InputError: nothing was found, a file is of an unknown format, a channel is missing, or two scans share a name.
    """
    files: list[Path] = []
    for path in paths:
        files += _files_of(path)
    unique = list(dict.fromkeys(files))
    cases = group_channels([f for f in unique if nifti.is_nifti(f)])
    for folder in dict.fromkeys(f.parent for f in unique):
        cases += _group_rasters([f for f in unique if rasters.is_raster(f) and f.parent == folder], channels)
    if not cases:
        raise InputError("no scan was given" if not paths else f"no scan found in {paths[0]}: expected {READABLE}")
    _refuse_duplicates(cases)
    return sorted(cases, key=lambda case: case.name)


def _files_of(path: Path) -> list[Path]:
    if path.is_file():
        if not is_readable(path):
            raise InputError(f"cannot read {path}: expected {READABLE}")
        return [path]
    if not path.is_dir():
        raise InputError(f"there is no file or folder {path}")
    found = [f for f in files_in(image_folder(path)) if not stem(f).lower().endswith(_RESULT_ENDINGS)]
    if not found:
        raise InputError(f"no scan found in the folder {path}: expected {READABLE}")
    return found


def group_channels(files: Sequence[Path]) -> list[CaseFiles]:
    """Gather files into scans: ``NAME_0000``, ``NAME_0001``, … are the channels of NAME.

    Where no file ends in ``_0000``, such numbers are no channels and each file is a scan.

    Raises:
        InputError: a scan lacks a channel that others have, or two files are the same channel.
    """
    matches = [(_CHANNEL.match(stem(f)), f) for f in files]
    if not any(m and int(m["channel"]) == 0 for m, _ in matches):
        return [CaseFiles(stem(f), (f,), rasters.is_raster(f)) for f in files]
    groups: dict[tuple[Path, str], dict[int, Path]] = {}
    cases = [CaseFiles(stem(f), (f,), rasters.is_raster(f)) for m, f in matches if m is None]
    for match, file in matches:
        if match is None:
            continue
        channels = groups.setdefault((file.parent, match["name"]), {})
        if int(match["channel"]) in channels:
            raise InputError(f"{file} and {channels[int(match['channel'])]} are the same channel; remove one of them")
        channels[int(match["channel"])] = file
    count = max(len(channels) for channels in groups.values())
    for (_, name), channels in groups.items():
        if sorted(channels) != list(range(count)):
            lost = next(c for c in range(count) if c not in channels)
            raise InputError(f"the scan {name} has no channel {name}_{lost:04d} beside {next(iter(channels.values()))}")
        ordered = tuple(channels[c] for c in range(count))
        cases.append(CaseFiles(name, ordered, rasters.is_raster(ordered[0])))
    return cases


def _group_rasters(files: Sequence[Path], channels: int | None) -> list[CaseFiles]:
    stems = [stem(f) for f in files]
    matches = [_CHANNEL.match(s) for s in stems]
    if _are_channels(matches, channels):
        return group_channels(files)
    cut = all(m is None or int(m["channel"]) == 0 for m in matches)
    names = [m["name"] if m and cut else s for m, s in zip(matches, stems, strict=True)]
    return [CaseFiles(name, (file,), True) for name, file in zip(names, files, strict=True)]


def _are_channels(matches: Sequence[re.Match[str] | None], channels: int | None) -> bool:
    """Whether the numbers of these pictures count the channels of scans, not frames or slices."""
    numbers: dict[str, set[int]] = {}
    for match in matches:
        if match is None:
            return False
        numbers.setdefault(match["name"], set()).add(int(match["channel"]))
    found = {frozenset(of_scan) for of_scan in numbers.values()}
    if channels is not None and channels > 1 and frozenset(range(channels)) in found:
        return True
    count = max((len(of_scan) for of_scan in found), default=0)
    return len(numbers) > 1 and 1 < count <= _MOST_CHANNELS and found == {frozenset(range(count))}


def _refuse_duplicates(cases: Iterable[CaseFiles]) -> None:
    seen: dict[str, CaseFiles] = {}
    for case in cases:
        twin = seen.setdefault(case.name.casefold(), case)
        if twin is not case:
            raise InputError(f"{twin.channels[0]} and {case.channels[0]} share the name {case.name}; rename one")
