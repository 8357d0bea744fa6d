"""How long a run may take: a number of iterations, or minutes of wall time."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass
class Budget:
    """Tells a run's progress from 0 to 1.

    Args:
        iterations: total iterations, or None.
        seconds: wall time for everything, or None; exactly one of the two is given.
        spent: seconds used before the loop began: imports, preprocessing, earlier sessions of a resumed run.
        reserve: seconds to keep for the last validation and for writing the model.
        clock: seconds from any origin.
    """

    iterations: int | None
    seconds: float | None
    spent: float = 0.0
    reserve: float = 2.0
    clock: Callable[[], float] = time.monotonic
    _began: float = field(init=False)

    def __post_init__(self) -> None:
        self._began = self.clock()

    @property
    def elapsed(self) -> float:
        """Seconds used so far, earlier sessions included."""
        return self.spent + self.clock() - self._began

    def progress(self, iteration: int, first_elapsed: float) -> float:
        """Share of the run that is done.

        Args:
            iteration: iterations finished.
            first_elapsed: value of :attr:`elapsed` when the very first iteration began, so that the schedule starts
                at 0 however long preparation took.
        """
        if self.iterations is not None:
            return min(1.0, iteration / self.iterations)
        end = (self.seconds or 0.0) - self.reserve
        if self.elapsed >= end:
            return 1.0
        return max(0.0, (self.elapsed - first_elapsed) / max(end - first_elapsed, 1e-6))
