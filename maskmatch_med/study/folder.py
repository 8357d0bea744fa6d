"""Where the files of a study's cases lie, and which cases there are."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from maskmatch_med.errors import NewerError, StudyError
from maskmatch_med.io import nifti
from maskmatch_med.study import versions
from maskmatch_med.study.case import Case
from maskmatch_med.study.records import SourceRecord, load_record, save_record

_IMAGE = re.compile(r"^(?P<name>.+)_(?P<channel>\d{4})\.nii\.gz$")


@dataclass(frozen=True)
class CaseFolder:
    """The files of all cases.

    Args:
        root: the study.
        channels: number of channels of a scan.
    """

    root: Path
    channels: int

    def names(self) -> list[str]:
        """Names of all cases with every channel present, in order; only file names are looked at."""
        found: dict[str, set[int]] = {}
        for name, channel in self._images():
            found.setdefault(name, set()).add(channel)
        return sorted(name for name, channels in found.items() if channels >= set(range(self.channels)))

    def incomplete_names(self) -> list[str]:
        """Cases of which a channel is missing: an import was cut short, or files were deleted."""
        started = {name for name, _ in self._images()}
        started |= {path.stem for path in (self.root / "sources").glob("[!.]*.json")}
        return sorted(started - set(self.names()))

    def image_paths(self, name: str) -> tuple[Path, ...]:
        """One file a channel; they need not exist."""
        return tuple(self.root / "imagesTr" / f"{name}_{c:04d}.nii.gz" for c in range(self.channels))

    def sidecar(self, name: str) -> Path:
        """The file that says where the case came from."""
        return self.root / "sources" / f"{name}.json"

    def source(self, name: str) -> SourceRecord | None:
        """Where the case came from; None where it was put into the folder by another program.

        Raises:
            StudyError: the sidecar is damaged.
        """
        return load_record(self.sidecar(name), SourceRecord) if self.sidecar(name).is_file() else None

    def source_or_image(self, name: str) -> SourceRecord:
        """Where the case came from; what its first image tells where nothing was recorded.

        Raises:
            StudyError: the sidecar is damaged.
            InputError: there is no sidecar and the image cannot be read.
        """
        return self.source(name) or self._told_from_image(name)

    def restore_sidecar(self, name: str) -> bool:
        """Write a missing or damaged sidecar anew from the image; whether that was needed.

        Raises:
            NewerError: a newer version of the program has written it; it stays as it is.
        """
        try:
            if self.source(name) is not None:
                return False
        except NewerError:
            raise
        except StudyError:
            pass
        save_record(self.sidecar(name), self._told_from_image(name))
        return True

    def load(self, name: str) -> Case:
        """The case of that name, which must have all its channels."""
        record = self.source_or_image(name)
        version = versions.latest_name(self.root, name)
        return Case(
            name=name,
            image_paths=self.image_paths(name),
            shape=record.shape,
            group=record.group,
            source_name=record.source_name,
            is_raster=record.is_raster,
            label=versions.load_version(self.root, name, version) if version else None,
        )

    def _images(self) -> Iterator[tuple[str, int]]:
        folder = self.root / "imagesTr"
        for path in folder.iterdir() if folder.is_dir() else ():
            match = _IMAGE.match(path.name)
            if match and not path.name.startswith("."):
                yield match["name"], int(match["channel"])

    def _told_from_image(self, name: str) -> SourceRecord:
        path = self.image_paths(name)[0]
        return SourceRecord(source_name=path.name, format="nifti", shape=nifti.read_geometry(path).shape)
