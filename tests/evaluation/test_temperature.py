"""Temperature: known ones are recovered, labels stay, and the search finds what a fine grid finds."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import log_softmax, softmax

from maskmatch_med.errors import InputError
from maskmatch_med.evaluation.calibration import calibrate_case
from maskmatch_med.evaluation.temperature import (
    GREATEST,
    LEAST,
    MOST_VOXELS,
    drawn_voxels,
    fit_temperature,
    negative_log_likelihood,
)
from maskmatch_med.inference.temperature import tempered


def honest(voxels: int, classes: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Logits (K, N) and classes drawn with exactly their softmax."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2, (classes, voxels))
    chances = softmax(logits, axis=0).cumsum(axis=0)
    return logits, (rng.uniform(size=voxels) > chances).sum(axis=0).clip(max=classes - 1).astype(np.uint8)


@pytest.mark.parametrize("known", [0.4, 1.0, 2.5])
def test_a_known_temperature_is_recovered(known):
    """The model says softmax(T z) where softmax(z) is true: T is what makes it honest."""
    logits, true = honest(60_000, 3, 1)
    said = softmax(known * logits, axis=0).astype(np.float32)
    assert fit_temperature(said, true) == pytest.approx(known, rel=0.03)


def test_the_fit_is_the_least_of_a_fine_grid_by_scipys_own_log_softmax():
    logits, true = honest(3000, 4, 2)
    said = softmax(1.7 * logits + 0.3, axis=0).astype(np.float32)

    def loss(temperature: float) -> float:
        return float(-log_softmax(1.7 * logits / temperature, axis=0)[true, np.arange(true.size)].mean())

    grid = np.exp(np.linspace(np.log(0.3), np.log(6), 4001))
    best = grid[np.argmin([loss(t) for t in grid])]
    assert fit_temperature(said, true) == pytest.approx(best, rel=5e-3)
    assert negative_log_likelihood(said, true, 2.0) == pytest.approx(loss(2.0), rel=1e-5)


def test_models_that_know_all_or_nothing_end_at_the_bounds():
    true = np.array([0, 1, 2, 1] * 50, np.uint8)
    right = np.full((3, true.size), 0.2, np.float32)
    right[true, np.arange(true.size)] = 0.6
    assert fit_temperature(right, true) == pytest.approx(LEAST, rel=0.05)
    assert fit_temperature(right, (true + 1) % 3) == pytest.approx(GREATEST, rel=0.05)


def test_nothing_to_fit_to_and_an_unknown_class_are_refused():
    with pytest.raises(InputError, match="no voxel"):
        fit_temperature(np.zeros((2, 0), np.float32), np.zeros(0, np.uint8))
    with pytest.raises(InputError, match="class 2, the model has the classes 0 to 1"):
        fit_temperature(np.full((2, 3), 0.5, np.float32), np.array([0, 1, 2], np.uint8))


@pytest.mark.parametrize("temperature", [0.3, 0.9, 1.0, 4.0])
def test_tempering_is_the_softmax_of_divided_logits_and_keeps_the_order(temperature):
    logits = np.random.default_rng(3).normal(0, 3, (4, 6, 5, 7))
    probabilities = softmax(logits, axis=0).astype(np.float32)
    found = tempered(probabilities, temperature)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, softmax(logits / temperature, axis=0), rtol=2e-4, atol=1e-6)
    np.testing.assert_array_equal(found.argsort(axis=0)[-1], probabilities.argsort(axis=0)[-1])
    np.testing.assert_allclose(found.sum(axis=0), 1, atol=1e-5)


def test_a_probability_of_nothing_has_a_temperature_too():
    found = tempered(np.array([[1.0], [0.0]], np.float32), 2.0)
    assert found[1, 0] == pytest.approx(1e-6, rel=1e-3)
    with pytest.raises(ValueError, match="above 0, got 0"):
        tempered(np.ones((1, 1), np.float32), 0)


def test_what_is_fitted_calibrates_other_voxels():
    logits, true = honest(40_000, 3, 4)
    boastful = softmax(3 * logits, axis=0).astype(np.float32).reshape(3, 40, 40, 25)
    reference = true.reshape(40, 40, 25)
    fitted = fit_temperature(*drawn_voxels(boastful[:, :20], reference[:20], 0))
    before, after = (
        calibrate_case(p, reference[20:]).ece for p in (boastful[:, 20:], tempered(boastful, fitted)[:, 20:])
    )
    assert before > 0.1
    assert after < 0.02


def test_drawn_voxels_are_judged_few_and_the_same_each_time():
    rng = np.random.default_rng(5)
    probabilities = rng.dirichlet([1, 1], (40, 40, 40)).transpose(3, 0, 1, 2).astype(np.float32)
    reference = np.where(probabilities[1] > 0.5, 1, 0).astype(np.uint8)
    reference[:10] = 255
    one, again, other = (drawn_voxels(probabilities, reference, seed) for seed in (0, 0, 1))
    assert one[0].shape == (2, MOST_VOXELS)
    assert set(np.unique(one[1])) == {0, 1}
    np.testing.assert_array_equal(one[1], one[0][1] > 0.5)  # each probability still stands beside its own class
    np.testing.assert_array_equal(one[0], again[0])
    assert not np.array_equal(one[0], other[0])
    few = drawn_voxels(probabilities[:, :11], reference[:11], 0)
    assert few[1].size == 40 * 40
