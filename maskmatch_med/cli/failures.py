"""What the machine lacked, in plain words: memory and disk run out in many ways, and each library says it otherwise."""

from __future__ import annotations

from collections.abc import Iterator

from maskmatch_med.errors import FULL, lacks_memory

_NO_ROOM = ("no space left", "file too large", "quota exceeded", "requested and")
MEMORY = (
    "the memory of this computer is full: close other programs, train with the preset quick, or leave out the largest "
    "scans, then resume; what was saved last is kept"
)
DISK = "the disk is full: make room on it, then resume; what was saved last is kept"


def in_plain_words(error: BaseException) -> str | None:
    """A sentence with what to do where memory or disk have run out; None for all else."""
    for one in _chain(error):
        text = str(one).casefold()
        if isinstance(one, OSError) and one.errno in FULL:
            return DISK
        if lacks_memory(one):
            return MEMORY
        if any(sign in text for sign in _NO_ROOM):
            return DISK
    return None


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An error and those that it came of."""
    seen = set[int]()
    one: BaseException | None = error
    while one is not None and id(one) not in seen:
        seen.add(id(one))
        yield one
        one = one.__cause__ or one.__context__
