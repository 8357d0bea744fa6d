"""Pieces of work side by side: order, bound, threads, errors."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from functools import partial

import pytest
import torch

from maskmatch_med.inference.in_turn import in_turn


def test_results_come_in_the_order_of_the_pieces() -> None:
    def slow(number: int) -> int:
        time.sleep(0.01 * (number % 3))
        return number

    assert list(in_turn(partial(slow, number) for number in range(20))) == list(range(20))


def test_pieces_are_not_made_far_ahead() -> None:
    made, release = list[int](), threading.Event()

    def pieces() -> Iterator[Callable[[], int]]:
        for number in range(50):
            made.append(number)
            yield lambda: 0 if release.wait(30) else 1

    most = 2 * torch.get_num_threads() + 1
    threading.Timer(0.3, release.set).start()
    results = in_turn(pieces())
    assert next(results) == 0
    assert len(made) <= most
    assert sum(results) == 0


def test_each_piece_computes_alone_and_without_gradients_and_others_keep_their_threads() -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        inside = list(in_turn([torch.get_num_threads, torch.is_inference_mode_enabled]))
        assert inside == [1, True]
        assert torch.get_num_threads() == 2
        elsewhere = list[int]()
        other = threading.Thread(target=lambda: elsewhere.append(torch.get_num_threads()))
        other.start()
        other.join()
        assert elsewhere == [2]
    finally:
        torch.set_num_threads(before)


def test_an_error_reaches_the_caller() -> None:
    def fails() -> int:
        raise ValueError("this piece")

    with pytest.raises(ValueError, match="this piece"):
        list(in_turn([lambda: 1, fails]))
