"""A device's memory: what a prediction takes of it, and what is given up, step by step, where that is too much.

What failed is let go of before anything is given up: an error's traceback keeps all that the functions in it held,
which would be the memory that is needed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar
from weakref import WeakSet

import torch
from torch import Tensor

from maskmatch_med.errors import lacks_memory
from maskmatch_med.inference.engines import Engine

T = TypeVar("T")
Notice = Callable[[str], None]


class Collector(Protocol):
    """Something that takes room on a device, can take half of it, and can be moved to another."""

    @property
    def device(self) -> torch.device:
        """Where it lies."""

    def halve(self) -> bool:
        """Keep half precision from here on; False where it does already."""

    def to(self, device: torch.device) -> None:
        """Move it."""


class Memory:
    """The engine, how many windows pass it together, and what collects their outputs.

    Where memory is short, half as many windows pass at a time, and so on; then what collects goes to half precision,
    then to the computer's own memory; and at last the processor computes. The next scan begins with all of it again.

    Args:
        engine: carries windows through the network.
        at_once: windows, or mirror images of them, that pass together at most.
        notice: told once, in a sentence, what was given up.
    """

    def __init__(self, engine: Engine, at_once: int = 2, notice: Notice = lambda sentence: None) -> None:
        self.engine, self.at_once = engine, at_once
        self._asked, self._collectors = (engine, at_once), WeakSet[Collector]()
        self._notice, self._told = notice, set[str]()

    def begin(self) -> None:
        """A scan begins: nothing is collected yet, and what another one was too large for is tried again."""
        self.engine, self.at_once = self._asked
        self._collectors.clear()

    def collects(self, collector: Collector) -> None:
        """This one may be made smaller, or moved, from here on."""
        self._collectors.add(collector)

    def pass_through(self, work: Callable[[int], T], windows: int) -> T:
        """What work with the engine gives; it is done again each time something could be given up for it.

        Args:
            work: is told how many windows may pass together.
            windows: that are left to pass.
        """
        return _until_it_fits(
            lambda: work(min(windows, self.at_once)), lambda: self._relieve_engine(min(windows, self.at_once))
        )

    def collect(self, work: Callable[[], T]) -> T:
        """What work with a collector gives; it is done again each time a collector could give up some room."""
        return _until_it_fits(work, self._relieve_collectors)

    def _relieve_engine(self, passed: int) -> bool:
        if passed > 1:
            self.at_once = passed // 2
            passes = "windows pass" if self.at_once > 1 else "window passes"
            self._tell(f"the device's memory is short: {self.at_once} {passes} at a time")
        elif self._relieve_collectors():
            return True
        elif self.engine.device.type != "cpu":
            self.engine = self.engine.on_processor()
            self._tell("the device's memory does not hold one window: the processor computes")
        else:
            return False
        return True

    def _relieve_collectors(self) -> bool:
        on_device = [one for one in self._collectors if one.device.type != "cpu"]
        if sum(one.halve() for one in on_device):  # all of them, so not any()
            self._tell("the device's memory is short: results are collected in half precision")
        elif on_device:
            for one in on_device:
                one.to(torch.device("cpu"))
            self._tell("the device's memory is short: results are collected in the computer's own")
        return bool(on_device)

    def _tell(self, sentence: str) -> None:
        if sentence not in self._told:
            self._told.add(sentence)
            self._notice(sentence)


def where_there_is_room(work: Callable[[Sequence[Tensor]], T], tensors: Sequence[Tensor]) -> T:
    """Work on tensors where they lie, or on the computer's own memory where their device has no room for it.

    Args:
        work: changes none of the tensors, and computes on their device.
        tensors: of one device.
    """
    left = [tensors]

    def to_the_host() -> bool:
        if all(one.device.type == "cpu" for one in left[0]):
            return False
        left[0] = [one.cpu() for one in left[0]]
        return True

    return _until_it_fits(lambda: work(left[0]), to_the_host)


def _until_it_fits(work: Callable[[], T], relieve: Callable[[], bool]) -> T:
    while True:
        try:
            return work()
        except (RuntimeError, MemoryError) as error:
            if not lacks_memory(error):
                raise
            failure = error.with_traceback(None)
        if torch.accelerator.is_available():
            torch.accelerator.empty_cache()
        if not relieve():
            try:
                raise failure
            finally:
                del failure  # else this frame and the error would hold each other
