"""A draft: what is painted on a scan and not yet a version of its label, and how it lies in its journal."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maskmatch_med.io.labels import UNJUDGED
from maskmatch_med.study.journal import Entry
from maskmatch_med.volume import Shape3

Labels = NDArray[np.uint8]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Draft:
    """The state of a scan that is being painted.

    Args:
        case: name of the scan.
        revision: counts the saves; a save must name the one that it goes on from.
        labels: (X, Y, Z) uint8 in file order: one class a voxel, a suggestion where the voxel is not judged.
        judged: (X, Y, Z) bool: the voxels that somebody has painted or marked complete.
        parent: the label version that it goes on from.
        model: the model whose prediction it started from.
        corrected: whether a class was changed since that start.
        unsaved: whether it holds something that no version holds.
        author: who saved last.
        saved: when, UTC in ISO 8601.
        newer: a version that was made meanwhile by other ways; None where the parent is the newest.
        window: the window that saved last, where it gave itself a name.
        since: the revision from which that window alone has saved.
    """

    case: str
    revision: int
    labels: Labels
    judged: Mask
    parent: str | None = None
    model: str | None = None
    corrected: bool = False
    unsaved: bool = False
    author: str = ""
    saved: str = ""
    newer: str | None = None
    window: str = ""
    since: int = 0

    @property
    def complete(self) -> bool:
        """Whether every voxel is judged."""
        return bool(self.judged.all())

    @property
    def source(self) -> str:
        """What a version made of it is called."""
        if self.model is None:
            return "human"
        return "model corrected" if self.corrected else "model accepted"

    def as_label(self) -> Labels:
        """(X, Y, Z) uint8, 255 where nobody has judged the voxel."""
        return np.where(self.judged, self.labels, np.uint8(UNJUDGED))

    def complete_slices(self, axis: int) -> list[int]:
        """The slices across an axis (0, 1 or 2 of the file) in which every voxel is judged."""
        others = tuple(other for other in range(3) if other != axis)
        return [int(index) for index in np.flatnonzero(self.judged.all(axis=others))]

    def follows(self, revision: int, window: str = "") -> bool:
        """Whether a save that goes on from a revision overlooks nobody's strokes.

        A window whose last saves were kept, but whose answers were lost, still goes on from an older revision.
        """
        own = window != "" and window == self.window and self.since <= revision <= self.revision
        return revision == self.revision or own

    def changed(self, labels: Labels, judged: Mask, author: str) -> Draft:
        """The next revision, with these voxels."""
        painted = not np.array_equal(labels, self.labels)
        return replace(self.next(painted, author), labels=labels, judged=judged)

    def next(self, painted: bool, author: str, window: str = "") -> Draft:
        """The next revision, its voxels yet to be changed.

        Args:
            painted: whether a class will change.
            author: who saves.
            window: which window of theirs.
        """
        return replace(
            self,
            revision=self.revision + 1,
            corrected=self.corrected or (painted and self.model is not None),
            unsaved=True,
            author=author,
            saved=now(),
            window=window,
            since=self.since if window and window == self.window else self.revision,
        )


def now() -> str:
    """UTC time in ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


@dataclass(frozen=True, eq=False)
class Box:
    """What was painted, cut out of a scan.

    Args:
        corner: its first voxel, (x, y, z) in file order.
        labels: (A, B, C) uint8.
        judged: (A, B, C) bool.
    """

    corner: Shape3
    labels: Labels
    judged: Mask

    @property
    def bounds(self) -> list[tuple[int, int]]:
        """First and last + 1 along each axis."""
        return [(low, low + size) for low, size in zip(self.corner, self.labels.shape, strict=True)]

    @property
    def place(self) -> tuple[slice, ...]:
        """Where it lies in the scan."""
        return tuple(slice(*bound) for bound in self.bounds)


def whole(draft: Draft) -> Entry:
    """A journal's first entry: the draft as it stands."""
    header = _header(draft) | {"kind": "start", "shape": draft.labels.shape}
    return Entry(header, _voxels(draft.labels, draft.judged))


def difference(old: Draft, new: Draft) -> Entry:
    """What turns one draft into the next: the voxels in the box around all that differs."""
    box = _box((old.labels != new.labels) | (old.judged != new.judged))
    place = tuple(slice(low, high) for low, high in box)
    corner = (box[0][0], box[1][0], box[2][0])
    return painted_box(new, Box(corner, new.labels[place], new.judged[place]))


def painted_box(new: Draft, box: Box) -> Entry:
    """What turns a draft into the next where all that changed lies in a box."""
    return Entry(_header(new) | {"kind": "change", "box": box.bounds}, _voxels(box.labels, box.judged))


def replay(case: str, entries: list[Entry], shape: Shape3) -> Draft | None:
    """The draft that a journal's entries lead to; None where it starts with no draft of this shape."""
    if not entries or entries[0].header.get("kind") != "start" or tuple(entries[0].header["shape"]) != shape:
        return None
    stored, judged = _unpacked(entries[0].data, shape)
    labels = stored.copy(order="F")
    for entry in entries[1:]:
        place = tuple(slice(low, high) for low, high in entry.header["box"])
        labels[place], judged[place] = _unpacked(entry.data, labels[place].shape)
    last = entries[-1].header
    kept = {name: last[name] for name in _KEPT if name in last}
    return Draft(case=case, labels=labels, judged=judged, **kept)


_KEPT = ("revision", "parent", "model", "corrected", "unsaved", "author", "saved", "window", "since")


def _header(draft: Draft) -> dict[str, Any]:
    return {name: getattr(draft, name) for name in _KEPT}


def _voxels(labels: Labels, judged: Mask) -> bytes:
    """Labels and bits, x fastest, as scans lie in memory and in files."""
    return labels.tobytes(order="F") + np.packbits(judged.ravel(order="F")).tobytes()


def _unpacked(data: bytes, shape: tuple[int, ...]) -> tuple[Labels, Mask]:
    count = int(np.prod(shape))
    raw = np.frombuffer(data, np.uint8)
    judged = np.unpackbits(raw[count:], count=count).view(np.bool_)
    return raw[:count].reshape(shape, order="F"), judged.reshape(shape, order="F")


def _box(differs: Mask) -> list[tuple[int, int]]:
    """First and last + 1 along each axis of the voxels that differ."""
    box = []
    for axis in range(3):
        found = np.flatnonzero(differs.any(axis=tuple(other for other in range(3) if other != axis)))
        box.append((int(found[0]), int(found[-1]) + 1) if found.size else (0, 0))
    return box
