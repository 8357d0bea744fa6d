"""The scans of a folder, an archive or a file, found, judged and read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from maskmatch_med.errors import InputError
from maskmatch_med.io.dicom.source import DicomFile, dicom_files
from maskmatch_med.io.formats import Header, ReadOptions, StoredScan
from maskmatch_med.volume import Geometry, Volume


@dataclass(frozen=True)
class DicomSeries:
    """One stack of slices on a regular grid.

    Args:
        name: safe as a file name and without personal data: modality, number of the series, hash of its identifier.
        files: where its slices lie, in order along the scan, each file once.
        geometry: the grid.
        notes: what was done with it that its owner should know, one sentence each.
    """

    name: str
    files: tuple[DicomFile, ...]
    geometry: Geometry
    notes: tuple[str, ...]

    def header(self) -> Header:
        """What is known of it before its values are read."""
        raise InputError(f"{self.files[0]} cannot be read yet")

    def read_stored(self) -> StoredScan:
        """Its values, of an integer type where rescaling leaves them whole numbers, else float32.

        Raises:
            InputError: a file is damaged or of an unknown compression.
        """
        raise InputError(f"{self.files[0]} cannot be read yet")

    def read(self) -> Volume:
        """Its values as float32 on their grid.

        Raises:
            InputError: a file is damaged or of an unknown compression.
        """
        stored = self.read_stored()
        return Volume(stored.array.astype(np.float32), stored.geometry)


@dataclass(frozen=True)
class DicomFolder:
    """What was found.

    Args:
        path: where.
        series: the scans, in order of their names.
        notes: what was skipped or refused and why, one sentence each.
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
    """Find the scans in a folder tree, a zip archive, or of the series that a file belongs to.

    Raises:
        InputError: the path is not there, or the archive cannot be trusted.
    """
    files = list(dicom_files(path))
    return DicomFolder(path, (), tuple(f"{file} cannot be read yet" for file in files))


def header(path: Path, options: ReadOptions) -> Header:
    """What the chosen series of ``path`` says of itself."""
    return find_series(path).pick(options.series).header()


def read(path: Path, options: ReadOptions) -> StoredScan:
    """The values of the chosen series of ``path``."""
    return find_series(path).pick(options.series).read_stored()
