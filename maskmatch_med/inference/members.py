"""The members of the ensemble within a window: its mirror images, passed through the engine in batches that fit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from torch import Tensor

from maskmatch_med.errors import lacks_memory
from maskmatch_med.inference.engines import Engine
from maskmatch_med.inference.slab import entropy

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


class Members:
    """Windows in, the mean of their mirror images' logits out.

    When the device's memory does not hold a batch, half of it is tried, and so on from the window that is at hand: what
    has been computed is kept. Where one window is too much, ``collectors`` go to half precision, then off the device,
    and then the network itself.

    Args:
        engine: maps (B, C, *patch) to logits (B, K, *patch).
        classes: K.
        flips: the sets of spatial axes along which a window is mirrored, the empty set among them.
        measure: whether the disagreement of the mirror images is wanted, as one more channel.
        at_once: windows, or mirror images of them, that pass together at most.
        notice: told, in a sentence, what was given up for lack of memory.
    """

    def __init__(
        self,
        engine: Engine,
        classes: int,
        flips: Sequence[tuple[int, ...]],
        *,
        measure: bool = False,
        at_once: int = 2,
        notice: Notice = lambda sentence: None,
    ) -> None:
        self.engine, self.classes, self.flips, self.at_once = engine, classes, list(flips), at_once
        self.measures = measure and len(self.flips) > 1
        self.collectors: list[Collector] = []
        self._notice = notice

    @property
    def channels(self) -> int:
        """Of what :meth:`__call__` gives: K, and one for the disagreement where it is measured."""
        return self.classes + int(self.measures)

    @property
    def windows_at_once(self) -> int:
        """Windows, with all their mirror images, that fill a forward."""
        return max(1, self.at_once // len(self.flips))

    def __call__(self, windows: Tensor, row_axis: int = 0) -> Tensor:
        """Mean logits (B, K, *patch) float32 over mirror images of (B, C, *patch), and their disagreement in nats.

        Args:
            windows: with the axis ``row_axis`` of the plan in front of the others, as the outputs.
            row_axis: an axis of the plan.

        Raises:
            ValueError: the engine gives other than (B, K, *patch).
        """
        return self._mean(windows.movedim(2, 2 + row_axis).contiguous()).movedim(2 + row_axis, 2)

    def _mean(self, windows: Tensor) -> Tensor:
        if self.flips == [()]:
            return self._passed(windows)
        images = torch.cat([windows.flip([axis + 2 for axis in axes]) if axes else windows for axes in self.flips])
        outputs = torch.split(self._passed(images), windows.shape[0])
        turned = [
            out.flip([axis + 2 for axis in axes]) if axes else out
            for axes, out in zip(self.flips, outputs, strict=True)
        ]
        stacked = torch.stack(turned)
        logits = stacked.mean(dim=0)
        if not self.measures:
            return logits
        each = stacked.softmax(dim=2)
        disagreement = entropy(each.mean(dim=0), dim=1) - entropy(each, dim=2).mean(dim=0)
        return torch.cat([logits, disagreement[:, None]], dim=1)

    def _passed(self, images: Tensor) -> Tensor:
        outputs: list[Tensor] = []
        done = 0
        while done < images.shape[0]:
            part = images[done : done + self.at_once]
            try:
                outputs.append(self._logits(part.to(self.engine.device)))
            except (RuntimeError, MemoryError) as error:
                if not lacks_memory(error) or not self._relieve():
                    raise
                continue
            done += part.shape[0]
        if len(outputs) == 1:
            return outputs[0]
        return torch.cat([out.to(outputs[-1].device) for out in outputs])

    def _logits(self, part: Tensor) -> Tensor:
        logits = self.engine(part)
        expected = (part.shape[0], self.classes, *part.shape[2:])
        if not isinstance(logits, Tensor) or tuple(logits.shape) != expected:
            raise ValueError(f"the network must give logits {expected}, got {getattr(logits, 'shape', type(logits))}")
        return logits.float()

    def _relieve(self) -> bool:
        """Need less of the device's memory from here on; False where there is nothing left to give up."""
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        on_device = [one for one in self.collectors if one.device.type != "cpu"]
        if self.at_once > 1:
            self.at_once //= 2
            self._notice(f"the device's memory is short: from here on {self.at_once} windows pass at a time")
        elif sum(one.halve() for one in on_device):  # all of them, so not any()
            self._notice("the device's memory is short: from here on results are collected in half precision")
        elif on_device:
            for one in on_device:
                one.to(torch.device("cpu"))
            self._notice("the device's memory is short: from here on results are collected in the computer's own")
        elif self.engine.device.type != "cpu":
            self.engine = self.engine.on_processor()
            self._notice("the device's memory does not hold one window: from here on the processor computes")
        else:
            return False
        return True
