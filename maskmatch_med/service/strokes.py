"""Strokes: what a painter in the browser sends and gets, box by box, on scans of any size."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar

from maskmatch_med.errors import MaskMatchError, StudyError
from maskmatch_med.study import (
    Box,
    Draft,
    Drafts,
    LabelVersion,
    OpenedDrafts,
    Painter,
    Painting,
    Study,
    classes_of,
    origin_of,
    packed_voxels,
    refuse_other_classes,
    values_now,
)
from maskmatch_med.study.opened import Stamp, stamp_of
from maskmatch_med.study.relabelling import DRAFT, is_relabelling_unfinished
from maskmatch_med.volume import Shape3

_T = TypeVar("_T")
_opened = OpenedDrafts()
_settled: dict[Path, Stamp | None] = {}


@dataclass(frozen=True)
class DraftState:
    """How a draft stands, without its voxels.

    Args:
        revision: counts the saves.
        shape: (X, Y, Z) voxels.
        parent: the label version that it goes on from.
        model: the model whose prediction it started from.
        complete: whether every voxel is judged.
        unsaved: whether it holds something that no version holds.
        author: who saved last.
        saved: when, UTC in ISO 8601.
        newer: a version that was made meanwhile by other ways.
        classes: the names of the classes 1, 2, …, in whose numbers its voxels are.
        origin: tells the scan from any other of its name.
    """

    revision: int
    shape: Shape3
    parent: str | None
    model: str | None
    complete: bool
    unsaved: bool
    author: str
    saved: str
    newer: str | None
    classes: tuple[str, ...]
    origin: str

    @classmethod
    def of(cls, draft: Draft, classes: tuple[str, ...], origin: str) -> DraftState:
        """That of a draft in the numbers of some classes."""
        x, y, z = draft.labels.shape
        return cls(
            draft.revision,
            (x, y, z),
            draft.parent,
            draft.model,
            draft.complete,
            draft.unsaved,
            draft.author,
            draft.saved,
            draft.newer,
            classes,
            origin,
        )


@dataclass(frozen=True)
class PackedDraft:
    """A draft as it travels.

    Args:
        state: how it stands.
        voxels: gzip of X·Y·Z labels (x fastest), then of the judged voxels as bits, the lowest bit of a byte first.
    """

    state: DraftState
    voxels: bytes


@dataclass(frozen=True)
class Saved:
    """What a save has led to.

    Args:
        revision: that the next save goes on from.
        saved: when, UTC in ISO 8601.
    """

    revision: int
    saved: str


@dataclass(frozen=True)
class ClassesNow:
    """What became of classes.

    Args:
        classes: the names of the classes 1, 2, … of the study.
        values: of each class asked about its value now; None where it is gone.
    """

    classes: tuple[str, ...]
    values: tuple[int | None, ...]


def scan_shape(study: Path, case: str) -> Shape3:
    """The voxels of a scan along each axis of its file.

    Raises:
        InputError, StudyError: there is no such scan.
    """
    return Drafts(Study.at(study)).case(case).shape


def packed_draft(study: Path, case: str) -> PackedDraft:
    """What is painted on a scan, packed for the browser; the study need not be writable.

    Raises:
        InputError, StudyError: there is no such scan.
    """

    def packed(draft: Draft) -> PackedDraft:
        state = DraftState.of(draft, classes_of(study), origin_of(Study.at(study), case))
        return PackedDraft(state, packed_voxels(draft))

    return look_at_draft(study, case, packed)


def look_at_draft(study: Path, case: str, of: Callable[[Draft], _T]) -> _T:
    """What a function makes of a scan's draft; it must keep none of its arrays.

    Raises:
        InputError, StudyError: there is no such scan.
    """
    return _painting(study).look(case, of)


def save_box(study: Path, case: str, revision: int, box: Box, painter: Painter) -> Saved:
    """Keep what was painted in a box of a scan; it is on disk when this returns.

    Args:
        study: its folder.
        case: the scan.
        revision: that of the draft which was painted on.
        box: the voxels.
        painter: who painted.

    Raises:
        InputError: the box or a value in it does not fit the scan and the classes.
        ConflictError: another window saved first.
        DiskFullError, ReadOnlyError, StudyError: the study cannot be written.
    """
    draft = _painting(study).save(case, revision, box, painter)
    return Saved(draft.revision, draft.saved)


def save_box_over(study: Path, case: str, box: Box, painter: Painter) -> Saved:
    """Keep a whole scan in a conflict; what the other window has painted becomes a version first.

    Raises:
        InputError: the box is not the whole scan, or a value in it is no class.
        ClassesError: a value means another class by now.
        DiskFullError, ReadOnlyError, StudyError: the study cannot be written.
    """
    opened = Study.open(study)
    with opened.editing():  # so that nobody changes the classes meanwhile
        refuse_other_classes(study, painter.classes)
        draft = Drafts(opened).save_over(case, box.labels, box.judged, painter.author)
    return Saved(draft.revision, draft.saved)


def draft_revision(study: Path, case: str) -> int:
    """The revision that the next save of a scan goes on from.

    Raises:
        InputError, StudyError: there is no such scan.
    """
    return look_at_draft(study, case, lambda draft: draft.revision)


def save_idle_labels(study: Path, minutes: float = 5.0) -> list[LabelVersion]:
    """Make label versions of the drafts on which nobody has painted for some minutes.

    Raises:
        StudyError: the study cannot be opened, or a draft became no version; those of the others are made all the same.
    """
    drafts, made, failed = Drafts(Study.open(study)), list[LabelVersion](), list[MaskMatchError]()
    limit = datetime.now(UTC) - timedelta(minutes=minutes)
    for journal in sorted((Path(study) / "drafts").glob(f"[!.]*/{DRAFT}")):
        stamp = stamp_of(journal)
        if stamp is None or stamp == _settled.get(journal):
            continue
        header = drafts.journal(journal.parent.name).last_header()
        if header is None or not header.get("unsaved"):
            _settled[journal] = stamp
        elif datetime.fromisoformat(header["saved"]) <= limit:
            try:
                made += [version] if (version := drafts.make_version(journal.parent.name)) else []
            except MaskMatchError as error:
                failed.append(error)
    if failed:
        raise StudyError("; ".join(str(error) for error in failed))
    return made


def classes_now(study: Path, classes: Sequence[str]) -> ClassesNow:
    """The classes of a study, and what became of those in whose numbers somebody has painted.

    Args:
        study: its folder.
        classes: the names of the classes 1, 2, … as they were once.
    """
    return ClassesNow(classes_of(study), tuple(values_now(study, classes)))


def _painting(study: Path) -> Painting:
    cut_short = is_relabelling_unfinished(study) and os.access(study, os.W_OK)
    return Painting(Drafts(Study.open(study) if cut_short else Study.at(study)), _opened)
