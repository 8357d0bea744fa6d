"""The ring of rows in which window outputs meet: as high as a window, however long the scan is.

Windows come in layers along the first axis. When a layer is done, the rows above the next layer's first are finished,
leave the ring, and make place. Memory: (K + 1) x window height x cross-section x 4 bytes, half of it where a device is
short of memory and sums are kept in half precision.
"""

from __future__ import annotations

import torch
from torch import Tensor

from maskmatch_med.inference.windows import Window


class Ring:
    """Weighted mean of window outputs, a layer of windows at a time.

    Row r of the map lies in place r modulo the height.

    Args:
        channels: of the outputs.
        plane: voxels of a row's cross-section.
        importance: (height, *patch of the other axes), weight of each voxel of a window.
        device: where the rows are held.
    """

    def __init__(self, channels: int, plane: tuple[int, ...], importance: Tensor, device: torch.device) -> None:
        self._height = importance.shape[0]
        self._sum = torch.zeros((channels, self._height, *plane), device=device)
        self._weight = torch.zeros((self._height, *plane), device=device)
        self._importance = importance.to(device)

    @property
    def device(self) -> torch.device:
        """Where the rows are held."""
        return self._sum.device

    def halve(self) -> bool:
        """Keep sums in half precision from here on; False where they are already."""
        if self._sum.dtype == torch.float16:
            return False
        device = self._sum.device
        self._sum = self._sum.cpu().half()  # a half beside the whole might not fit on the device
        try:
            self._sum = self._sum.to(device)
        except RuntimeError:
            self.to(torch.device("cpu"))
        return True

    def to(self, device: torch.device) -> None:
        """Move the rows, in single precision from there on."""
        self._sum, self._weight = self._sum.to(device, torch.float32), self._weight.to(device)
        self._importance = self._importance.to(device)

    def add(self, first: int, across: Window, output: Tensor) -> None:
        """Add one window's output; where memory runs out, nothing of it is added.

        Args:
            first: the window's first row.
            across: where it lies in the cross-section.
            output: (channels, height, …).
        """
        output = output.to(self._sum.device, torch.float32)
        turn = first % self._height
        rest = self._height - turn
        parts = [(slice(turn, None), slice(0, rest)), (slice(0, turn), slice(rest, None))][: 2 if turn else 1]
        rows = [self._sum[(slice(None), place, *across)] for place, _ in parts]
        given = [(output[:, part], self._importance[part]) for _, part in parts]
        if self._sum.dtype == output.dtype:
            for now, (values, weight) in zip(rows, given, strict=True):
                now.addcmul_(values, weight)
        else:  # what needs memory comes before what changes anything
            sums = [torch.addcmul(now.float(), *part) for now, part in zip(rows, given, strict=True)]
            for now, new in zip(rows, sums, strict=True):
                now.copy_(new)
        for (place, _), (_, weight) in zip(parts, given, strict=True):
            self._weight[(place, *across)].add_(weight)

    def finish(self, first: int, stop: int) -> Tensor:
        """Rows ``first`` to ``stop``, at most the height of them, which leave the ring: (channels, rows, *plane)."""
        places = torch.arange(first, stop, device=self._sum.device) % self._height
        mean = self._sum[:, places].float() / self._weight[places]
        turn = first % self._height
        for place in (slice(turn, turn + stop - first), slice(0, max(0, turn + stop - first - self._height))):
            self._sum[:, place].zero_()
            self._weight[place].zero_()
        return mean
