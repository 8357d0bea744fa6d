"""The mean over scales, closed some rows at a time into labels, uncertainty and what else is wanted."""

from __future__ import annotations

import errno
import math
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import reduce

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from maskmatch_med.data.preprocess import GridRecord
from maskmatch_med.errors import FULL, InputError
from maskmatch_med.inference.expected_dice import SoftOverlap
from maskmatch_med.inference.memory import where_there_is_room
from maskmatch_med.inference.options import Prediction, PredictOptions
from maskmatch_med.inference.slab import Slab, entropy, largest
from maskmatch_med.inference.stream import NearRows
from maskmatch_med.inference.temperature import tempered

_KEPT_IN_MEMORY = 2**28
"""Bytes of a map of fractions above which it is kept in a temporary file."""


@dataclass(frozen=True, eq=False)
class Closed:
    """Some rows of the scan's grid when all scales have come together, on the host.

    Args:
        labels: (rows, ...) uint8.
        doubt: (rows, ...) uncertainty in [0, 1], where it is wanted.
        probabilities: (K, rows, ...) tempered, where anything needs them.
    """

    labels: NDArray[np.uint8]
    doubt: NDArray[np.float32] | None = None
    probabilities: NDArray[np.float32] | None = None


class Ensemble:
    """Brings the rows of all scales together, row after row, and gives the prediction in file order.

    With several members (scales x mirror images) the uncertainty is their mutual information
    ``H(mean p) - mean H(p)``, by the chain rule the disagreement of the scales plus the mean disagreement of the mirror
    images within a scale; with one member it is ``H(p)``. Both are divided by log K and lie in [0, 1].

    Args:
        classes: K.
        grid: the scan's.
        row_axis: the axis of the scan's grid that slabs cut.
        options: how to predict.
        mirrored: whether each scale is itself a mean over mirror images.
        box: the part of the scan's grid that slabs come from; what lies outside is background beyond doubt.
    """

    def __init__(
        self,
        classes: int,
        grid: GridRecord,
        row_axis: int,
        options: PredictOptions,
        *,
        mirrored: bool,
        box: tuple[slice, ...] | None = None,
    ) -> None:
        self._options, self._row_axis, self._grid = options, row_axis, grid
        self._box = box or tuple(slice(0, n) for n in grid.shape)
        self._several = len(options.scales) > 1 or mirrored
        self._log_classes = math.log(max(classes, 2))
        shape = grid.orientation.source.shape
        self._labels: NDArray[np.uint8] = np.zeros(shape, dtype=np.uint8)
        self._uncertainty = _fractions(shape) if options.uncertainty else None
        self._probabilities = _fractions((classes, *shape)) if options.probabilities else None
        self._overlap = SoftOverlap(classes) if options.expected_dice else None
        if self._probabilities is not None and box is not None:
            self._probabilities[0] = 1.0

    def closed(self, near: Sequence[NearRows]) -> Closed:
        """What the next rows of the box come to, from one part a scale; any thread may ask."""

        def close(maps: Sequence[Tensor]) -> Closed:
            return self._closed([replace(one, maps=lie).slab() for one, lie in zip(near, maps, strict=True)])

        return where_there_is_room(close, [one.maps for one in near])

    def _closed(self, slabs: Sequence[Slab]) -> Closed:
        mean = slabs[0].probabilities
        if len(slabs) > 1:
            mean = reduce(torch.add, [slab.probabilities.to(mean.device) for slab in slabs]).div_(len(slabs))
        labels = largest(mean).cpu().numpy()
        doubt = self._doubt(mean, slabs) if self._uncertainty is not None else None
        if self._probabilities is None and self._overlap is None:
            return Closed(labels, doubt)
        return Closed(labels, doubt, tempered(mean.cpu().numpy(), self._options.temperature))

    def keep(self, rows: slice, closed: Closed) -> None:
        """Take rows of the box, in order."""
        self._rows(self._labels)[rows] = closed.labels
        if self._uncertainty is not None and closed.doubt is not None:
            self._rows(self._uncertainty)[rows] = closed.doubt
        if self._probabilities is not None and closed.probabilities is not None:
            self._rows(self._probabilities)[:, rows] = closed.probabilities
        if self._overlap is not None and closed.probabilities is not None:
            self._overlap.add(closed.labels, closed.probabilities)

    def prediction(self) -> Prediction:
        """When all rows are closed."""
        expected = None if self._overlap is None else self._overlap.expected_dice
        return Prediction(self._labels, self._probabilities, self._uncertainty, expected)

    def _rows(self, array: NDArray[np.generic]) -> NDArray[np.generic]:
        """The box of an array in file order with its rows, of the scan's grid, behind any axis of classes."""
        seen = self._grid.canonical_view(array)
        lead = seen.ndim - len(self._grid.shape)
        within = seen[tuple(slice(None) for _ in range(lead)) + self._box]
        return np.moveaxis(within, lead + self._row_axis, lead)

    def _doubt(self, mean: Tensor, slabs: Sequence[Slab]) -> NDArray[np.float32]:
        nats = entropy(mean)
        if self._several:
            for slab in slabs:
                within = entropy(slab.probabilities)
                if slab.disagreement is not None:
                    within -= slab.disagreement
                nats -= within.to(nats.device) / len(slabs)
        return (nats / self._log_classes).clamp(0, 1).cpu().numpy()


def _fractions(shape: Sequence[int]) -> NDArray[np.float32]:
    """A map of float32, in a temporary file where it is large.

    Raises:
        InputError: the folder of temporary files has no room for it.
    """
    size = 4 * math.prod(shape)
    if size <= _KEPT_IN_MEMORY:
        return np.zeros(tuple(shape), dtype=np.float32)
    try:
        with tempfile.TemporaryFile(prefix="maskmatch-") as file:
            _take_room(file.fileno(), size)
            return np.memmap(file, dtype=np.float32, mode="w+", shape=tuple(shape))
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise InputError(
            f"the maps that are asked for take {size / 2**30:.1f} GiB, more than {tempfile.gettempdir()} has room for; "
            "make room there, set TMPDIR to a larger folder, or predict without probabilities and uncertainty"
        ) from error


def _take_room(file: int, size: int) -> None:
    """Have the disk keep room for a whole file now: where it lacks later, the system ends the process at once."""
    try:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file, 0, size)
    except OSError as error:
        if error.errno not in {errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS}:
            raise
