"""Intensity changes: which items, which amounts, and each operation against NumPy or SciPy."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from maskmatch_med.views import LABELLED, STRONG, IntensityDraw, apply_intensity, draw_intensity
from maskmatch_med.views.intensity import IntensityStrength

OPERATIONS = ("noise", "blur", "brightness", "contrast", "low_resolution", "gamma")
SHAPES = [(14, 11), (10, 9, 8)]
NEVER = IntensityStrength(**{name: (0.0, getattr(LABELLED, name)[1]) for name in OPERATIONS})


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def batch(shape: tuple[int, ...], items: int = 3, channels: int = 2) -> torch.Tensor:
    image = np.random.default_rng(2).normal(0.3, 1.2, (items, channels, *shape))
    return torch.from_numpy(image.astype(np.float32))


def only(name: str, amounts: dict[int, float], seed: int = 9) -> IntensityDraw:
    return IntensityDraw({operation: amounts if operation == name else {} for operation in OPERATIONS}, seed)


def apply_to_one(name: str, amount: float, image: torch.Tensor) -> NDArray[np.float32]:
    return np.asarray(apply_intensity(image, only(name, {0: amount}))[0].numpy())


def test_the_strengths_name_these_operations() -> None:
    assert tuple(field.name for field in fields(IntensityStrength)) == OPERATIONS


@pytest.mark.parametrize("shape", SHAPES)
def test_probability_zero_is_the_identity(shape: tuple[int, ...]) -> None:
    image = batch(shape)
    assert torch.equal(apply_intensity(image, draw_intensity(3, NEVER, generator())), image)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", OPERATIONS)
def test_only_the_drawn_item_changes_and_its_input_is_left_alone(shape: tuple[int, ...], name: str) -> None:
    image = batch(shape)
    before = image.clone()
    found = apply_intensity(image, only(name, {1: 0.6}))
    assert torch.equal(image, before)
    assert torch.equal(found[0], image[0])
    assert torch.equal(found[2], image[2])
    assert not torch.allclose(found[1], image[1], atol=1e-3)
    assert found.shape == image.shape
    assert found.dtype == image.dtype


@pytest.mark.parametrize("shape", SHAPES)
def test_a_draw_repeats_and_another_differs(shape: tuple[int, ...]) -> None:
    image = batch(shape)
    draw, other = draw_intensity(3, STRONG, generator(1)), draw_intensity(3, STRONG, generator(2))
    assert torch.equal(apply_intensity(image, draw), apply_intensity(image, draw))
    assert draw == draw_intensity(3, STRONG, generator(1))
    assert not torch.equal(apply_intensity(image, draw), apply_intensity(image, other))


def test_applying_a_draw_leaves_the_global_randomness_alone() -> None:
    before = torch.get_rng_state()
    apply_intensity(batch((8, 8)), draw_intensity(3, replace(STRONG, noise=(1.0, (0.1, 0.2))), generator(1)))
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("name", OPERATIONS)
def test_amounts_and_frequencies_are_those_of_the_strength(name: str) -> None:
    probability, (low, high) = getattr(STRONG, name)
    amounts = draw_intensity(2000, STRONG, generator(3)).amounts[name]
    assert len(amounts) / 2000 == pytest.approx(probability, abs=5 * np.sqrt(probability * (1 - probability) / 2000))
    values = np.array(list(amounts.values()))
    assert low <= values.min() < low + 0.05 * (high - low)
    assert high - 0.05 * (high - low) < values.max() <= high


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("amount", [0.5, 1.7])
def test_gamma_keeps_mean_and_deviation_and_bends_as_numpy_does(shape: tuple[int, ...], amount: float) -> None:
    image = batch(shape)
    found = apply_to_one("gamma", amount, image)
    for channel in range(2):
        x = image[0, channel].numpy().astype(np.float64)
        bent = ((x - x.min()) / (x.max() - x.min())) ** amount
        wanted = (bent - bent.mean()) / bent.std() * x.std() + x.mean()
        np.testing.assert_allclose(found[channel], wanted, atol=2e-4)
        assert found[channel].mean() == pytest.approx(x.mean(), abs=1e-4)
        assert found[channel].std() == pytest.approx(x.std(), rel=1e-4)


def test_gamma_of_an_empty_scan_is_finite() -> None:
    found = apply_to_one("gamma", 0.6, torch.full((1, 1, 4, 4), 2.0))
    np.testing.assert_allclose(found, 2.0)


@pytest.mark.parametrize("shape", SHAPES)
def test_brightness_and_contrast(shape: tuple[int, ...]) -> None:
    image = batch(shape)
    x = image[0].numpy()
    np.testing.assert_allclose(apply_to_one("brightness", 1.3, image), x * 1.3, rtol=1e-6)
    axes = tuple(range(1, x.ndim))
    mean, low, high = (f(x, axis=axes, keepdims=True) for f in (np.mean, np.min, np.max))
    for amount in (0.6, 1.5):
        wanted = np.clip((x - mean) * amount + mean, low, high)
        np.testing.assert_allclose(apply_to_one("contrast", amount, image), wanted, atol=1e-5)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("sigma", [0.5, 1.3])
def test_blur_is_scipys_gaussian(shape: tuple[int, ...], sigma: float) -> None:
    image = batch(shape)
    radius = max(1, round(3 * sigma))
    found = apply_to_one("blur", sigma, image)
    for channel in range(2):
        wanted = gaussian_filter(image[0, channel].double().numpy(), sigma, mode="nearest", radius=radius)
        np.testing.assert_allclose(found[channel], wanted, atol=1e-5)


def test_blur_wider_than_the_scan() -> None:
    image = batch((3, 12, 1))
    wanted = gaussian_filter(image[0, 0].double().numpy(), 1.5, mode="nearest", radius=4)
    np.testing.assert_allclose(apply_to_one("blur", 1.5, image)[0], wanted, atol=1e-5)


@pytest.mark.parametrize("shape", SHAPES)
def test_noise_has_the_drawn_deviation_and_is_new_in_every_item(shape: tuple[int, ...]) -> None:
    image = torch.zeros(2, 8, *shape)
    found = apply_intensity(image, only("noise", {0: 0.3, 1: 0.1})).numpy()
    assert found[0].std() == pytest.approx(0.3, rel=0.1)
    assert found[1].std() == pytest.approx(0.1, rel=0.1)
    assert abs(np.corrcoef(found[0].ravel(), found[1].ravel())[0, 1]) < 0.1


def test_low_resolution_takes_every_second_voxel_and_interpolates_between() -> None:
    ramp = torch.arange(8.0).expand(1, 1, 8, 8)
    found = apply_to_one("low_resolution", 0.5, ramp)[0, 0]
    np.testing.assert_allclose(found, [1.0, 1.5, 2.5, 3.5, 4.5, 5.5, 6.5, 7.0], atol=1e-5)


@pytest.mark.parametrize("shape", SHAPES)
def test_low_resolution_of_one_is_the_identity(shape: tuple[int, ...]) -> None:
    image = batch(shape)
    np.testing.assert_allclose(apply_to_one("low_resolution", 1.0, image), image[0], atol=1e-6)


def test_low_resolution_leaves_a_thick_axis_alone() -> None:
    """On an image that changes along the thick axis only, nothing is lost; on one along a thin axis, something is."""
    ramp = torch.rand(6, generator=generator())
    along_thick = ramp.view(1, 1, 1, 1, 6).expand(1, 1, 8, 8, 6).contiguous()
    along_thin = along_thick.movedim(-1, 2).contiguous()
    draw = only("low_resolution", {0: 0.5})
    assert torch.allclose(apply_intensity(along_thick, draw, (True, True, False)), along_thick, atol=1e-6)
    assert not torch.allclose(apply_intensity(along_thick, draw), along_thick, atol=1e-3)
    assert not torch.allclose(apply_intensity(along_thin, draw, (True, True, False)), along_thin, atol=1e-3)
