"""The streaming predictor against the plain one, and its memory."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from maskmatch_med.data.resample import resample, resample_rows
from maskmatch_med.inference import PredictOptions, Predictor
from maskmatch_med.inference.plain import predict_plainly
from maskmatch_med.inference.ring import Ring
from maskmatch_med.inference.windows import importance_map
from tests.inference.test_predictor import Convolution, Thresholds, make_plan, make_volume


class Classes(nn.Module):
    """A convolution of K classes with fixed weights, in two or three dimensions."""

    def __init__(self, dims: int, classes: int) -> None:
        super().__init__()
        self.layer = (nn.Conv3d if dims == 3 else nn.Conv2d)(1, classes, 3, padding=1)
        generator = torch.Generator().manual_seed(classes)
        with torch.no_grad():
            for parameter in self.layer.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=generator))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layer(x)
        return out


def both(network: nn.Module, plan: Any, options: PredictOptions, volume: Any) -> None:
    """Predict both ways and compare everything that comes out."""
    predictor = Predictor(network, plan, options)
    streamed, plain = predictor.predict(volume), predict_plainly(predictor, volume)
    assert np.mean(streamed.labels == plain.labels) >= 0.9995
    for ours, theirs, tolerance in (
        (streamed.probabilities, plain.probabilities, 2e-5),
        (streamed.uncertainty, plain.uncertainty, 5e-5),
    ):
        assert (ours is None) == (theirs is None)
        if ours is not None and theirs is not None:
            np.testing.assert_allclose(ours, theirs, atol=tolerance)
    if options.expected_dice:
        assert streamed.expected_dice == pytest.approx(plain.expected_dice, abs=1e-4)


@pytest.mark.parametrize("classes", [2, 14, 50])
@pytest.mark.parametrize("scales", [(1.0,), (0.7, 1.0, 1.5)])
def test_streaming_equals_plain_for_any_number_of_classes(classes: int, scales: tuple[float, ...]) -> None:
    names = {"background": 0} | {f"structure {k}": k for k in range(1, classes)}
    plan = make_plan((1.1, 1.0, 1.2), (12, 8, 10), label_names=names)
    options = PredictOptions(scales=scales, probabilities=True, uncertainty=True, expected_dice=True, temperature=1.3)
    both(Classes(3, classes), plan, options, make_volume((17, 31, 14), (1.0, 1.1, 1.2)))


@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.5, 0.75, None])
@pytest.mark.parametrize("shape", [(5, 6, 7), (40, 9, 7), (9, 33, 8), (13, 12, 31)])
def test_streaming_equals_plain_at_every_overlap_and_along_every_axis(
    shape: tuple[int, int, int], overlap: float | None
) -> None:
    plan = make_plan((1.0, 1.0, 1.0), (8, 10, 8))
    options = PredictOptions(overlap=overlap, scales=(0.8, 1.0), mirror=overlap == 0.5, uncertainty=True)
    both(Convolution(3), plan, options, make_volume(shape, (0.9, 1.0, 1.3)))


@pytest.mark.parametrize("shape", [(37, 11, 1), (11, 37, 1), (6, 5, 1)])
def test_streaming_equals_plain_in_two_dimensions(shape: tuple[int, int, int]) -> None:
    plan = make_plan((1.0, 1.2), (16, 8))
    options = PredictOptions(scales=(0.7, 1.0, 1.5), mirror=True, uncertainty=True, probabilities=True)
    both(Convolution(2), plan, options, make_volume(shape, (0.8, 1.0, 5.0)))


def test_a_coarse_axis_is_streamed_too() -> None:
    plan = make_plan((1.0, 1.0, 4.0), (8, 8, 4))
    both(Convolution(3), plan, PredictOptions(scales=(1.0, 1.5)), make_volume((14, 12, 40), (1.0, 0.9, 5.0)))


def test_an_identity_network_gives_its_image_back() -> None:
    """Logits are the image itself, so probabilities are its sigmoid wherever windows begin and end."""

    class TwoClasses(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.cat([torch.zeros_like(x), x], dim=1)

    plan = make_plan((1.0, 1.0, 1.0), (8, 8, 8), label_names={"background": 0, "a": 1})
    volume = make_volume((21, 9, 30))
    found = Predictor(TwoClasses(), plan, PredictOptions(probabilities=True, overlap=0.25)).predict(volume)
    image = volume.array[0].astype(np.float64)
    image = np.clip(image, *np.percentile(image, (0.05, 99.95)))
    image = (image - image.mean()) / image.std()
    assert found.probabilities is not None
    np.testing.assert_allclose(found.probabilities[1], 1 / (1 + np.exp(-image)), atol=1e-5)


@pytest.mark.parametrize("orders", [(3, 3, 3), (0, 3, 3), (1, 1, 0)])
def test_rows_of_a_resampled_image_are_rows_of_the_whole(orders: tuple[int, ...]) -> None:
    image = np.random.default_rng(0).normal(size=(2, 90, 11, 13)).astype(np.float32)
    for shape in ((131, 9, 20), (40, 11, 13), (90, 5, 5)):
        whole = resample(image, shape, orders)
        for start, stop in ((0, 7), (7, 30), (shape[0] - 3, shape[0])):
            part = resample_rows(image, shape, orders, slice(start, stop))
            np.testing.assert_allclose(part, whole[:, start:stop], atol=2e-5)


def test_a_ring_by_hand() -> None:
    """Windows of height 4 at rows 0, 2 and 4 with outputs 1, 3 and 5: neighbours share two rows."""
    ring = Ring(1, (1,), importance_map((4, 1), "uniform"), torch.device("cpu"))
    found = []
    for first, stop, value in ((0, 2, 1.0), (2, 4, 3.0), (4, 8, 5.0)):
        ring.add(first, (slice(0, 1),), torch.full((1, 4, 1), value))
        found += ring.finish(first, stop).ravel().tolist()
    assert found == [1, 1, 2, 2, 4, 4, 5, 5]


@pytest.mark.parametrize("halved_after", [0, 2])
def test_a_ring_in_half_precision_is_near(halved_after: int) -> None:
    generator = torch.Generator().manual_seed(0)
    outputs = [5 * torch.randn(3, 8, 8, generator=generator) for _ in range(5)]
    means = []
    for halve in (False, True):
        ring, found = Ring(3, (8,), importance_map((8, 8)), torch.device("cpu")), []
        for number, output in enumerate(outputs):
            if halve and number == halved_after:
                assert ring.halve()
                assert not ring.halve()
            ring.add(4 * number, (slice(0, 8),), output)
            found.append(ring.finish(4 * number, 4 * number + 4))
        means.append(torch.cat(found, dim=1))
    torch.testing.assert_close(means[1], means[0], atol=0.05, rtol=2e-3)
    assert not torch.equal(means[1], means[0])


def test_what_fails_for_memory_adds_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A window that lies across the end of a ring in half precision: the second of its parts does not fit once."""
    ring, output = Ring(1, (2,), torch.ones(4, 2), torch.device("cpu")), torch.full((1, 4, 2), 2.0)
    ring.halve()
    ring.add(0, (slice(0, 2),), output)
    ring.finish(0, 2)
    whole, asked = torch.addcmul, [0]

    def short(*given: Tensor) -> Tensor:
        asked[0] += 1
        if asked[0] == 2:
            raise torch.OutOfMemoryError
        return whole(*given)

    monkeypatch.setattr(torch, "addcmul", short)
    with pytest.raises(torch.OutOfMemoryError):
        ring.add(2, (slice(0, 2),), output)
    ring.add(2, (slice(0, 2),), output)
    assert ring.finish(2, 6).unique().tolist() == [2]


def peak_beyond_input_and_labels(length: int) -> int:
    """Bytes at the peak of a prediction beyond a float32 copy of the scan and its labels; matrices are made before."""
    plan = make_plan((1.0, 1.0, 1.0), (16, 16, 16))
    volume = make_volume((24, length, 24))
    predictor = Predictor(Thresholds(), plan, PredictOptions(scales=(0.8, 1.0, 1.25), uncertainty=False))
    predictor.predict(volume)
    tracemalloc.start()
    predictor.predict(volume)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return peak - volume.array.nbytes - volume.array[0].size


def test_a_scan_four_times_as_long_needs_no_more_memory_beyond_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three scales; NumPy's memory is traced here; ``benchmarks memory`` takes the whole process."""
    monkeypatch.setattr("maskmatch_med.inference.predictor._SLAB_NUMBERS", 4000)
    monkeypatch.setattr("maskmatch_med.data.preprocess._PART", 4000)
    monkeypatch.setattr("maskmatch_med.data.preprocess._PERCENTILE_SAMPLE", 4000)
    short, long = peak_beyond_input_and_labels(100), peak_beyond_input_and_labels(400)
    assert long <= 1.15 * short + 20_000, (short, long)
