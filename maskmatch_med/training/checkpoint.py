"""The state a run resumes from: written whole or not at all, read without executing anything."""

from __future__ import annotations

import pickle
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from maskmatch_med.errors import StudyError
from maskmatch_med.io.atomic import atomic_path


@dataclass
class Checkpoint:
    """Everything that the next iteration depends on; the randomness of a step follows from (seed, iteration).

    Args:
        iteration: iterations finished.
        elapsed: seconds used, all sessions together.
        first_elapsed: seconds used when the first iteration began.
        student, teacher, optimiser: state dictionaries.
        scale_counts: the running overlap counts of each scale.
        data: hash of the scans and labels that the run was given.
    """

    iteration: int
    elapsed: float
    first_elapsed: float
    student: dict[str, Any]
    teacher: dict[str, Any]
    optimiser: dict[str, Any]
    scale_counts: torch.Tensor
    data: str

    def save(self, path: Path) -> None:
        """Write to a neighbour, sync to disk, then take the place of the old state in one step."""
        with atomic_path(path) as part, part.open("wb") as stream:
            torch.save({key: getattr(self, key) for key in self.__dataclass_fields__}, stream)

    @classmethod
    def load(cls, path: Path) -> Checkpoint:
        """Read a state.

        Raises:
            StudyError: the file is damaged.
        """
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return cls(**torch.load(path, map_location="cpu", weights_only=True))
        except (OSError, RuntimeError, pickle.UnpicklingError, TypeError, EOFError, LookupError, ValueError) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise StudyError(f"cannot resume from {path}: {reason}; delete it to start this model anew") from error
