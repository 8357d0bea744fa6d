"""Pieces of work on a few threads, each computing alone, results in the order of the pieces.

PyTorch's own threads share every single operation and meet at its end. On arrays as small as a slab that costs more
than it saves, above all where other work runs too.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Barrier
from typing import TypeVar

import torch

T = TypeVar("T")
_MOST_THREADS = 4
"""So that what the threads hold stays small on a machine of many cores; PyTorch's own setting if that is fewer."""
_PENDING_A_THREAD = 2


def in_turn(pieces: Iterable[Callable[[], T]]) -> Iterator[T]:
    """Do pieces of work side by side, in inference mode.

    Args:
        pieces: made one after the other by the calling thread, no more than two a thread ahead of what is given back.

    Yields:
        what each piece returns, in order.
    """
    threads = min(torch.get_num_threads(), _MOST_THREADS)
    pending: deque[Future[T]] = deque()
    with _alone(threads) as pool:
        for piece in pieces:
            pending.append(pool.submit(_inferred, piece))
            while pending and (pending[0].done() or len(pending) > _PENDING_A_THREAD * threads):
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()


def _inferred(piece: Callable[[], T]) -> T:
    with torch.inference_mode():
        return piece()


def _alone(threads: int) -> ThreadPoolExecutor:
    """Threads in which PyTorch computes alone; in the calling one it keeps its threads."""
    pool, all_there = ThreadPoolExecutor(threads), Barrier(threads)

    def begin() -> None:
        torch.get_num_threads()  # a thread's first call of anything takes over the program's setting
        torch.set_num_threads(1)
        all_there.wait()

    ours = torch.get_num_threads()
    for started in [pool.submit(begin) for _ in range(threads)]:
        started.result()
    torch.set_num_threads(ours)  # the setting is the thread's, but new threads take the last one that was made
    return pool
