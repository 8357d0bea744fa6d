"""Read the scans of a source: which files can stay as they are, what was changed in the others, and their hashes."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from maskmatch_med.errors import InputError
from maskmatch_med.io.formats import ReadOptions, format_of
from maskmatch_med.io.nifti import is_nifti
from maskmatch_med.io.rasters import is_raster
from maskmatch_med.io.volumes import read_header, read_stored, read_volume
from maskmatch_med.study.pairing import FoundCase
from maskmatch_med.study.records import file_sha256
from maskmatch_med.volume import Volume

_SEVERAL_FILES = (".hdr", ".img", ".hdr.gz", ".img.gz", ".head", ".brik", ".brik.gz", ".nhdr", ".mhd")
"""Endings of files that are one of several that make up a scan."""


@dataclass(frozen=True)
class SourceReader:
    """How the scans of one source are read.

    Args:
        frames: which entries of a fourth axis to take as channels, ``all`` or some; None where none was chosen.
        magnitude: read complex values as their magnitude.
        channels: how many channels a scan has, where that is known: a fourth axis of that length holds them.
    """

    frames: tuple[int, ...] | Literal["all"] | None = None
    magnitude: bool = False
    channels: int | None = None

    def read(self, case: FoundCase) -> Volume:
        """Read a scan; a 4D file, as MSD has them, is split into its channels.

        Raises:
            InputError: a file cannot be used.
        """
        return case.series.read() if case.series else read_volume(case.files, options=self._options(case))

    def as_stored(self, case: FoundCase) -> Sequence[Path] | None:
        """The files of a scan where each can be a channel of the study as it is, else None.

        Raises:
            InputError: a header cannot be used.
        """
        if case.series or case.is_raster or self._chosen is not None:
            return None
        return case.files if all(serves_as_it_is(path) for path in case.files) else None

    def frames_of(self, case: FoundCase, *, every: bool = False) -> tuple[int, ...] | None:
        """Which entries of its fourth axis were chosen; None where none were, or it has no such axis.

        Args:
            case: the scan.
            every: count a choice of all of them as one.

        Raises:
            InputError: a header cannot be used, or a frame is not there.
        """
        chosen = self.frames if every else self._chosen
        if chosen is None or case.series or case.is_raster:
            return None
        count = read_header(case.files[0]).frames
        return self._options(case).choose(case.files[0], count) if count > 1 else None

    def notes(self, case: FoundCase) -> tuple[str, ...]:
        """What reading changes in a scan, in sentences.

        Raises:
            InputError: a header cannot be used.
        """
        if case.series:
            return case.series.notes
        if case.is_raster:
            return ()
        found = [(path, read_header(path, self._options(case))) for path in case.files]
        notes = []
        for path, header in found:
            if header.frames > 1 and self._chosen is not None:
                chosen = ", ".join(str(frame) for frame in self._chosen)
                notes.append(f"of the {header.frames} frames of {path.name} only {chosen} were taken, counted from 0")
            if header.dtype.startswith("complex"):
                notes.append(f"{path.name} holds complex values, of which the magnitude was taken")
            if not header.placed:
                notes.append(f"{path.name} states no position in the world, so which side is left is a guess")
            if not header.geometry.same_grid(found[0][1].geometry):
                notes.append(f"{path.name} was resampled to the grid of {case.files[0].name}")
        return tuple(notes)

    @property
    def _chosen(self) -> tuple[int, ...] | None:
        return None if self.frames == "all" else self.frames

    def _options(self, case: FoundCase) -> ReadOptions:
        channels = self.channels if self.channels and self.channels > 1 else None
        if (case.stacked or self.frames == "all") and len(case.files) == 1 and not case.is_raster:
            channels = read_header(case.files[0]).frames
        if len(case.files) > 1:
            channels = None
        return ReadOptions(frames=self._chosen, magnitude=self.magnitude, channels=channels)


def serves_as_it_is(path: Path) -> bool:
    """Whether a file can be a channel of a study byte for byte: NIfTI of one number a voxel and one volume.

    Raises:
        InputError: the header cannot be used.
    """
    if not is_nifti(path):
        return False
    header = read_header(path)
    return header.frames == 1 and header.channels == 1 and not header.dtype.startswith("complex")


def source_format(case: FoundCase) -> str:
    """Short name of a scan's format."""
    return "dicom" if case.series else short_format(case.files[0])


def short_format(path: Path) -> str:
    """Short name of a file's format: ``nifti``, ``nrrd``, ``png``, …"""
    if is_nifti(path):
        return "nifti"
    row = format_of(path)
    return path.suffix.lower().lstrip(".") if row is None or is_raster(path) else row.name.split()[-1].lower()


def source_name(case: FoundCase) -> str:
    """What to remember of where a scan came from: no name of a DICOM file, which may tell who the patient is."""
    return case.series.name if case.series else case.files[0].name


def label_name(path: Path) -> str:
    """What to remember of where a label came from; as :func:`source_name`."""
    row = format_of(path)
    return "DICOM segmentation" if row is not None and row.name == "DICOM" else path.name


def content_sha256(path: Path) -> str:
    """A hash of what a file says: of its bytes, or of its values and grid where they lie in several files.

    Raises:
        InputError: the values cannot be read.
    """
    if not path.name.lower().endswith(_SEVERAL_FILES):
        return file_sha256(path)
    found = read_header(path)
    count = None if found.frames == 1 else tuple(range(found.frames))
    stored = read_stored(path, ReadOptions(frames=count, magnitude=True))
    digest = hashlib.sha256(stored.geometry.affine.tobytes())
    digest.update(repr((stored.array.shape, stored.array.dtype.str)).encode())
    digest.update(stored.array.tobytes())
    return digest.hexdigest()


def case_sha256(case: FoundCase) -> tuple[str, ...]:
    """One hash a source file; for a DICOM series one of all its files.

    Raises:
        InputError: a file is missing or cannot be read.
    """
    if case.series is None:
        for path in case.files:
            if not path.is_file():
                raise InputError(f"there is no file {path}, which dataset.json lists")
        return tuple(content_sha256(path) for path in case.files)
    digest = hashlib.sha256(case.series.name.encode())
    for file in case.series.files:
        with file.open() as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    return (digest.hexdigest(),)
