"""Scan after scan through one predictor: the next one is read and the last one written while the network works."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from types import TracebackType
from typing import TypeVar

from maskmatch_med.errors import InputError, lacks_memory
from maskmatch_med.inference import Prediction, Predictor
from maskmatch_med.io import CaseFiles
from maskmatch_med.planning import Plan
from maskmatch_med.volume import Volume

T = TypeVar("T")


def predict_case(predictor: Predictor, case: CaseFiles) -> tuple[Volume, Prediction]:
    """Read one scan and segment it.

    Raises:
        InputError: the scan cannot be read, does not fit the model, or needs more memory than there is.
    """
    volume = _read(predictor.plan, case)
    return volume, _segmented(predictor, case, volume, lambda share: None)


def predict_in_turn(
    predictor: Predictor, cases: Sequence[CaseFiles], advance: Callable[[float], None] = lambda share: None
) -> Iterator[tuple[CaseFiles, tuple[Volume, Prediction] | InputError]]:
    """Segment scans in their order, each read while the one before is computed; what is wrong with one is given too.

    A scan that needs more memory than there is is one of those: the others may need less. ``advance`` is called with
    the share of the scan at hand that is done.
    """
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="read") as reader:
        ahead: Future[Volume] | None = None
        for index, case in enumerate(cases):
            reading = ahead or reader.submit(_read, predictor.plan, case)
            volume = _outcome(reading.result)
            ahead = _next(reader, predictor.plan, cases, index)
            if isinstance(volume, InputError):
                yield case, _without_scan(volume)
                continue
            found = _outcome(partial(_segmented, predictor, case, volume, advance))
            yield case, _without_scan(found) if isinstance(found, InputError) else (volume, found)
            del volume, found, reading


class Writer:
    """Writes in a thread, one thing at a time, so that no more than one waits; use as a context manager.

    An error of the thread is raised at the next call, or at the end.
    """

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="write")
        self._last: Future[object] | None = None

    def __enter__(self) -> Writer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(wait=True)
        if kind is None:
            self._settle()

    def submit(self, write: Callable[[], object]) -> None:
        """Write this when what came before is written; until then, wait."""
        self._settle()
        self._last = self._pool.submit(write)

    def _settle(self) -> None:
        if self._last is not None:
            self._last.result()
            self._last = None


def _next(reader: ThreadPoolExecutor, plan: Plan, cases: Sequence[CaseFiles], index: int) -> Future[Volume] | None:
    return reader.submit(_read, plan, cases[index + 1]) if index + 1 < len(cases) else None


def _read(plan: Plan, case: CaseFiles) -> Volume:
    with _memory_explained(case):
        volume = case.read(channels=len(plan.channel_names))
    if volume.channels != len(plan.channel_names):
        raise InputError(
            f"{case.channels[0]} has {volume.channels} channels, the model was trained on "
            f"{len(plan.channel_names)}: {', '.join(plan.channel_names)}"
        )
    if plan.spatial_dims == 3 and 1 in volume.geometry.shape:
        raise InputError(
            f"{case.channels[0]} is a single slice, the model was trained on volumes: give it the whole scan"
        )
    return volume


def _segmented(predictor: Predictor, case: CaseFiles, volume: Volume, advance: Callable[[float], None]) -> Prediction:
    with _memory_explained(case):
        try:
            return predictor.predict(volume, advance)
        except InputError as error:
            raise InputError(f"{case.channels[0]}: {error}") from error


def _outcome(work: Callable[[], T]) -> T | InputError:
    try:
        return work()
    except InputError as error:
        return error


def _without_scan(error: InputError) -> InputError:
    """The error, which no longer holds the scan and all that was made of it: the functions in its traceback did."""
    chain: BaseException | None = error
    while chain is not None:
        traceback.clear_frames(chain.__traceback__)
        chain = chain.__cause__ or chain.__context__
    return error


@contextmanager
def _memory_explained(case: CaseFiles) -> Iterator[None]:
    try:
        yield
    except (RuntimeError, MemoryError, OSError) as error:
        if not lacks_memory(error):
            raise
        raise InputError(
            f"{case.channels[0]} needs more memory than is free; predict with fewer scales, without mirror images, "
            "probabilities and uncertainty, or close other programs"
        ) from error
