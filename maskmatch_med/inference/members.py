"""The members of the ensemble within a window: its mirror images, passed through the engine in batches that fit."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from maskmatch_med.inference.memory import Memory, where_there_is_room
from maskmatch_med.inference.slab import entropy


class Members:
    """Windows in, the mean of their mirror images' logits out.

    When the device's memory does not hold a batch, half of it is tried, and so on from the window that is at hand: what
    has been computed is kept.

    Args:
        memory: holds the engine, which maps (B, C, *patch) to logits (B, K, *patch).
        classes: K.
        flips: the sets of spatial axes along which a window is mirrored, the empty set among them.
        measure: whether the disagreement of the mirror images is wanted, as one more channel.
    """

    def __init__(
        self, memory: Memory, classes: int, flips: Sequence[tuple[int, ...]], *, measure: bool = False
    ) -> None:
        self.memory, self.classes, self.flips = memory, classes, list(flips)
        self.measures = measure and len(self.flips) > 1

    @property
    def channels(self) -> int:
        """Of what :meth:`__call__` gives: K, and one for the disagreement where it is measured."""
        return self.classes + int(self.measures)

    @property
    def windows_at_once(self) -> int:
        """Windows, with all their mirror images, that fill a forward."""
        return max(1, self.memory.at_once // len(self.flips))

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
        return where_there_is_room(self._joined, torch.split(self._passed(images), windows.shape[0]))

    def _joined(self, outputs: Sequence[Tensor]) -> Tensor:
        """The mean of what the network gave for each mirror image, and their disagreement."""
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
            outputs.append(self.memory.pass_through(partial(self._logits, images[done:]), images.shape[0] - done))
            done += outputs[-1].shape[0]
        if len(outputs) == 1:
            return outputs[0]
        return where_there_is_room(
            lambda parts: torch.cat(list(parts)), [out.to(outputs[-1].device) for out in outputs]
        )

    def _logits(self, images: Tensor, count: int) -> Tensor:
        """Of the first of some images."""
        engine, part = self.memory.engine, images[:count]
        logits = engine(part.to(engine.device))
        expected = (part.shape[0], self.classes, *part.shape[2:])
        if not isinstance(logits, Tensor) or tuple(logits.shape) != expected:
            raise ValueError(f"the network must give logits {expected}, got {getattr(logits, 'shape', type(logits))}")
        return logits.float()
