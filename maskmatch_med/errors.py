"""The exceptions that a user can meet.

Each message says what arrived, what was expected and what to do. The command line prints it as one sentence and exits
with code 2; a traceback is shown only with ``--debug``.
"""

from __future__ import annotations

import errno
from collections.abc import Sequence
from pathlib import Path


class MaskMatchError(Exception):
    """Base of every error that is the input's fault and not the program's."""


class InputError(MaskMatchError, ValueError):
    """A file, a folder or an argument from the user cannot be used as it is."""


def listed(reasons: Sequence[str], shown: int = 20) -> str:
    """Reasons one below the other, the first ones where there are many, for a message that counts them before.

    Each begins with two spaces: a line break without them is of a name, and the command line does not keep it.
    """
    more = [f"and {len(reasons) - shown} more"] if len(reasons) > shown else []
    return "\n".join(f"  {line}" for line in [*reasons[:shown], *more])


def named(names: Sequence[str], shown: int = 4) -> str:
    """Names in a row, the first ones where there are many, for a message."""
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return ", ".join(names[:shown]) + more


class StudyError(MaskMatchError):
    """A study or model folder is missing, damaged, locked or in conflict with what is asked of it."""


class UnknownScanError(StudyError):
    """A study has no scan of that name, or no longer."""


class StoppedError(MaskMatchError):
    """A stop was asked for before there was anything to save."""


class TrainingError(MaskMatchError, RuntimeError):
    """Training cannot start or go on: no usable labels, a loss that is not finite, no memory left."""


class ConflictError(StudyError):
    """Somebody else has saved the same scan meanwhile; nothing was written.

    Args:
        message: the sentence for the user.
        revision: the revision that is on disk.
        author: who saved it; may be empty.
        saved: when, UTC in ISO 8601.
    """

    def __init__(self, message: str, revision: int, author: str, saved: str) -> None:
        super().__init__(message)
        self.revision, self.author, self.saved = revision, author, saved


class ClassesError(StudyError):
    """What was painted is in the numbers of other classes than the study has by now; nothing was written."""


class LabelsInUseError(StudyError):
    """Classes that somebody has painted would be removed; nothing was changed.

    Args:
        message: the question for the user.
        scans: names of the scans by class.
    """

    def __init__(self, message: str, scans: dict[str, list[str]]) -> None:
        super().__init__(message)
        self.scans = scans


class BusyError(StudyError):
    """Another living process keeps the folder locked; trying again later may do."""


class NewerError(StudyError):
    """A file of a study is whole, but a newer version of the program has written it."""


class ReadOnlyError(StudyError):
    """A study may be looked at, but not written to."""


class DiskFullError(StudyError):
    """The disk, or the share of it that this user may fill, has no room left; nothing was changed."""


FULL = {errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)}
"""What the system says where a disk, or somebody's share of it, has no room left."""
_FORBIDDEN = {errno.EACCES, errno.EPERM, errno.EROFS}


_NO_MEMORY = (
    *("can't allocate memory", "not enough memory", "out of memory", "cannot allocate memory", "bad_alloc"),
    *("alloc_failed", "unable to find an engine to execute"),  # cuBLAS and cuDNN, of their work space
)


def lacks_memory(error: BaseException) -> bool:
    """Whether memory has run out, of the computer or of a device; each library says it otherwise."""
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
        return True
    if type(error).__name__ == "OutOfMemoryError":  # torch's, which need not say anything
        return True
    return not isinstance(error, MaskMatchError) and any(sign in str(error).casefold() for sign in _NO_MEMORY)


def not_written(folder: Path, error: OSError) -> StudyError:
    """The error to raise where a folder of a study cannot be written to, by what the system says."""
    told = error.strerror or str(error)
    if error.errno in FULL:
        return DiskFullError(f"cannot save to {folder}: {told}; free some space, then save again")
    if error.errno in _FORBIDDEN:
        return ReadOnlyError(f"cannot write to {folder}: {told}; it may only be read, so check its rights")
    return StudyError(f"cannot save to {folder}: {told}; check the disk and its rights, then save again")
