"""Plain folders, archives and files of scans, and which label belongs to which scan."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from maskmatch_med.errors import InputError
from maskmatch_med.io.cases import (
    IMAGE_FOLDERS,
    LABEL_FOLDERS,
    CaseFiles,
    FoundScans,
    files_in,
    find_scans,
    is_bare_label,
    is_named_as_label,
    without_label_ending,
)
from maskmatch_med.io.channels import by_table
from maskmatch_med.io.formats import strip_extension
from maskmatch_med.io.rasters import is_raster
from maskmatch_med.io.refusals import Refused, refuse
from maskmatch_med.io.segmentations import referenced_series

if TYPE_CHECKING:
    from maskmatch_med.io.dicom import DicomSeries

Channels = Sequence[str] | Mapping[str, str] | None
"""Names of the channels, a pattern for the files of each, or nothing known."""


@dataclass(frozen=True)
class FoundCase:
    """One scan of a source.

    Args:
        name: its name.
        files: one file a channel; one file with all channels for a coloured picture or a 4D file of an MSD data set;
            for DICOM what was given.
        label: its label file.
        is_raster: whether it is a 2D picture.
        stacked: whether a fourth axis of the file holds channels, as MSD stores them.
        series: the DICOM series that it is.
    """

    name: str
    files: tuple[Path, ...]
    label: Path | None
    is_raster: bool
    stacked: bool = False
    series: DicomSeries | None = field(default=None, compare=False)


@dataclass(frozen=True)
class FoundFolder:
    """The scans of a folder with their labels.

    Args:
        cases: in order of their names.
        channel_names: as file names or patterns tell them; None where they do not.
        notes: what was passed over, in sentences.
    """

    cases: tuple[FoundCase, ...]
    channel_names: tuple[str, ...] | None
    notes: tuple[str, ...]


def with_label(case: CaseFiles, label: Path | None) -> FoundCase:
    """The scan with its label, where that file is there."""
    there = label if label and label.is_file() else None
    return FoundCase(case.name, case.channels, there, case.is_raster, series=case.series)


def in_folder(source: Path, labels: Path | None, channels: Channels, refused: Refused | None = None) -> FoundFolder:
    """The scans of a folder, archive or file.

    Labels are looked for in ``labels``, else in a folder ``masks`` or alike of the source, else beside the scans, else
    in such a folder beside the source. They are named as their scan, also with ``_mask`` or alike behind; a DICOM
    segmentation belongs to the series that it refers to, a file called ``mask`` or alike to the only scan beside it.

    Args:
        source: the folder, archive or file.
        labels: see above.
        channels: their names, or a pattern for the files of each.
        refused: takes what would be an error of one scan or label.

    Raises:
        InputError: no scan was found, or none of the labels asked for belongs to a scan.
    """
    scans = _scans(source, channels, refused)
    files, where, asked = _label_files(source, labels, scans)
    names = scans.channel_names or None
    bare = tuple(with_label(case, None) for case in scans.cases)
    if not files:
        if asked and labels is not None:
            raise InputError(f"no label found in {labels}; expected one file a scan, named as the scan")
        return FoundFolder(bare, names, scans.notes)
    try:
        matched = _matched(files, scans.cases, refused)
        if not matched and labels is not None and labels.is_file() and len(scans.cases) == 1:
            matched = {scans.cases[0].name: labels}
        if not matched:
            raise InputError(f"none of the {len(files)} labels in {where} is named as a scan of {source}; rename them")
    except InputError as error:
        if asked and refused is None:
            raise
        note = f"no label was imported: {error}, or name the folder of the right ones by --labels"
        return FoundFolder(bare, names, (*scans.notes, note))
    lost = sorted(without_label_ending(strip_extension(f)) for f in set(files) - set(matched.values()))
    notes = (f"{len(lost)} labels without a scan were passed over, such as {lost[0]}",) if lost else ()
    return FoundFolder(
        tuple(with_label(case, matched.get(case.name)) for case in scans.cases), names, (*scans.notes, *notes)
    )


def _scans(source: Path, channels: Channels, refused: Refused | None) -> FoundScans:
    if not isinstance(channels, Mapping):
        # One name says that every file is a scan; several say how many belong together.
        return find_scans([source], channels=1 if channels and len(channels) == 1 else channels, refused=refused)
    groups = by_table(source, channels)
    cases = tuple(CaseFiles(name, files, is_raster(files[0])) for (_, name), files in groups.cases.items())
    folders = dict.fromkeys([source, *(file.parent for case in cases for file in case.channels)])
    labels = [file for folder in folders for file in files_in(folder) if is_named_as_label(file)]
    return FoundScans(cases, groups.names, tuple(labels))


def _label_files(source: Path, labels: Path | None, scans: FoundScans) -> tuple[list[Path], Path, bool]:
    """The label files, where they lie, and whether they must fit: those in the source or asked for."""
    own = {path for case in scans.cases for path in case.channels}
    if labels is not None:
        if labels.is_file():
            return [labels], labels.parent, True
        if not labels.is_dir():
            raise InputError(f"there is no file or folder {labels} with labels")
        return [path for path in files_in(labels) if path not in own], labels, True
    folder = _label_folder(source)
    inside = folder is not None and folder.parent == source
    if folder is not None and inside:
        return [path for path in files_in(folder) if path not in own], folder, True
    if scans.labels:
        return list(scans.labels), scans.labels[0].parent, False
    return [path for path in files_in(folder) if path not in own] if folder else [], folder or source, False


def _label_folder(source: Path) -> Path | None:
    """``masks`` or alike in the source; beside it where the source is a folder of images itself."""
    places = [source] if any((source / name).is_dir() for name in IMAGE_FOLDERS) else [source, source.parent]
    for place in places if source.is_dir() else []:
        for name in LABEL_FOLDERS:
            if (place / name).is_dir() and place / name != source:
                return place / name
    return None


def _matched(files: Sequence[Path], cases: Sequence[CaseFiles], refused: Refused | None) -> dict[str, Path]:
    """The label file of each scan that has one."""
    series = {one: case.name for case in cases if (one := _series_of(case))}
    held = Counter(case.channels[0].parent for case in cases)
    alone = {folder: case.name for case in cases if held[folder := case.channels[0].parent] == 1}
    names = {case.name for case in cases}
    labels: dict[str, Path] = {}
    for path in files:
        stem = without_label_ending(strip_extension(path))
        # Scans of several folders may be named by their folder, and so are labels beside them.
        choices = [f"{path.parent.name}_{stem}", stem] if path.parent in held else [stem]
        if path.parent in alone:
            choices += [alone[path.parent]] if is_bare_label(path) else [path.parent.name]
        name = next((choice for choice in choices if choice in names), stem)
        if series and name not in names:
            name = series.get(referenced_series(path) or "", name)
        twin = labels.setdefault(name, path)
        if twin is not path:
            refuse(refused, path, f"{twin} and {path} are both labels of {name}; remove one of them")
    return {name: path for name, path in labels.items() if name in names}


def _series_of(case: CaseFiles) -> str | None:
    """The identifier of the DICOM series that a scan is; None for others."""
    return case.series.layout.frames[0].origin.series[0] if case.series else None
