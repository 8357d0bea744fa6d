"""The statistics against SciPy, and numbers that a hand can count."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from maskmatch_med.bench.statistics import (
    bootstrap_interval,
    mean_over_seeds,
    mean_sd,
    paired_difference,
    wilcoxon_p,
)


def test_mean_and_deviation_counted_by_hand() -> None:
    assert mean_sd([0.8, 0.9, 1.0]) == pytest.approx((0.9, 0.1))
    assert mean_sd([0.8, math.nan, 1.0]) == pytest.approx((0.9, math.sqrt(0.02)))
    mean, sd = mean_sd([0.5])
    assert mean == 0.5
    assert math.isnan(sd)
    assert all(math.isnan(number) for number in mean_sd([]))


def test_wilcoxon_counted_by_hand() -> None:
    """Five differences of one sign: both tails hold one of the 32 sign patterns each."""
    assert wilcoxon_p([0.1, 0.2, 0.3, 0.4, 0.5]) == pytest.approx(2 / 32)
    assert wilcoxon_p([-0.1, -0.2, -0.3, -0.4, -0.5, 0.0]) == pytest.approx(2 / 32)
    assert wilcoxon_p([0.1, -0.2, 0.3]) == pytest.approx(6 / 8)  # rank sum 2 of 6: patterns of sum 0, 1, 2, twice
    assert wilcoxon_p([0.0, 0.0]) == 1.0


def test_the_interval_is_scipys() -> None:
    values = np.random.default_rng(3).normal(0.02, 0.05, 40)
    low, high = bootstrap_interval(values.tolist(), resamples=20_000)
    theirs = stats.bootstrap(
        (values,), np.mean, n_resamples=20_000, method="percentile", rng=np.random.default_rng(1)
    ).confidence_interval
    assert low == pytest.approx(theirs.low, abs=5e-4)
    assert high == pytest.approx(theirs.high, abs=5e-4)
    assert low < values.mean() < high
    assert bootstrap_interval(values.tolist()) == bootstrap_interval(values.tolist()), "the same numbers every time"


def test_an_interval_covers_the_true_mean_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    inside = 0
    for _ in range(300):
        low, high = bootstrap_interval(rng.normal(1.0, 1.0, 40).tolist(), resamples=400)
        inside += low <= 1.0 <= high
    assert 0.90 <= inside / 300 <= 0.98


def test_too_few_values_have_no_interval() -> None:
    assert all(math.isnan(number) for number in bootstrap_interval([0.3]))
    assert bootstrap_interval([0.25, 0.25, 0.25]) == (0.25, 0.25)


def test_pairs_are_made_by_name_and_absent_scores_left_out() -> None:
    one = {"a": 0.9, "b": 0.8, "c": math.nan, "only one": 0.1}
    other = {"b": 0.6, "a": 0.8, "c": 0.5, "only other": 0.9}
    found = paired_difference(one, other)
    assert found.n == 2
    assert found.mean == pytest.approx(0.15)
    assert found.low == pytest.approx(0.1)
    assert found.high == pytest.approx(0.2)
    assert found.p == pytest.approx(0.5)
    nothing = paired_difference({"a": 1.0}, {"b": 1.0})
    assert nothing.n == 0
    assert math.isnan(nothing.mean)


def test_seeds_are_averaged_scan_by_scan() -> None:
    found = mean_over_seeds([{"a": 0.8, "b": 0.4}, {"b": 0.6, "a": 1.0}, {"a": math.nan, "b": 0.8}])
    assert found == pytest.approx({"a": 0.9, "b": 0.6})
