"""Patches for training: which scans, which places, cut with margin. Every step's choice follows from (seed, step)."""

from __future__ import annotations

import queue
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from maskmatch_med.data.cache import CachedCase
from maskmatch_med.io.labels import UNJUDGED
from maskmatch_med.methods import Batch

Generator = np.random.Generator
Scalar = TypeVar("Scalar", bound=np.generic)


@dataclass(frozen=True)
class SamplingOptions:
    """How many patches of what size, and how many of them sit on a structure."""

    source_vox: tuple[int, ...]
    patch_vox: tuple[int, ...]
    labelled_batch: int
    unlabelled_batch: int
    foreground_share: float
    seed: int


class PatchSampler:
    """Cuts the source crops of any step; the same step always yields the same crops, so resuming needs no state.

    Args:
        labelled: scans with judged voxels.
        unlabelled: scans to learn from without labels; may be empty.
        options: sizes and shares.
    """

    def __init__(
        self, labelled: Sequence[CachedCase], unlabelled: Sequence[CachedCase], options: SamplingOptions
    ) -> None:
        self.labelled, self.unlabelled, self.options = list(labelled), list(unlabelled), options
        self._complete = [case.complete for case in self.labelled]

    def batch(self, step: int) -> Batch:
        """The crops of one step."""
        options = self.options
        rng = np.random.default_rng([options.seed, step])
        labelled = self._turns(len(self.labelled), options.labelled_batch, step, stream=0)
        on_foreground = _whole(options.foreground_share * options.labelled_batch, rng)
        taken = [self._cut_labelled(index, i < on_foreground, rng) for i, index in enumerate(labelled)]
        count = options.unlabelled_batch if self.unlabelled else 0
        unlabelled = self._turns(len(self.unlabelled), count, step, stream=1)
        loose = [self._cut_unlabelled(self.unlabelled[index], rng) for index in unlabelled]
        channels = self.labelled[0].image.shape[0]
        empty = np.zeros((0, channels, *options.source_vox), np.float32)
        return Batch(
            labelled=torch.from_numpy(np.stack([image for image, _ in taken])),
            labels=torch.from_numpy(np.stack([labels for _, labels in taken])),
            unlabelled=torch.from_numpy(np.stack([image for image, _ in loose]) if loose else empty),
            inside=torch.from_numpy(np.stack([inside for _, inside in loose]) if loose else empty[:, :1] > 0),
            cases=tuple(self.labelled[i].name for i in labelled) + tuple(self.unlabelled[i].name for i in unlabelled),
        )

    def _turns(self, cases: int, count: int, step: int, stream: int) -> list[int]:
        """Indices of this step's scans: every scan comes once in a shuffled round before any comes again."""
        turns = []
        for position in range(step * count, (step + 1) * count):
            turn, place = divmod(position, cases)
            order = np.random.default_rng([self.options.seed, stream, turn]).permutation(cases)
            turns.append(int(order[place]))
        return turns

    def _cut_labelled(
        self, index: int, on_foreground: bool, rng: Generator
    ) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
        case = self.labelled[index]
        structures = [label for label in case.voxels if label > 0]
        if on_foreground and structures:
            centre = self._near(case, [int(rng.choice(structures))], rng)
        elif self._complete[index]:
            centre = self._anywhere(case, rng)
        else:
            centre = self._near(case, list(case.voxels), rng)
        labels = cut(case.labels[None], centre, self.options.source_vox, UNJUDGED)[0]
        return cut_image(case, centre, self.options.source_vox), labels

    def _cut_unlabelled(self, case: CachedCase, rng: Generator) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        centre = self._anywhere(case, rng)
        image = cut_image(case, centre, self.options.source_vox)
        return image, cut(np.ones((1, *case.labels.shape), bool), centre, self.options.source_vox, False)

    def _near(self, case: CachedCase, labels: Sequence[int], rng: Generator) -> NDArray[np.intp]:
        places = case.voxels[labels[int(rng.integers(len(labels)))]]
        shape = np.array(case.labels.shape)
        half = np.array(self.options.patch_vox) // 2
        low = np.minimum(half, shape // 2)
        place = places[int(rng.integers(len(places)))]
        return np.asarray(np.clip(place, low, np.maximum(shape - half, low)), dtype=np.intp)

    def _anywhere(self, case: CachedCase, rng: Generator) -> NDArray[np.intp]:
        shape = np.array(case.labels.shape)
        half = np.array(self.options.patch_vox) // 2
        low = np.minimum(half, shape // 2)
        return np.asarray(rng.integers(low, np.maximum(shape - half, low) + 1), dtype=np.intp)


def _whole(number: float, rng: Generator) -> int:
    """One of the two whole numbers around ``number``, drawn so that ``number`` is the mean; a whole number itself."""
    floor = int(number)
    return floor if number == floor else floor + int(rng.random() < number - floor)


def cut(array: NDArray[Scalar], centre: NDArray[np.intp], size: Sequence[int], fill: float) -> NDArray[Scalar]:
    """Copy a box of ``size`` voxels around ``centre`` out of (C, *spatial); ``fill`` outside the scan."""
    start = np.asarray(centre) - np.array(size) // 2
    stop = start + np.array(size)
    shape = np.array(array.shape[1:])
    out = np.full((array.shape[0], *size), fill, array.dtype)
    low, high = np.clip(start, 0, shape), np.clip(stop, 0, shape)
    source = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    target = tuple(slice(a, b) for a, b in zip(low - start, high - start, strict=True))
    out[(slice(None), *target)] = array[(slice(None), *source)]
    return out


def cut_image(case: CachedCase, centre: NDArray[np.intp], size: Sequence[int]) -> NDArray[np.float32]:
    """:func:`cut` of a scan's image, 0 outside the scan, in single precision."""
    return cut(case.image, centre, size, 0).astype(np.float32, copy=False)


class Prefetcher:
    """Cuts the next steps' crops in a thread while the current step computes; use as a context manager.

    Args:
        sampler: where the crops come from.
        first_step: the step to begin with.
        pinned: whether the crops are for a card.
        ahead: how many steps may wait.
    """

    def __init__(self, sampler: PatchSampler, first_step: int, *, pinned: bool = False, ahead: int = 2) -> None:
        self._sampler, self._step, self._pinned = sampler, first_step, pinned
        self._ready: queue.Queue[Batch | BaseException] = queue.Queue(maxsize=ahead)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="prefetch", daemon=True)

    def __enter__(self) -> Prefetcher:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        while not self._ready.empty():
            self._ready.get_nowait()
        self._thread.join(timeout=10)

    def next(self) -> Batch:
        """The next step's crops; an error of the thread is raised here."""
        item = self._ready.get()
        if isinstance(item, BaseException):
            raise item
        return item

    def _work(self) -> None:
        while not self._stop.is_set():
            try:
                cut_out = self._sampler.batch(self._step)
                item: Batch | BaseException = cut_out.pinned() if self._pinned else cut_out
            except Exception as error:
                item = error
            self._step += 1
            while not self._stop.is_set():
                try:
                    self._ready.put(item, timeout=0.1)
                    break
                except queue.Full:
                    continue
