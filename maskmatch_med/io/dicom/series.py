"""The scans of a folder, an archive or a file: found, named, judged and read."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from maskmatch_med.errors import InputError
from maskmatch_med.io.archives import is_zip, volumes_in
from maskmatch_med.io.dicom import kinds, pixels
from maskmatch_med.io.dicom.frames import Frame, SkippedError, read_frames
from maskmatch_med.io.dicom.grid import Layout, lay_out
from maskmatch_med.io.dicom.source import DicomFile, dicom_files
from maskmatch_med.io.dicom.stacks import Stack, split
from maskmatch_med.io.formats import Header, ReadOptions, StoredScan, check_file
from maskmatch_med.volume import Geometry, Volume

_ADVICE = {
    kinds.MOSAIC: "; convert them with dcm2niix and import the result",
    kinds.DAMAGED: "; copy or export them anew",
    kinds.NO_IMAGE: "",
    kinds.FORBIDDEN: "; ask for the permission, as they may be slices",
}


_MAY_BE_SLICES = (kinds.DAMAGED, kinds.FORBIDDEN, kinds.NO_IMAGE)


@dataclass(frozen=True)
class DicomSeries:
    """One stack of slices on a regular grid.

    Args:
        name: safe as a file name and without personal data: modality, number of the series, hash of its identifier.
        layout: its slices in order and their grid.
        notes: what was done with it that its owner should know, one sentence each.
    """

    name: str
    layout: Layout
    notes: tuple[str, ...]

    @property
    def geometry(self) -> Geometry:
        """The grid."""
        return self.layout.geometry

    @property
    def files(self) -> tuple[DicomFile, ...]:
        """Where its slices lie, in order along the scan, each file once."""
        return tuple(dict.fromkeys(frame.file for frame in self.layout.frames))

    def header(self) -> Header:
        """What is known of it before its values are read."""
        frames = self.layout.frames
        kind = np.dtype(pixels.value_type(frames)).name
        channels = pixels.channels_of(frames[0].coding)
        return Header("DICOM", kind, self.geometry, channels=channels)

    def read_stored(self) -> StoredScan:
        """Its values, of an integer type where rescaling leaves them whole numbers, else float32.

        Raises:
            InputError: a file is damaged or of an unknown compression.
        """
        return StoredScan(pixels.read_values(self.layout.frames), self.header())

    def read(self) -> Volume:
        """Its values as float32 on their grid.

        Raises:
            InputError: a file is damaged or of an unknown compression.
        """
        return Volume(self.read_stored().array.astype(np.float32), self.geometry)


@dataclass(frozen=True)
class DicomFolder:
    """What was found.

    Args:
        path: where.
        series: the scans, in order of their names.
        notes: what was refused and why, then what was skipped, one sentence each.
        segmentations: DICOM segmentation objects met on the way.
    """

    path: Path
    series: tuple[DicomSeries, ...]
    notes: tuple[str, ...]
    segmentations: tuple[DicomFile, ...] = ()

    def pick(self, name: str | None) -> DicomSeries:
        """The series of that name, or the only one.

        Raises:
            InputError: there is none, none of that name, or several to choose from.
        """
        found = [series for series in self.series if name in {None, series.name}]
        if len(found) == 1:
            return found[0]
        if not self.series:
            raise InputError(self.notes[0] if self.notes else f"no DICOM scan found in {self.path}")
        names = ", ".join(series.name for series in self.series)
        what = f"holds {len(found)} series" if found else f"has no series {name}"
        raise InputError(f"{self.path} {what}; choose one of {names}")


def find_series(path: Path) -> DicomFolder:
    """Find the scans in a folder tree or a zip archive, or the whole series that a file belongs to.

    Args:
        path: of a single file, its folder is searched for the other slices of its series.

    Raises:
        InputError: the path is not there, or the archive is damaged or cannot be trusted.
    """
    if not path.is_dir():
        check_file(path)
    files = list(dicom_files(path))
    frames, skipped = _headers(files)
    if path.is_file() and files == [DicomFile(path)] and frames and frames[0].index < 0:
        siblings = (file for file in dicom_files(path.parent) if file != files[0] and file.path.parent == path.parent)
        same, _ = _headers(siblings)
        frames += [frame for frame in same if frame.origin.series == frames[0].origin.series]
    series, refused = _judged(frames, skipped)
    notes = (*refused, *(_skip_note(kind, of_kind) for kind, of_kind in skipped.items()), *_passed_over(path))
    segmentations = tuple(skipped.get(kinds.SEGMENTATION, ()))
    return DicomFolder(path, tuple(sorted(series, key=lambda one: one.name)), notes, segmentations)


def header(path: Path, options: ReadOptions) -> Header:
    """What the chosen series of ``path`` says of itself.

    Raises:
        InputError: there is no such series, or it is on no regular grid.
    """
    return find_series(path).pick(options.series).header()


def read(path: Path, options: ReadOptions) -> StoredScan:
    """The values of the chosen series of ``path``.

    Raises:
        InputError: there is no such series, it is on no regular grid, or a file is damaged.
    """
    return find_series(path).pick(options.series).read_stored()


def _headers(files: Iterable[DicomFile]) -> tuple[list[Frame], dict[str, list[DicomFile]]]:
    """The frames of all files, and the files that are no scans by what they are."""
    frames: list[Frame] = []
    skipped: dict[str, list[DicomFile]] = {}
    for file in files:
        try:
            frames += read_frames(file)
        except SkippedError as kind:
            skipped.setdefault(str(kind), []).append(file)
    return frames, skipped


def _skip_note(kind: str, files: Sequence[DicomFile]) -> str:
    more = "" if len(files) == 1 else f" and {len(files) - 1} more"
    if kind == kinds.SEGMENTATION:
        return f"{files[0]}{more} taken as labels, not as scans: {kind}"
    return f"{files[0]}{more} skipped: {kind}{_ADVICE.get(kind, ', which are no scans')}"


def _passed_over(path: Path) -> list[str]:
    """That an archive holds volumes beside its DICOM files."""
    others = volumes_in(path) if path.is_file() and is_zip(path) else []
    if not others:
        return []
    what = f"{others[0]} was" if len(others) == 1 else f"{others[0]} and {len(others) - 1} more were"
    return [f"{what} not looked into, beside the DICOM files of {path.name}; unpack it and give the folder"]


def _refuse_cut_off(frames: Sequence[Frame]) -> None:
    cut = list(dict.fromkeys(frame.file for frame in frames if frame.cut_off))
    if cut:
        more = "" if len(cut) == 1 else f" and of {len(cut) - 1} more"
        raise InputError(f"the pixels of {cut[0]}{more} are cut off or missing; copy or export it anew")


def _beside(frames: Sequence[Frame], lost: Mapping[str, Sequence[DicomFile]]) -> str:
    """That files in the folders of these slices could not be read, and may be among those that are missing."""
    folders = {frame.file.folder for frame in frames}
    near = [(kind, file) for kind in _MAY_BE_SLICES for file in lost.get(kind, ()) if file.folder in folders]
    if not near:
        return ""
    more = "" if len(near) == 1 else f" and {len(near) - 1} more"
    return f"; {near[0][1]}{more} beside them may be slices, but were skipped as {near[0][0]}"


def _judged(frames: Sequence[Frame], lost: Mapping[str, Sequence[DicomFile]]) -> tuple[list[DicomSeries], list[str]]:
    """The scans of all series, and for each stack that is none the reason; ``lost`` are files that could be slices."""
    by_series: dict[tuple[str, ...], list[Frame]] = {}
    for frame in frames:
        by_series.setdefault(frame.origin.series, []).append(frame)
    found: list[DicomSeries] = []
    refused: list[str] = []
    bases: Counter[str] = Counter()
    for of_series in by_series.values():
        base = _name(of_series)
        bases[base] += 1
        base += f"_copy{bases[base]}" if bases[base] > 1 else ""
        for stack in split(of_series):
            try:
                if isinstance(stack, InputError):
                    raise stack
                _refuse_cut_off(stack.frames)
                layout = lay_out(stack.frames)
            except InputError as error:
                refused.append(f"{base} refused: {error}{_beside(of_series, lost)}")
                continue
            notes = (*stack.notes, *layout.notes, *_value_notes(stack))
            found.append(DicomSeries(base + stack.suffix, layout, notes))
    return found, refused


def _name(frames: Sequence[Frame]) -> str:
    """Such as ``CT_s003_1f0c9d2ab4``: no text of the file appears in it."""
    origin = frames[0].origin
    identifier = origin.series[0] or min(frame.origin.image or repr(frame.plane) for frame in frames)
    number = "" if origin.number is None else f"_s{origin.number:03d}"
    return f"{origin.modality}{number}_{hashlib.sha256(identifier.encode()).hexdigest()[:10]}"


def _value_notes(stack: Stack) -> list[str]:
    first = stack.frames[0]
    if pixels.is_inverted(first):
        return ["its values grew from white to black (MONOCHROME1) and were inverted"]
    if first.coding.photometric == "MONOCHROME1":
        return ["it is meant to be shown with white as its lowest value (MONOCHROME1); its values were kept"]
    if pixels.channels_of(first.coding) == 3:
        return ["its colours became three channels: red, green, blue"]
    return []
