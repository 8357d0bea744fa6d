"""Which scales may speak, against Dice counted in NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from maskmatch_med.methods import ScaleReliability

SCALES = (0.7, 1.0, 1.5)


def one_hot(labels: NDArray[np.int64], sure: float = 0.8) -> torch.Tensor:
    """Probabilities (B, 3, *spatial) whose argmax is ``labels``."""
    p = np.full((*labels.shape, 3), (1 - sure) / 2)
    np.put_along_axis(p, labels[..., None], sure, -1)
    return torch.from_numpy(np.moveaxis(p, -1, 1))


def overlap_and_total(
    predicted: NDArray[np.int64], labels: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    judged = labels != 255
    p, y = predicted[judged], labels[judged]
    overlap = np.array([((p == k) & (y == k)).sum() for k in (1, 2)], float)
    total = np.array([(p == k).sum() + (y == k).sum() for k in (1, 2)], float)
    return overlap, total


@pytest.mark.parametrize("shape", [(9, 8), (5, 6, 4)])
def test_dice_is_numpys_with_older_counts_fading(shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(3)
    reliability = ScaleReliability(SCALES, 3, keep=0.8)
    overlap, total = np.zeros((4, 2)), np.zeros((4, 2))
    for _ in range(4):
        labels = rng.integers(0, 3, (2, *shape))
        labels[rng.random(labels.shape) < 0.2] = 255
        predictions = [np.where(rng.random(labels.shape) < r, labels % 255, 0) for r in (0.3, 0.8, 0.5, 0.9)]
        probabilities = {s: one_hot(p) for s, p in zip(SCALES, predictions[:3], strict=True)}
        reliability.measure(probabilities, one_hot(predictions[3]), torch.from_numpy(labels))
        for row, prediction in enumerate(predictions):
            seen, drawn = overlap_and_total(prediction, labels)
            overlap[row], total[row] = 0.8 * overlap[row] + seen, 0.8 * total[row] + drawn
    found = reliability.dice()
    assert list(found) == ["0.7", "1", "1.5", "ensemble"]
    np.testing.assert_allclose(list(found.values()), (2 * overlap / total).mean(1), atol=1e-9)


def test_an_absent_class_is_left_out_of_the_mean() -> None:
    labels = np.array([[[1, 1, 0, 0]]])
    reliability = ScaleReliability((1.0,), 3)
    reliability.measure({1.0: one_hot(np.array([[[1, 0, 0, 0]]]))}, one_hot(labels), torch.from_numpy(labels))
    assert reliability.dice() == pytest.approx({"1": 2 / 3, "ensemble": 1.0})


def test_nothing_measured_lets_scale_one_speak_alone() -> None:
    reliability = ScaleReliability(SCALES, 3)
    assert reliability.dice() == {}
    assert reliability.weights() == {0.7: 0.0, 1.0: 1.0, 1.5: 0.0}
    assert reliability.weights(gate=False) == {0.7: 1.0, 1.0: 1.0, 1.5: 1.0}


def test_a_batch_without_judged_voxels_is_no_measurement() -> None:
    reliability = ScaleReliability(SCALES, 3)
    unjudged = torch.full((1, 4, 4), 255, dtype=torch.uint8)
    right = one_hot(np.ones((1, 4, 4), np.int64))
    reliability.measure(dict.fromkeys(SCALES, right), right, unjudged)
    assert reliability.weights() == {0.7: 0.0, 1.0: 1.0, 1.5: 0.0}


def test_a_scale_that_hurts_is_out_and_one_that_helps_is_in() -> None:
    labels = np.array([[[1, 1, 1, 1, 0, 0, 0, 0]]])
    plain = np.array([[[1, 1, 1, 0, 0, 0, 0, 0]]])
    worse = np.array([[[0, 0, 1, 0, 0, 0, 1, 1]]])
    better = labels
    probabilities = {0.7: one_hot(worse, 0.95), 1.0: one_hot(plain, 0.8), 1.5: one_hot(better, 0.95)}
    reliability = ScaleReliability(SCALES, 3)
    reliability.measure(probabilities, probabilities[1.0], torch.from_numpy(labels))
    assert reliability.weights() == {0.7: 0.0, 1.0: 1.0, 1.5: 1.0}
    assert reliability.weights(gate=False) == {0.7: 1.0, 1.0: 1.0, 1.5: 1.0}


def test_a_scale_that_lacks_less_than_the_margin_enters() -> None:
    reliability = ScaleReliability((0.85, 1.0, 1.2), 2)
    for row, dice in enumerate([0.90, 0.91, 0.88, 0.91, 0.92, 0.91, 0.92]):
        reliability.counts[row, :, :, 1] = torch.tensor([dice * 50, 100.0])
    assert reliability.weights() == {0.85: 0.0, 1.0: 1.0, 1.2: 0.0}
    assert reliability.weights(margin=0.025) == {0.85: 1.0, 1.0: 1.0, 1.2: 0.0}
    assert reliability.weights(margin=0.05) == {0.85: 1.0, 1.0: 1.0, 1.2: 1.0}
    reliability.counts[:, :, 0, 1] = 4.0
    assert reliability.weights(margin=0.05) == {0.85: 0.0, 1.0: 1.0, 1.2: 0.0}, "a teacher that finds nothing"


def test_a_worse_scale_enters_when_the_pair_is_not_worse() -> None:
    """It is the pair with scale 1 that counts: a timid, wrong scale that changes no vote does no harm."""
    labels = np.array([[[1, 1, 0, 0]]])
    probabilities = {0.7: one_hot(np.array([[[0, 0, 1, 1]]]), 0.4), 1.0: one_hot(labels, 0.95)}
    reliability = ScaleReliability((0.7, 1.0), 3)
    reliability.measure(probabilities, probabilities[1.0], torch.from_numpy(labels))
    assert reliability.dice()["0.7"] == 0
    assert reliability.weights() == {0.7: 1.0, 1.0: 1.0}


def test_scale_one_stays_even_when_it_is_the_worst() -> None:
    labels = np.array([[[1, 1, 0, 0]]])
    probabilities = {1.0: one_hot(1 - labels), 1.5: one_hot(labels, 0.95)}
    reliability = ScaleReliability((1.0, 1.5), 3)
    reliability.measure(probabilities, probabilities[1.0], torch.from_numpy(labels))
    assert reliability.weights() == {1.0: 1.0, 1.5: 1.0}


def test_a_scale_may_recover() -> None:
    labels = np.array([[[1, 1, 1, 1]]])
    good, bad = one_hot(labels, 0.95), one_hot(labels * 0, 0.95)
    reliability = ScaleReliability((0.7, 1.0), 3, keep=0.5)
    measured = []
    for seven in (bad, good, good, good):
        plain = one_hot(np.array([[[1, 1, 1, 0]]]), 0.6)
        reliability.measure({0.7: seven, 1.0: plain}, plain, torch.from_numpy(labels))
        measured.append(reliability.weights()[0.7])
    assert (measured[0], measured[-1]) == (0.0, 1.0)


def test_patches_without_any_structure_open_no_gate() -> None:
    """All is background and all say so: Dice has no value, so nothing is known of the other scales."""
    labels = np.zeros((1, 4, 4), np.int64)
    reliability = ScaleReliability(SCALES, 3)
    reliability.measure(dict.fromkeys(SCALES, one_hot(labels)), one_hot(labels), torch.from_numpy(labels))
    assert reliability.weights() == {0.7: 0.0, 1.0: 1.0, 1.5: 0.0}


def test_the_order_of_the_measured_scales_does_not_matter() -> None:
    labels = np.array([[[1, 1, 0, 0]]])
    right, wrong = one_hot(labels, 0.9), one_hot(labels * 0, 0.95)
    reliability = ScaleReliability((0.7, 1.0), 3)
    reliability.measure({1.0: right, 0.7: wrong}, right, torch.from_numpy(labels))
    assert reliability.dice() == pytest.approx({"0.7": 0.0, "1": 1.0, "ensemble": 1.0})


def test_a_scale_must_be_worth_what_would_stand_in_its_place() -> None:
    """It helps scale 1, so it enters; a mirror image helps more, so with that as its rival it does not."""
    labels = np.array([[[1, 1, 1, 1]]])
    plain, scale, mirror = (one_hot(np.array([[row]]), 0.9) for row in ([1, 1, 0, 0], [1, 1, 1, 0], [1, 1, 1, 1]))
    timid = one_hot(np.array([[[1, 1, 0, 0]]]), 0.6)
    for rivals, weight in ((None, 1.0), ({0.7: mirror}, 0.0), ({0.7: timid}, 1.0)):
        reliability = ScaleReliability((0.7, 1.0), 3)
        said = {0.7: scale, 1.0: one_hot(np.array([[[1, 1, 0, 0]]]), 0.6)}
        reliability.measure(said, plain, torch.from_numpy(labels), rivals)
        assert reliability.weights() == {0.7: weight, 1.0: 1.0}
        assert reliability.dice()["0.7"] == pytest.approx(6 / 7)


def test_a_structure_that_one_row_alone_finds_counts_for_all() -> None:
    """Class 2 is nowhere drawn. Scale 1 finds a voxel of it, scale 0.7 none: that is an error of scale 1 alone.

    On class 1 both are right, so by hand: 0.7 has (1 + 1) / 2, scale 1 has (1 + 0) / 2.
    """
    labels, wrong = np.array([[[1, 1, 0, 0]]]), one_hot(np.array([[[1, 1, 0, 2]]]))
    reliability = ScaleReliability((0.7, 1.0), 3)
    reliability.measure({0.7: one_hot(labels), 1.0: wrong}, wrong, torch.from_numpy(labels))
    assert reliability.dice() == {"0.7": 1.0, "1": 0.5, "ensemble": 0.5}
