"""The JSON sidecars of a study: where a case came from, and what a label version is."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from maskmatch_med.errors import NewerError, StudyError
from maskmatch_med.io import LabelMap, MaskCode, read_labels
from maskmatch_med.io.atomic import write_text
from maskmatch_med.io.labels import UNJUDGED
from maskmatch_med.version import __version__

Judged = Literal["none", "partial", "complete"]
STARTED_FROM = "started from the prediction of "
"""How the note of a label version begins that names the model whose prediction it was started from."""
_Model = TypeVar("_Model", bound=BaseModel)


class _Frozen(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class MaskColours(_Frozen):
    """How the pixels of an imported mask became classes; the fields of :class:`maskmatch_med.io.MaskCode`."""

    kind: Literal["index", "levels", "colours"]
    levels: tuple[int, ...] = ()
    colours: tuple[tuple[int, int, int], ...] = ()

    def code(self) -> MaskCode:
        """The code that decodes further masks in the same way."""
        return MaskCode(self.kind, self.levels, self.colours)


class SourceRecord(_Frozen):
    """Where a case came from; stored as ``sources/CASE.json``.

    Args:
        source_name: file name of the first channel.
        format: such as ``nifti`` or ``png``; ``array`` for a scan handed over in memory.
        is_raster: whether the source is a 2D picture.
        sha256: one hash a source file, of its bytes.
        shape: (X, Y, Z) voxels.
        group: the patient group that must stay in one fold.
        notes: what was changed on the way in, in sentences.
        frames: which entries of a fourth axis became channels, counted from 0; None where none were chosen.
        label_name: file name of the imported label.
        label_sha256: hash of the imported label's bytes.
        mask_colours: how an imported mask's pixels became classes.
        label_values: the values of each class in the imported label; None where they were the classes themselves.
        added: when it was taken in, UTC in ISO 8601; None where that was not noted.
    """

    source_name: str
    format: str
    is_raster: bool = False
    sha256: tuple[str, ...] = ()
    shape: tuple[int, int, int]
    group: str | None = None
    notes: tuple[str, ...] = ()
    frames: tuple[int, ...] | None = None
    label_name: str | None = None
    label_sha256: str | None = None
    mask_colours: MaskColours | None = None
    label_values: dict[str, tuple[int, ...]] | None = None
    added: str | None = None


class LabelVersion(_Frozen):
    """One version of a case's label: ``history/CASE/VERSION.nii.gz`` and ``VERSION.json``; never changed once made.

    Args:
        case: name of the case.
        version: ``"0001"``, ``"0002"``, … in the order of making.
        created: UTC time in ISO 8601.
        author: who made it; may be empty.
        source: such as ``human``, ``import``, ``model accepted``, ``model corrected``, ``edited elsewhere``.
        parent: the version it was made from.
        complete: whether every voxel is judged.
        label_names: class names and values at the time.
        sha256: hash of the NIfTI file's bytes.
        path: the NIfTI file; 255 = not judged.
        notes: what was changed on the way in, in sentences.
    """

    case: str
    version: str
    created: str
    author: str
    source: str
    parent: str | None
    complete: bool
    label_names: dict[str, int]
    sha256: str
    path: Path = Field(exclude=True)
    notes: tuple[str, ...] = ()

    @property
    def judged(self) -> Judged:
        """Whether all voxels of the scan are judged, or only a part."""
        return "complete" if self.complete else "partial"

    @property
    def model(self) -> str | None:
        """The model whose prediction it was started from, as the notes say; None where it was started from none."""
        told = (note.removeprefix(STARTED_FROM) for note in self.notes if note.startswith(STARTED_FROM))
        return next(told, None)

    def read(self) -> LabelMap:
        """Read the labels: (X, Y, Z) uint8, 255 = not judged."""
        return read_labels(self.path, unjudged=UNJUDGED)


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def save_record(path: Path, record: BaseModel) -> None:
    """Write a sidecar atomically as indented JSON."""
    write_text(path, record.model_dump_json(indent=1) + "\n")


def load_record(sidecar: Path, model: type[_Model], **extra: object) -> _Model:
    """Read a sidecar; ``extra`` fills fields that are not stored.

    Raises:
        NewerError: a newer version of the program has written it.
        StudyError: it is missing or damaged.
    """
    try:
        content = json.loads(sidecar.read_text(encoding="utf-8"))
        return model.model_validate({**content, **extra})
    except (OSError, ValueError, TypeError) as error:
        refuse_newer(sidecar, error)
        raise StudyError(f"{sidecar} is missing or damaged; run `maskmatch check --repair` on the study") from error


def refuse_newer(path: Path, error: Exception) -> None:
    """Say so where a file could not be used because it has fields that only a newer version of the program knows.

    Args:
        path: the file.
        error: what was raised when its content was taken apart.

    Raises:
        NewerError: it has such fields.
    """
    faults = error.errors() if isinstance(error, ValidationError) else []
    unknown = [str(fault["loc"][-1]) for fault in faults if fault["type"] == "extra_forbidden"]
    if unknown:
        raise newer(path, f"holds {', '.join(unknown)}") from error


def newer(path: Path, what: str) -> NewerError:
    """The error for a file that a newer version of the program has written; ``what`` tells it from older ones."""
    return NewerError(
        f"{path} {what}, which maskmatch-med {__version__} does not know: a newer version of the program has written "
        "it. It is not damaged; open the study with that version, or a later one"
    )
