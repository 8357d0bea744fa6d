"""Which studies this server shows. Scans, masks and references may be added from other folders, by their paths."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from maskmatch_med import service
from maskmatch_med.errors import StudyError

STUDY = "MASKMATCH_APP_STUDY"
FOLDER = "MASKMATCH_APP_FOLDER"
"""Names of the environment variables by which the command line tells the server."""
DEMO = "Demo"
"""The folder of the demo study."""


@dataclass(frozen=True)
class Shelf:
    """The studies that may be opened.

    Args:
        folder: where studies lie, and new ones are made.
        only: the one study to show, where one was named.
    """

    folder: Path
    only: Path | None = None

    @classmethod
    def from_environment(cls) -> Shelf:
        """The shelf that the command line has set up."""
        only = os.environ.get(STUDY)
        folder = Path(os.environ.get(FOLDER) or Path.home() / "maskmatch")
        return cls(folder, Path(only) if only else None)

    def studies(self) -> dict[str, Path]:
        """The studies by the name of their folder."""
        if self.only is not None:
            return {self.only.name: self.only}
        return {path.name: path for path in service.studies_in(self.folder)}

    def path(self, key: str) -> Path:
        """Where a study lies; it need not hold a scan yet.

        Raises:
            StudyError: it is not on the shelf.
        """
        if self.only is not None:
            if key == self.only.name:
                return self.only
        elif is_study_name(key):
            return self.folder / key
        raise StudyError(f"there is no study {key!r} here")


def is_study_name(name: str) -> bool:
    """Whether a new study may have this name: letters, digits, spaces, dots, hyphens and underscores."""
    plain = all(character.isalnum() or character in " ._-" for character in name)
    return 0 < len(name) <= 80 and plain and name[0].isalnum() and name[-1] not in ". "


def staging(root: Path) -> Path:
    """Where what is uploaded for a study lies until it is taken in: beside it, on the same disk."""
    return root.parent / f".{root.name}.uploads"


def arrived(root: Path, drop: str = "") -> Path:
    """Uploads of one drop that are whole; the folder has the study's name, which a new study takes from it."""
    return staging(root) / drop / root.name
