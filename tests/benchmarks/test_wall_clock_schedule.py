"""A schedule written in epochs follows the share of the time that is spent."""

from __future__ import annotations

import pytest

from benchmarks.wall_clock import step_of


@pytest.mark.parametrize(("elapsed_s", "step"), [(0, 0), (15, 250), (30, 500), (60, 1000), (61, 1000), (-1, 0)])
def test_the_step_is_in_proportion_to_the_time_and_stays_in_the_schedule(elapsed_s: float, step: float) -> None:
    assert step_of(elapsed_s, 60, 1000) == step


def test_the_polynomial_falls_from_the_initial_rate_to_zero_over_the_time() -> None:
    rates = [0.01 * (1 - step_of(elapsed_s, 60, 1000) / 1000) ** 0.9 for elapsed_s in range(0, 61, 10)]
    assert rates[0] == 0.01
    assert rates[-1] == 0
    assert rates == sorted(rates, reverse=True)


@pytest.mark.parametrize("budget_s", [0, -1, float("nan")])
def test_no_time_is_refused(budget_s: float) -> None:
    with pytest.raises(ValueError, match="more than 0 seconds"):
        step_of(1, budget_s, 1000)
