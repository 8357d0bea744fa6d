"""Where the seconds of a training step go."""

from __future__ import annotations

import time


class StepClock:
    """Adds up the seconds of each part of a step between two lines of the log.

    On a device that works on its own, a part is what the processor waited in it: the first that needs a result, such as
    the check of the loss, holds the device's whole arrears.
    """

    def __init__(self) -> None:
        self._parts: dict[str, float] = {}
        self._steps, self._at = 0, time.perf_counter()

    def start(self) -> None:
        """A step begins; what came before it, such as validation, is not part of one."""
        self._steps += 1
        self._at = time.perf_counter()

    def lap(self, part: str) -> None:
        """A part of the step ends."""
        now = time.perf_counter()
        self._parts[part] = self._parts.get(part, 0.0) + now - self._at
        self._at = now

    def take(self) -> dict[str, float]:
        """Mean seconds a step of each part since this was last asked; empty where no step was made."""
        mean = {part: round(total / self._steps, 4) for part, total in self._parts.items() if self._steps}
        self._parts, self._steps = {}, 0
        return mean
