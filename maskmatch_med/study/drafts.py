"""The drafts of a study: ``drafts/CASE/draft.journal``. No stroke that was acknowledged is ever lost.

A save is on disk before it is acknowledged, and names the revision that it goes on from: whoever saves second is told
of the conflict. Drafts become label versions by :meth:`Drafts.make_version`; training reads versions alone.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np

from maskmatch_med.errors import ConflictError, InputError, not_written
from maskmatch_med.io import LabelMap, nifti
from maskmatch_med.io.labels import UNJUDGED
from maskmatch_med.study import admission, versions
from maskmatch_med.study import draft as drafting
from maskmatch_med.study.case import Case
from maskmatch_med.study.draft import Draft, Labels, Mask
from maskmatch_med.study.journal import Journal
from maskmatch_med.study.lock import FolderLock
from maskmatch_med.study.records import LabelVersion
from maskmatch_med.study.relabelling import DRAFT
from maskmatch_med.study.study import Study
from maskmatch_med.study.versions import Authorship


class Drafts:
    """The drafts of one study.

    Args:
        study: an open study.
    """

    def __init__(self, study: Study) -> None:
        self.study = study

    @property
    def may_write(self) -> bool:
        """Whether the study may be written to; else its drafts can be looked at."""
        return os.access(self.study.root, os.W_OK)

    def open(self, name: str) -> Draft:
        """The draft of a scan, begun from its current label where there is none or nothing in it is unsaved.

        Raises:
            StudyError: there is no such scan.
        """
        case = self.case(name)
        if not self.may_write:
            return self.current(case, begin=False)[0]
        with self.held(name):
            return self.current(case)[0]

    def save(self, name: str, revision: int, labels: Labels, judged: Mask, author: str = "") -> Draft:
        """Keep what was painted; it is on disk when this returns.

        The same voxels sent once more, because the answer to the first sending was lost, change nothing.

        Args:
            name: the scan.
            revision: that of the draft which was painted on.
            labels: (X, Y, Z) uint8 in file order.
            judged: (X, Y, Z) bool; painted voxels count as judged where no prediction was the start.
            author: who painted.

        Raises:
            InputError: the shape, or a value that is no class.
            ConflictError: another save came first.
            StudyError: the disk is full or may not be written.
        """
        case = self.case(name)
        self._refuse_unfit(case, labels, judged)
        with self.held(name):
            old, end = self.current(case)
            return self._saved(old, end, revision, labels, judged, author)

    def save_over(self, name: str, labels: Labels, judged: Mask, author: str = "") -> Draft:
        """Save against a conflict: what the other has painted becomes a version of its own first.

        Raises:
            InputError, StudyError: as :meth:`save`.
        """
        self._refuse_unfit(self.case(name), labels, judged)
        self.make_version(name)
        case = self.case(name)
        with self.held(name):
            old, end = self.current(case)
            return self._saved(old, end, old.revision, labels, judged, author)

    def complete(self, name: str, revision: int, author: str = "", *, axis: int | None = None, index: int = 0) -> Draft:
        """Mark a slice, or the whole scan where no axis is given, as judged in full, and make a version.

        Args:
            name: the scan.
            revision: that of the draft which was looked at.
            author: who says so.
            axis: 0, 1 or 2 of the file.
            index: the slice's place along the axis.

        Raises:
            InputError: there is no such slice.
            ConflictError: another save came first.
        """
        case = self.case(name)
        if axis is not None and not (0 <= axis < 3 and 0 <= index < case.shape[axis]):
            raise InputError(f"{name} has no slice {index} along axis {axis}; it has {case.shape} voxels")
        place = tuple(slice(index, index + 1) if axis == own else slice(None) for own in range(3))
        self._judge(case, revision, place, author)  # its arrays are given up before the version is made
        self.make_version(name, author)
        return self.open(name)

    def suggest(self, name: str, revision: int, labels: Labels, model: str, author: str = "") -> Draft:
        """Lay a prediction under what is judged: only voxels that nobody has judged change, and stay unjudged.

        Args:
            name: the scan.
            revision: that of the draft which was looked at.
            labels: (X, Y, Z) uint8, the prediction on the scan's grid.
            model: named in the version that comes of it.
            author: who asked for it.

        Raises:
            InputError: the prediction does not fit the scan or the classes.
            ConflictError: another save came first.
        """
        case = self.case(name)
        with self.held(name):
            old, end = self.current(case)
            self._refuse_unfit(case, labels, old.judged)
            refuse_conflict(old, revision)
            laid = np.where(old.judged, old.labels, labels)
            own = bool((old.judged & (old.labels != labels)).any())
            new = old.changed(laid, old.judged, author)
            new = replace(new, model=model, corrected=own, unsaved=old.unsaved)
            self.journal(name).append(drafting.difference(old, new), end)
            return new

    def make_version(self, name: str, author: str | None = None) -> LabelVersion | None:
        """Make a label version of the draft.

        Args:
            name: the scan.
            author: who made it; who saved last where not given.

        Returns:
            The version, or None where nothing was unsaved or nothing is judged.

        Raises:
            StudyError: the study is locked or may not be written; the draft stays as it is.
        """
        case = self.case(name)
        header = self.journal(name).last_header()
        if header is None or not header["unsaved"]:
            return None
        with self.study.editing(), self.held(name):  # the study's lock first, as whoever changes its classes
            draft, _ = self.current(case)
            if not draft.unsaved:
                return None
            made = self._version_of(case, draft, draft.author if author is None else author)
            parent = made.version if made else draft.newer or draft.parent
            self.journal(name).start([drafting.whole(replace(draft, parent=parent, unsaved=False, newer=None))])
            return made

    def unsaved(self) -> list[str]:
        """The scans with something painted that is in no version yet."""
        found = []
        for path in sorted((self.study.root / "drafts").glob(f"[!.]*/{DRAFT}")):
            entries, _ = Journal(path).read()
            if entries and entries[-1].header.get("unsaved"):
                found.append(path.parent.name)
        return found

    def _version_of(self, case: Case, draft: Draft, author: str) -> LabelVersion | None:
        """The new version; None where its voxels are those of the current one, or none is judged."""
        label = LabelMap(draft.as_label(), nifti.read_geometry(case.image_paths[0]))
        current = case.read_label()
        same = current is not None and np.array_equal(current.array, label.array)
        if same or not draft.judged.any():
            return None
        notes = () if draft.model is None else (f"started from the prediction of {draft.model}",)
        authorship = Authorship(draft.source, author, draft.parent, notes)
        return versions.add_version(self.study.root, case.name, label, self.study.label_names, authorship)

    def current(self, case: Case, *, begin: bool = True) -> tuple[Draft, int]:
        """The draft on disk and the bytes of its journal; begun where there is none, or only an outdated copy.

        What is begun is written, unless ``begin`` is false; whoever writes holds the scan's lock.
        """
        journal = self.journal(case.name)
        entries, end = journal.read()
        draft = drafting.replay(case.name, entries, case.shape)
        newest = case.label.version if case.label else None
        if draft is not None and draft.parent == newest:
            return draft, end
        if draft is not None and draft.unsaved:
            return replace(draft, newer=newest), end
        label = case.read_label()
        labels = np.zeros(case.shape, np.uint8, order="F") if label is None else label.array
        judged = np.zeros(case.shape, bool, order="F") if label is None else labels != UNJUDGED
        revision = 0 if draft is None else draft.revision + 1
        begun = Draft(case.name, revision, np.where(judged, labels, np.uint8(0)), judged, newest, saved=drafting.now())
        return begun, journal.start([drafting.whole(begun)]) if begin else end

    def _saved(self, old: Draft, end: int, revision: int, labels: Labels, judged: Mask, author: str) -> Draft:
        judged = judged | (labels > 0) if old.model is None else judged
        if np.array_equal(labels, old.labels) and np.array_equal(judged, old.judged):
            return old
        refuse_conflict(old, revision)
        new = old.changed(labels, judged, author)
        self.journal(old.case).append(drafting.difference(old, new), end)
        return new

    def _judge(self, case: Case, revision: int, place: tuple[slice, ...], author: str) -> None:
        with self.held(case.name):
            old, end = self.current(case)
            judged = old.judged.copy()
            judged[place] = True
            self._saved(old, end, revision, old.labels, judged, author)

    def _refuse_unfit(self, case: Case, labels: Labels, judged: Mask) -> None:
        for what, array, kind in (("labels", labels, np.uint8), ("judged voxels", judged, np.bool_)):
            if array.shape != case.shape or array.dtype != kind:
                raise InputError(
                    f"the {what} of {case.name} need {case.shape} voxels of {np.dtype(kind)}, "
                    f"got {array.shape} of {array.dtype}; load the scan again"
                )
        self.refuse_unknown(case, labels)

    def refuse_unknown(self, case: Case, labels: Labels) -> None:
        """Refuse values that are no class of the study.

        Raises:
            InputError: there is one.
        """
        highest, known = int(labels.max(initial=0)), max(self.study.label_names.values())
        if highest > known:
            raise InputError(
                f"what was painted on {case.name} holds the value {highest}, the classes end at {known}; load the scan "
                "again, its classes have changed"
            )

    def case(self, name: str) -> Case:
        """A scan of the study.

        Raises:
            InputError, StudyError: there can be none of that name, or there is none.
        """
        admission.check_name(name)
        return self.study.case(name)

    def journal(self, name: str) -> Journal:
        """Where a scan's strokes lie."""
        return Journal(self.study.root / "drafts" / name / DRAFT)

    @contextmanager
    def held(self, name: str) -> Iterator[None]:
        """Hold the lock of a scan's draft.

        Raises:
            BusyError: another process kept it for long.
            DiskFullError, ReadOnlyError, StudyError: the study cannot be written.
        """
        folder: Path = self.journal(name).path.parent
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise not_written(self.study.root, error) from error
        with FolderLock(folder / ".lock", f"saving {name}").held():
            yield


def refuse_conflict(draft: Draft, revision: int, window: str = "") -> None:
    """Refuse a save that overlooks what somebody else has saved.

    Raises:
        ConflictError: it does.
    """
    if not draft.follows(revision, window):
        who = f" by {draft.author}" if draft.author else ""
        raise ConflictError(
            f"{draft.case} was saved{who} in another window at {draft.saved}; load that, or keep yours (theirs stays "
            "in the history)",
            draft.revision,
            draft.author,
            draft.saved,
        )
