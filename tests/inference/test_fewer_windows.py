"""Windows that are spared: those of one value, which change nothing, and those where a coarse look finds nothing."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from maskmatch_med.inference import EagerEngine, PredictOptions, Predictor
from maskmatch_med.inference.plain import predict_plainly
from maskmatch_med.volume import Volume
from tests.inference.test_predictor import Convolution, make_plan, make_volume


class Counting(EagerEngine):
    """Eager, with a count of the windows that pass."""

    passed = 0

    def __call__(self, windows: Tensor) -> Tensor:
        self.passed += windows.shape[0]
        return super().__call__(windows)


class Bright(nn.Module):
    """Structure wherever the normalised image is above a value."""

    def __init__(self, offset: float = 1) -> None:
        super().__init__()
        self.offset = offset

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([torch.zeros_like(x), 8 * (x - self.offset)], dim=1)


def with_block(shape: tuple[int, int, int], block: tuple[slice, ...], *, noise: float) -> Volume:
    volume = make_volume(shape)
    array: NDArray[np.float32] = noise * np.random.default_rng(1).normal(size=(1, *shape)).astype(np.float32)
    array[(0, *block)] += 20
    return Volume(array, volume.geometry)


@pytest.mark.parametrize("scales", [(1.0,), (0.7, 1.0, 1.5)])
def test_windows_of_one_value_pass_once_and_change_nothing(scales: tuple[float, ...]) -> None:
    plan = make_plan((1.0, 1.0, 1.0), (8, 8, 8))
    volume = with_block((64, 24, 24), (slice(40, 52), slice(4, 14), slice(5, 15)), noise=0)
    engine = Counting(Convolution(3))
    options = PredictOptions(scales=scales, probabilities=True, mirror=True)
    predictor = Predictor(engine, plan, options)
    found = predictor.predict(volume)
    spared = engine.passed
    plain = predict_plainly(predictor, volume)
    assert spared < 0.6 * (engine.passed - spared)
    np.testing.assert_allclose(found.probabilities, plain.probabilities, atol=2e-5)
    assert np.mean(found.labels == plain.labels) > 0.9999


def test_a_window_is_not_flat_for_equal_corners() -> None:
    plan = make_plan((1.0, 1.0, 1.0), (8, 8, 8), label_names={"background": 0, "a": 1})
    volume = with_block((24, 8, 8), (slice(3, 5), slice(3, 5), slice(3, 5)), noise=0)
    assert Predictor(Bright(), plan).predict(volume).labels.sum() == 8


def test_a_coarse_look_leaves_windows_out_and_keeps_the_structure() -> None:
    plan = make_plan((1.0, 1.0, 1.0), (8, 8, 8), label_names={"background": 0, "a": 1})
    volume = with_block((40, 36, 96), (slice(20, 30), slice(5, 15), slice(60, 72)), noise=0.2)
    engines = Counting(Bright()), Counting(Bright())
    wanted = {"uncertainty": True, "probabilities": True, "expected_dice": True}
    whole = Predictor(engines[0], plan, PredictOptions(**wanted)).predict(volume)
    found = Predictor(engines[1], plan, PredictOptions(locate=True, **wanted)).predict(volume)
    np.testing.assert_array_equal(found.labels, whole.labels)
    assert engines[1].passed < 0.5 * engines[0].passed
    assert found.probabilities is not None
    np.testing.assert_allclose(found.probabilities.sum(axis=0), 1, atol=1e-5)
    assert found.probabilities[0, 0, 0, 0] == 1


@pytest.mark.parametrize("blobs", [0, 2])
def test_where_the_coarse_look_does_not_tell_the_whole_scan_is_predicted(blobs: int) -> None:
    """Nothing is found, or something in opposite corners: every window passes, and those of the look."""
    plan = make_plan((1.0, 1.0, 1.0), (8, 8, 8), label_names={"background": 0, "a": 1})
    volume = with_block((32, 32, 32), (slice(0, 6),) * 3, noise=0.01)
    volume.array[0, -6:, -6:, -6:] += 20
    network = Bright(offset=1 if blobs else 1000)
    engines = Counting(network), Counting(network)
    whole = Predictor(engines[0], plan).predict(volume)
    found = Predictor(engines[1], plan, PredictOptions(locate=True)).predict(volume)
    np.testing.assert_array_equal(found.labels, whole.labels)
    assert whole.labels.any() == bool(blobs)
    assert engines[1].passed > engines[0].passed == 7**3


def test_a_small_scan_is_not_looked_at_first() -> None:
    plan = make_plan((1.0, 1.0, 1.0), (8, 8, 8))
    engine = Counting(Convolution(3))
    Predictor(engine, plan, PredictOptions(locate=True)).predict(make_volume((12, 8, 8)))
    assert engine.passed == 2
