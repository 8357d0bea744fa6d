"""Painting on a draft stroke by stroke: a box of voxels in, the whole draft out, quick on scans of any size."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from maskmatch_med.errors import InputError, StudyError
from maskmatch_med.study import draft as drafting
from maskmatch_med.study.case import Case
from maskmatch_med.study.draft import Box, Draft
from maskmatch_med.study.drafts import Drafts, refuse_conflict
from maskmatch_med.study.numbering import refuse_other_classes
from maskmatch_med.study.opened import OpenedDraft, OpenedDrafts

_T = TypeVar("_T")
_V = TypeVar("_V", np.uint8, np.bool_)
_CHUNK = 1 << 23
"""Voxels that are packed at a time; a multiple of 8."""
_LONG_JOURNAL = 4 << 20
"""Bytes of strokes after which a journal is written anew, as one entry."""


@dataclass(frozen=True)
class Painter:
    """Who paints.

    Args:
        author: their name.
        window: which of their windows, by a name that it has given itself; empty where it has none.
        classes: the names of the classes 1, 2, … in whose numbers they paint; None where that is not told.
    """

    author: str = ""
    window: str = ""
    classes: tuple[str, ...] | None = None


class Painting:
    """The drafts of one study, as a server paints on them.

    Args:
        drafts: the drafts.
        opened: what the process keeps of them.
    """

    def __init__(self, drafts: Drafts, opened: OpenedDrafts) -> None:
        self._drafts = drafts
        self._opened = opened

    def look(self, name: str, of: Callable[[Draft], _T]) -> _T:
        """What a function makes of a scan's draft; it must keep none of its arrays.

        Raises:
            StudyError: there is no such scan.
        """
        case = self._drafts.case(name)
        if not self._drafts.may_write:
            return of(self._drafts.current(case, begin=False)[0])
        with self._drafts.held(name):
            refuse_other_classes(self._drafts.study.root, None)
            return of(self._current(case).draft)

    def save(self, name: str, revision: int, box: Box, painter: Painter) -> Draft:
        """Keep what was painted in a box; it is on disk when this returns.

        The same box sent once more, because the answer to the first sending was lost, changes nothing.

        Args:
            name: the scan.
            revision: that of the draft which was painted on.
            box: the voxels; painted ones count as judged where no prediction was the start.
            painter: who painted.

        Returns:
            The draft as it is now; its arrays are not to be kept.

        Raises:
            InputError: the box or a value in it does not fit the scan and the classes.
            ConflictError: another window saved first.
            ClassesError: a value means another class by now.
            DiskFullError, ReadOnlyError, StudyError: the study cannot be written.
        """
        case = self._drafts.case(name)
        with self._drafts.held(name):
            refuse_other_classes(self._drafts.study.root, painter.classes)
            self._refuse_unfit(case, box)
            opened = self._current(case)
            old = opened.draft
            if old.model is None:
                box = replace(box, judged=box.judged | (box.labels > 0))
            painted = not np.array_equal(old.labels[box.place], box.labels)
            same = not painted and np.array_equal(old.judged[box.place], box.judged)
            if not (same and old.revision == revision + 1):
                refuse_conflict(old, revision, painter.window)
            if same:
                return old
            new = old.next(painted, painter.author, painter.window)
            self._write(opened, new, box)
            return new

    def _write(self, opened: OpenedDraft, new: Draft, box: Box) -> None:
        """On disk first, in memory then; a long journal is written anew."""
        journal = self._drafts.journal(new.case)
        self._opened.forget(journal.path)
        before, opened.end = opened.end, journal.append(drafting.painted_box(new, box), opened.end)
        opened.appended += opened.end - before
        new.labels[box.place], new.judged[box.place] = box.labels, box.judged
        opened.draft = new
        if opened.appended > _LONG_JOURNAL:
            with suppress(StudyError):  # the strokes are kept in any case
                opened.end, opened.appended = journal.start([drafting.whole(new)]), 0
        self._opened.keep(journal.path, opened)

    def _current(self, case: Case) -> OpenedDraft:
        """The draft of a scan whose lock is held, from memory where its journal is as it was left."""
        path = self._drafts.journal(case.name).path
        newest = case.label.version if case.label else None
        opened = self._opened.find(path)
        if opened is None or not (opened.draft.parent == newest or opened.draft.unsaved):
            draft, end = self._drafts.current(case)
            labels, judged = np.asfortranarray(draft.labels), np.asfortranarray(draft.judged)
            opened = OpenedDraft(replace(draft, labels=labels, judged=judged), end)
            self._opened.keep(path, opened)
        else:
            opened.draft = replace(opened.draft, newer=None if opened.draft.parent == newest else newest)
        return opened

    def _refuse_unfit(self, case: Case, box: Box) -> None:
        sizes = box.labels.shape
        inside = all(low >= 0 and low + n <= whole for low, n, whole in zip(box.corner, sizes, case.shape, strict=True))
        if not inside or min(sizes) < 1:
            raise InputError(
                f"a box of {sizes} voxels at {box.corner} does not lie in {case.name}, which has {case.shape}; "
                "load the scan again"
            )
        self._drafts.refuse_unknown(case, box.labels)


def packed_voxels(draft: Draft) -> bytes:
    """The voxels of a draft as gzip: X·Y·Z labels, x fastest, then the judged ones as bits, the lowest bit first."""
    gzip = zlib.compressobj(1, wbits=31)
    labels, judged = draft.labels.ravel(order="F"), draft.judged.ravel(order="F")
    parts = [gzip.compress(part.data) for part in _chunks(labels)]
    parts += [gzip.compress(np.packbits(part, bitorder="little").data) for part in _chunks(judged)]
    return b"".join([*parts, gzip.flush()])


def _chunks(flat: NDArray[_V]) -> Iterator[NDArray[_V]]:
    for start in range(0, flat.size, _CHUNK):
        yield flat[start : start + _CHUNK]
