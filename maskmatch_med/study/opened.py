"""Drafts kept in memory from one save to the next, so that a stroke on a large scan does not read its journal again.

What is kept counts only while the journal is the very file, of the size and time, that its last reader or writer left.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

from maskmatch_med.study.draft import Draft

MOST_BYTES = 512 << 20
"""Voxels' bytes that are kept in all; whoever was used longest ago goes first."""
Stamp = tuple[int, int, int]


@dataclass(eq=False)
class OpenedDraft:
    """A draft whose arrays belong to whoever holds its scan's lock.

    Args:
        draft: as the journal leads to.
        end: the bytes of the journal's sound entries.
        appended: of these, the bytes of the strokes that were added since it is kept.
    """

    draft: Draft
    end: int
    appended: int = 0


class OpenedDrafts:
    """The drafts that a process keeps, of any study.

    Args:
        most_bytes: how many bytes of voxels to keep.
    """

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._most_bytes = most_bytes
        self._kept: OrderedDict[Path, tuple[Stamp, OpenedDraft]] = OrderedDict()
        self._guard = threading.Lock()

    def find(self, journal: Path) -> OpenedDraft | None:
        """What is kept of a journal; None where nothing is, or the file has changed."""
        with self._guard:
            stamp, opened = self._kept.get(journal, (None, None))
            if opened is None or stamp != stamp_of(journal):
                self._kept.pop(journal, None)
                return None
            self._kept.move_to_end(journal)
            return opened

    def keep(self, journal: Path, opened: OpenedDraft) -> None:
        """Keep a draft; to be called under its lock, right after its journal was read or written."""
        stamp = stamp_of(journal)
        with self._guard:
            self._kept.pop(journal, None)
            if stamp is None or _bytes(opened) > self._most_bytes:
                return
            self._kept[journal] = (stamp, opened)
            while sum(_bytes(one) for _, one in self._kept.values()) > self._most_bytes:
                self._kept.popitem(last=False)

    def forget(self, journal: Path) -> None:
        """Keep nothing of a journal any longer."""
        with self._guard:
            self._kept.pop(journal, None)


def stamp_of(path: Path) -> Stamp | None:
    """What tells whether a file is still the same; None where there is none."""
    try:
        state = path.stat()
    except OSError:
        return None
    return state.st_ino, state.st_size, state.st_mtime_ns


def _bytes(opened: OpenedDraft) -> int:
    return opened.draft.labels.nbytes + opened.draft.judged.nbytes
