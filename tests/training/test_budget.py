"""The budget, by a clock that the test moves."""

from __future__ import annotations

import pytest

from maskmatch_med.training.budget import Budget


class Clock:
    """Seconds that pass only when told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_iterations_count_and_time_does_not(clock):
    budget = Budget(iterations=8, seconds=None, clock=clock)
    clock.now += 1e6
    assert [budget.progress(i, 0.0) for i in (0, 2, 4, 8, 9)] == [0, 0.25, 0.5, 1, 1]


def test_elapsed_counts_what_was_spent_before(clock):
    budget = Budget(iterations=None, seconds=100, spent=30, clock=clock)
    assert budget.elapsed == 30
    clock.now += 12.5
    assert budget.elapsed == 42.5


def test_progress_runs_from_the_first_iteration_to_the_reserve(clock):
    budget = Budget(iterations=None, seconds=100, spent=20, reserve=10, clock=clock)
    first = budget.elapsed
    assert budget.progress(0, first) == 0
    clock.now += 35
    assert budget.progress(500, first) == pytest.approx(0.5)
    clock.now += 34.9
    assert 0.99 < budget.progress(900, first) < 1
    clock.now += 0.2
    assert budget.progress(901, first) == 1


def test_a_resumed_run_goes_on_where_it_stopped(clock):
    whole = Budget(iterations=None, seconds=100, spent=5, reserve=2, clock=clock)
    first = whole.elapsed
    clock.now += 40
    stopped_at, progress = whole.elapsed, whole.progress(10, first)
    clock.now += 1e5
    resumed = Budget(iterations=None, seconds=100, spent=stopped_at, reserve=2, clock=clock)
    assert resumed.progress(10, first) == pytest.approx(progress)
    clock.now += 53.1
    assert resumed.progress(11, first) == 1


def test_a_longer_reserve_ends_the_run_earlier(clock):
    budget = Budget(iterations=None, seconds=100, clock=clock)
    clock.now += 95
    assert budget.progress(1, 0.0) < 1
    budget.reserve = 6
    assert budget.progress(1, 0.0) == 1


def test_nothing_is_left_when_preparation_took_it_all(clock):
    assert Budget(iterations=None, seconds=3, spent=60, clock=clock).progress(0, 60.0) == 1
