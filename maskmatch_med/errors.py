"""The exceptions that a user can meet.

Each message says what arrived, what was expected and what to do. The command line prints it as one sentence and exits
with code 2; a traceback is shown only with ``--debug``.
"""

from __future__ import annotations


class MaskMatchError(Exception):
    """Base of every error that is the input's fault and not the program's."""


class InputError(MaskMatchError, ValueError):
    """A file, a folder or an argument from the user cannot be used as it is."""


class StudyError(MaskMatchError):
    """A study or model folder is missing, damaged, locked or in conflict with what is asked of it."""


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


class LabelsInUseError(StudyError):
    """Classes that somebody has painted would be removed; nothing was changed.

    Args:
        message: the question for the user.
        scans: names of the scans by class.
    """

    def __init__(self, message: str, scans: dict[str, list[str]]) -> None:
        super().__init__(message)
        self.scans = scans
