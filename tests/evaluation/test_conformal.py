"""The interval of the expected Dice: against its definition by brute force, by hand, and its coverage by simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest

from maskmatch_med.evaluation.conformal import DiceOffsets, conformal_offsets, rank_correlation


def offsets(residuals: np.ndarray) -> DiceOffsets:
    found = conformal_offsets([0.0] * len(residuals), list(residuals))
    assert found is not None
    return found


def test_ten_scans_by_hand():
    """ceil(11 * 0.9) = 10th of 10 distances. The median of 1..10 and a large value is 6, the farthest from it 1."""
    found = offsets(np.arange(1, 11) / 100)
    assert (found.low, found.middle, found.high) == pytest.approx((0.0, 0.055, 0.11))


def test_nineteen_scans_by_hand():
    """ceil(20 * 0.9) = 18th. Medians with a further large or small value: 10.5 and 9.5; the 18th distance is 8.5."""
    found = offsets(np.arange(1, 20) / 100)
    assert (found.low, found.middle, found.high) == pytest.approx((0.095 - 0.085, 0.10, 0.105 + 0.085))


def test_fewer_than_ten_scans_have_no_interval():
    assert conformal_offsets([0.8] * 9, [0.7] * 9) is None
    assert conformal_offsets([0.8] * 10, [0.7] * 10) is not None
    with pytest.raises(ValueError, match="zip"):
        conformal_offsets([0.8] * 11, [0.7] * 10)


@pytest.mark.parametrize("n", [10, 11, 18, 19, 29, 30])
def test_both_ends_are_those_of_the_definition(n):
    """Every candidate value, joined to the others, is judged by the rank of its distance from the joint median."""
    residuals = np.random.default_rng(n).normal(-0.05, 0.06, n)
    rank = math.ceil((n + 1) * 9 / 10)
    inside = []
    for candidate in np.arange(-0.6, 0.6, 1e-4):
        joined = np.append(residuals, candidate)
        distances = np.abs(joined - np.median(joined))
        if distances[-1] <= np.sort(distances)[rank - 1] + 1e-12:
            inside.append(candidate)
    found = offsets(residuals)
    assert (min(inside), max(inside)) == pytest.approx((found.low, found.high), abs=1.1e-4)
    assert np.diff(inside).max() < 1.5e-4  # no gap: the ends tell all


@pytest.mark.parametrize(("n", "bias"), [(10, -0.1), (15, 0.0), (30, -0.1)])
def test_coverage_of_exchangeable_scans_is_what_the_theorem_says(n, bias):
    rng = np.random.default_rng(7)
    runs, hits = 8000, 0
    for _ in range(runs):
        true = np.clip(rng.beta(20, 4, n + 1), 0, 1)
        expected = np.clip(true - bias + rng.standard_t(4, n + 1) * 0.04, 0, 1)
        found = conformal_offsets(list(expected[:-1]), list(true[:-1]))
        low, _, high = found.around(expected[-1])
        hits += low <= true[-1] <= high
    promised = math.ceil((n + 1) * 9 / 10) / (n + 1)
    assert hits / runs == pytest.approx(promised, abs=3.5 * math.sqrt(0.09 / runs))


def test_a_bias_moves_the_interval_and_does_not_widen_it():
    residuals = np.random.default_rng(8).normal(0, 0.05, 20)
    plain, moved = offsets(residuals), offsets(residuals - 0.2)
    assert moved.middle == pytest.approx(plain.middle - 0.2)
    assert moved.high - moved.low == pytest.approx(plain.high - plain.low)


def test_an_interval_is_cut_where_no_dice_lies():
    assert DiceOffsets(-0.2, 0.01, 0.1).around(0.95) == (pytest.approx(0.75), pytest.approx(0.96), 1.0)
    assert DiceOffsets(-0.2, -0.01, 0.1).around(0.0) == (0.0, 0.0, pytest.approx(0.1))


def test_rank_correlation_counts_order_alone_and_may_not_exist():
    assert rank_correlation([0.1, 0.2, 0.9, 0.3], [1, 2, 100, 3]) == pytest.approx(1)
    # ranks 1 2 3 4 against 2 1 4 3: 1 - 6 * 4 / (4 * 15)
    assert rank_correlation([1, 2, 3, 4], [2, 1, 4, 3]) == pytest.approx(0.6)
    assert rank_correlation([0.1, 0.2], [0.1, 0.2]) is None
    assert rank_correlation([0.5, 0.5, 0.5], [0.1, 0.2, 0.3]) is None
