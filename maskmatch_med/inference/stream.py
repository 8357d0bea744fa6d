"""One scale of a scan, row by row: image rows in, class probabilities on rows of the scan's own grid out.

"Rows" are cuts across the first axis of the arrays here, which the predictor lays along the scan's longest axis. Only
as many are held as a window is high: the image rows of the layer of windows at hand, the ring of outputs, and the
finished rows that the scan's grid still has use for.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice, product

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from maskmatch_med.data.resample import resample_rows
from maskmatch_med.errors import lacks_memory
from maskmatch_med.inference.flat import FlatWindows
from maskmatch_med.inference.members import Members
from maskmatch_med.inference.memory import where_there_is_room
from maskmatch_med.inference.ring import Ring
from maskmatch_med.inference.slab import Slab
from maskmatch_med.inference.windows import Window, window_starts

_LINEAR_MODE = {1: "linear", 2: "bilinear"}


@dataclass(frozen=True)
class ScaleGrid:
    """The grid of one scale, its windows, and how the image comes onto it.

    Args:
        shape: voxels of the grid, row axis first.
        orders: spline order along each axis.
        patch: voxels of a window.
        overlap: share of its edge that a window has in common with the next.
        row_axis: the axis of the plan that lies first here.
    """

    shape: tuple[int, ...]
    orders: tuple[int, ...]
    patch: tuple[int, ...]
    overlap: float
    row_axis: int = 0

    @property
    def patch_in_plan_order(self) -> tuple[int, ...]:
        """Voxels of a window, axes as in the plan."""
        others = self.patch[1:]
        return (*others[: self.row_axis], self.patch[0], *others[self.row_axis :])

    @property
    def padded(self) -> tuple[int, ...]:
        """Voxels where each axis is at least a window's."""
        return tuple(max(n, p) for n, p in zip(self.shape, self.patch, strict=True))

    @property
    def before(self) -> tuple[int, ...]:
        """Voxels of padding in front, half of what is missing."""
        return tuple((n - m) // 2 for n, m in zip(self.padded, self.shape, strict=True))

    @property
    def layers(self) -> list[int]:
        """First rows of the layers of windows."""
        return window_starts(self.padded[0], self.patch[0], self.overlap)

    @property
    def across(self) -> list[Window]:
        """Where the windows of a layer lie in the cross-section."""
        axes = list(zip(self.padded[1:], self.patch[1:], strict=True))
        corners = product(*[window_starts(n, p, self.overlap) for n, p in axes])
        return [tuple(slice(start, start + p) for start, (_, p) in zip(at, axes, strict=True)) for at in corners]


class ImageRows:
    """The image on a scale's grid, 0 around it where it is smaller than a window, held for one layer of windows.

    Args:
        image: (C, *shape of the scan's grid), row axis first.
        grid: of the scale.
    """

    def __init__(self, image: NDArray[np.float32], grid: ScaleGrid) -> None:
        self._image, self._grid = image, grid
        self._first, self._held = 0, torch.zeros((image.shape[0], 0, *grid.padded[1:]))

    def layer(self, first: int) -> Tensor:
        """Padded rows ``first`` to ``first + patch[0]``, first never falling: (C, patch[0], *padded cross-section)."""
        stop = first + self._grid.patch[0]
        kept = self._held[:, first - self._first :]
        self._held = torch.cat([kept, self._made(first + kept.shape[1], stop)], dim=1)
        self._first = first
        return self._held

    def _made(self, first: int, stop: int) -> Tensor:
        grid = self._grid
        rows = torch.zeros((self._image.shape[0], stop - first, *grid.padded[1:]))
        low, high = max(first, grid.before[0]), min(stop, grid.before[0] + grid.shape[0])
        if low < high:
            wanted = slice(low - grid.before[0], high - grid.before[0])
            inner = tuple(slice(b, b + n) for b, n in zip(grid.before[1:], grid.shape[1:], strict=True))
            made = resample_rows(self._image, grid.shape, grid.orders, wanted)
            rows[(slice(None), slice(low - first, high - first), *inner)] = torch.from_numpy(made)
        return rows


def stitched_rows(
    image: NDArray[np.float32], grid: ScaleGrid, members: Members, importance: Tensor, device: torch.device
) -> Iterator[Tensor]:
    """Window-averaged logits of one scale, as rows are finished.

    Args:
        image: (C, *shape of the scan's grid), row axis first.
        grid: of the scale.
        members: the network.
        importance: (*patch), row axis first.
        device: where outputs are collected; the computer's own memory when the device runs short.

    Yields:
        (channels, rows, *grid.shape[1:]) float32, in order, together ``grid.shape``.
    """
    rows, memory = ImageRows(image, grid), members.memory
    ring = _ring(members.channels, grid, importance, device)
    memory.collects(ring)
    flat = FlatWindows(members, grid.row_axis)
    inner = tuple(slice(b, b + n) for b, n in zip(grid.before[1:], grid.shape[1:], strict=True))
    layers = grid.layers
    for first, stop in zip(layers, [*layers[1:], grid.padded[0]], strict=True):
        layer, busy = rows.layer(first), list[Window]()
        for window in grid.across:
            output = flat.output(layer[(slice(None), slice(None), *window)])
            if output is None:
                busy.append(window)
            else:
                memory.collect(partial(ring.add, first, window, output))
        for group in _groups(busy, members.windows_at_once):
            windows = torch.stack([layer[(slice(None), slice(None), *window)] for window in group])
            for window, output in zip(group, members(windows, grid.row_axis), strict=True):
                memory.collect(partial(ring.add, first, window, output))
        low, high = max(first, grid.before[0]), min(stop, grid.before[0] + grid.shape[0])
        finished = memory.collect(partial(ring.finish, first, stop))
        if low < high:
            yield finished[(slice(None), slice(low - first, high - first), *inner)]


def _ring(channels: int, grid: ScaleGrid, importance: Tensor, device: torch.device) -> Ring:
    """On the device, or in the computer's own memory where that has no room for it."""
    try:
        return Ring(channels, grid.padded[1:], importance, device)
    except (RuntimeError, MemoryError) as error:
        if device.type == "cpu" or not lacks_memory(error):
            raise
    return Ring(channels, grid.padded[1:], importance, torch.device("cpu"))


def _groups(windows: Sequence[Window], size: int) -> Iterator[tuple[Window, ...]]:
    left = iter(windows)
    while group := tuple(islice(left, size)):
        yield group


@dataclass(frozen=True, eq=False)
class NearRows:
    """Rows of a scale's grid around some rows of the scan's, which any thread may interpolate.

    Args:
        maps: (K or K + 1, rows of the scale, *cross-section of the scale), the disagreement as last channel.
        below: for each row of the scan's grid the row of ``maps`` at or below it.
        weight: of the next one.
        plane: voxels of a cross-section of the scan's grid.
        classes: K.
    """

    maps: Tensor
    below: NDArray[np.intp]
    weight: NDArray[np.float32]
    plane: tuple[int, ...]
    classes: int

    def slab(self) -> Slab:
        """The rows on the scan's grid, where the maps lie."""
        maps = rows_between(self.maps, self.below, self.weight)
        if tuple(maps.shape[2:]) != self.plane:
            mode = _LINEAR_MODE[len(self.plane)]
            maps = torch.nn.functional.interpolate(maps.movedim(1, 0), size=self.plane, mode=mode).movedim(0, 1)
        return Slab(maps[: self.classes], maps[self.classes] if maps.shape[0] > self.classes else None)


class GridRows:
    """Class probabilities of one scale on the scan's grid, made as they are asked for, in order.

    Softmax on the scale's grid, then linear interpolation with half-voxel centres as
    ``torch.nn.functional.interpolate(align_corners=False)``; none where both grids have the same number of voxels.

    Args:
        finished: logits (K or K + 1, rows, …) of the scale's rows in order, the disagreement as last channel.
        classes: K.
        rows: of the scale's grid.
        shape: voxels of the scan's grid, row axis first.
    """

    def __init__(self, finished: Iterator[Tensor], classes: int, rows: int, shape: Sequence[int]) -> None:
        self._finished, self._classes, self._shape = finished, classes, tuple(shape)
        self._below, self._weight = linear_positions(rows, shape[0])
        self._rows, self._first = rows, 0
        self._held: list[Tensor] = []  # probabilities from row _first on
        self._ahead: Tensor | None = None  # logits of rows that nothing has asked for yet

    def take(self, rows: slice) -> NearRows:
        """What rows of the scan's grid are made of, which must follow those taken before."""
        below, weight = self._below[rows], self._weight[rows]
        first, stop = int(below[0]), min(int(below[-1]) + 2, self._rows)
        return NearRows(self._maps(first, stop), below - first, weight, self._shape[1:], self._classes)

    def _maps(self, first: int, stop: int) -> Tensor:
        """Rows ``first`` to ``stop`` of the scale's grid as probabilities; those before are let go."""
        while self._held and self._first + self._held[0].shape[1] <= first:
            self._first += self._held.pop(0).shape[1]
        at = self._first + sum(part.shape[1] for part in self._held)
        while at < stop:
            ahead = next(self._finished) if self._ahead is None else self._ahead
            part = where_there_is_room(self._as_maps, [ahead[:, : stop - at]])
            at += part.shape[1]
            self._ahead = ahead[:, part.shape[1] :] if part.shape[1] < ahead.shape[1] else None
            self._held.append(part)
            if any(held.device != part.device for held in self._held):
                self._held = [held.cpu() for held in self._held]
        near, at = list[Tensor](), self._first
        for part in self._held:
            rows = part[:, max(0, first - at) : max(0, stop - at)]
            near += [rows] if rows.shape[1] else []
            at += part.shape[1]
        return near[0] if len(near) == 1 else where_there_is_room(partial(torch.cat, dim=1), near)

    def _as_maps(self, rows: Sequence[Tensor]) -> Tensor:
        (logits,) = rows
        maps = logits[: self._classes].softmax(dim=0)
        return maps if logits.shape[0] == self._classes else torch.cat([maps, logits[self._classes :]])


def linear_positions(size_in: int, size_out: int) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """For each output voxel the input voxel at or below its centre, and the weight of the next one."""
    position = np.clip((np.arange(size_out) + 0.5) * size_in / size_out - 0.5, 0, size_in - 1)
    below = np.floor(position).astype(np.intp)
    return below, (position - below).astype(np.float32)


def rows_between(maps: Tensor, below: NDArray[np.intp], weight: NDArray[np.float32]) -> Tensor:
    """Interpolate the row axis of (C, rows, …)."""
    if len(below) == maps.shape[1] and not weight.any():
        return maps
    low = torch.from_numpy(below).to(maps.device)
    share = torch.from_numpy(weight).to(maps.device).reshape(-1, *[1] * (maps.ndim - 2))
    high = (low + 1).clamp(max=maps.shape[1] - 1)
    return torch.lerp(maps.index_select(1, low), maps.index_select(1, high), share)
