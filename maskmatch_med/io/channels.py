"""Which files are the channels of one scan: by endings that name a modality, or by a table of name patterns."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from maskmatch_med.errors import InputError
from maskmatch_med.io.formats import is_readable, strip_extension, without_data_files
from maskmatch_med.io.refusals import Refused, refuse

MODALITIES: dict[str, tuple[str, ...]] = {
    "t1": ("t1", "t1w", "t1n"),
    "t1ce": ("t1ce", "t1c", "t1gd"),
    "t2": ("t2", "t2w"),
    "flair": ("flair", "t2f"),
    "dwi": ("dwi",),
    "adc": ("adc",),
}
"""Modalities in the order in which they become channels, each with the endings that BraTS and others write for it."""
_BY_ENDING = {ending: modality for modality, endings in MODALITIES.items() for ending in endings}
_ENDING = re.compile(rf"^(?P<name>.+)[_-](?P<ending>{'|'.join(_BY_ENDING)})$", re.IGNORECASE)


@dataclass(frozen=True)
class ChannelGroups:
    """Files gathered into scans.

    Args:
        names: of the channels; empty where nothing was gathered.
        cases: for each scan, by folder and name, one file a channel.
        rest: the files that belong to no group.
    """

    names: tuple[str, ...]
    cases: dict[tuple[Path, str], tuple[Path, ...]]
    rest: tuple[Path, ...]


def by_modality(
    files: Sequence[Path], wanted: Sequence[str] | None = None, refused: Refused | None = None
) -> ChannelGroups:
    """Gather ``NAME_t1``, ``NAME_flair``, … into the scan NAME, where a scan has at least two of them.

    Files called ``t1``, ``flair``, … alone are of the scan that their folder is named after, where it has two of them.

    Args:
        files: the candidates, of any folders.
        wanted: names of the channels in their order. Where they are no modalities, or fewer than two, nothing is
            gathered; files of other modalities are left out. Where not given, all modalities that occur are taken.
        refused: takes what would be an error of one scan.

    Raises:
        InputError: a scan lacks a modality that others have, or has two files of one.
    """
    order = None if wanted is None else [_BY_ENDING.get(name.lower()) for name in wanted]
    if order is not None and (len(set(order)) < max(2, len(order)) or None in order):
        return ChannelGroups((), {}, tuple(files))
    found: dict[tuple[Path, str], dict[str, Path]] = {}
    bare = Counter(file.parent for file in files if strip_extension(file).lower() in _BY_ENDING)
    for file in files:
        stem = strip_extension(file)
        match = _ENDING.match(stem)
        if match is not None:
            scan = found.setdefault((file.parent, match["name"]), {})
            _add(scan, _BY_ENDING[match["ending"].lower()], file, refused)
        elif stem.lower() in _BY_ENDING and bare[file.parent] > 1:
            _add(found.setdefault((file.parent, file.parent.name), {}), _BY_ENDING[stem.lower()], file, refused)
    scans = {key: scan for key, scan in found.items() if len(scan) > 1} or {}
    if not scans:
        return ChannelGroups((), {}, tuple(files))
    modalities = [m for m in (order or MODALITIES) if order or any(m in scan for scan in scans.values())]
    cases = {}
    for (folder, name), scan in found.items():
        there = ",".join(str(m) for m in modalities if m in scan)
        advice = f"choose the channels, such as --channels {there}" if len(scan) > 1 else f"move {name} away"
        lost = next((str(m) for m in modalities if m not in scan), None)
        if lost is not None:
            refuse(refused, next(iter(scan.values())), _lacking(scan, lost, name, advice))
        else:
            cases[folder, name] = tuple(scan[str(m)] for m in modalities)
    taken = {path for scan in found.values() for path in scan.values()}
    rest = tuple(file for file in files if file not in taken)
    return ChannelGroups(tuple(wanted or (str(m) for m in modalities)), cases, rest)


def by_table(source: Path, table: Mapping[str, str]) -> ChannelGroups:
    """Gather files by one pattern a channel, such as ``{"t1": "*_t1.nii.gz", "flair": "*_flair.nii.gz"}``.

    What the last ``*`` of a pattern stands for is the name of the scan, so ``t1/*.nii.gz`` and ``*/t1.nii.gz`` serve
    as well. Patterns are looked up in the source, upper and lower case told apart; one without a folder that fits no
    file there is looked up in the folders of the source, where there is one folder a scan.

    Raises:
        InputError: a pattern cannot be used or fits nothing, a scan lacks a channel, or two files are the same channel.
    """
    if not source.is_dir():
        raise InputError(f"--channels with patterns needs a folder of scans, got {source}")
    scans: dict[str, dict[str, Path]] = {}
    for channel, pattern in table.items():
        named = _matches(source, channel, pattern)
        for name, file in named:
            _add(scans.setdefault(name, {}), channel, file, None)
    cases = {
        (source, name): tuple(_channel(scan, channel, name, "leave its pattern out") for channel in table)
        for name, scan in sorted(scans.items())
    }
    return ChannelGroups(tuple(table), cases, ())


def _matches(source: Path, channel: str, pattern: str) -> list[tuple[str, Path]]:
    """The files of one pattern, each with the name of its scan."""
    parts = PurePosixPath(pattern.replace("\\", "/")).parts
    if "*" not in pattern or "**" in pattern or ".." in parts or PurePosixPath(pattern).is_absolute():
        raise InputError(
            f"--channels {channel}={pattern} cannot be used; expected a pattern in the source with * for the name of "
            f"the scan, such as {channel}=*_{channel}.nii.gz"
        )
    place = max(index for index, part in enumerate(parts) if "*" in part)
    head, _, tail = parts[place].rpartition("*")
    naming = re.compile(f"{re.escape(head).replace(re.escape('*'), '.*')}(?P<name>.+){re.escape(tail)}")
    found: list[tuple[str, Path]] = []
    for folder in ("", "[!.]*/") if len(parts) == 1 else ("",):
        for file in without_data_files(sorted(source.glob(folder + "/".join(parts))) if not found else ()):
            match = naming.fullmatch(file.relative_to(source).parts[place + folder.count("/")])
            if match and file.is_file() and not file.name.startswith(".") and is_readable(file):
                found.append((match["name"], file))
    if not found:
        raise InputError(f"--channels {channel}={pattern} fits no scan in {source}; correct the pattern")
    return found


def _add(scan: dict[str, Path], channel: str, file: Path, refused: Refused | None) -> None:
    twin = scan.setdefault(channel, file)
    if twin is not file:
        refuse(refused, file, f"{twin} and {file} are the same channel {channel}; remove one of them")


def _channel(scan: Mapping[str, Path], channel: str, name: str, advice: str) -> Path:
    if channel not in scan:
        raise InputError(_lacking(scan, channel, name, advice))
    return scan[channel]


def _lacking(scan: Mapping[str, Path], channel: str, name: str, advice: str) -> str:
    return (
        f"the scan {name} has no channel {channel} beside {next(iter(scan.values()))}, which others have; add it, "
        f"or {advice}"
    )
