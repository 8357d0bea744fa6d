"""The expected Dice counted by loops, on blocks, and by a predictor of one and of several scales."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from maskmatch_med.errors import InputError
from maskmatch_med.inference import PredictOptions, Predictor
from maskmatch_med.inference import predictor as predictor_module
from maskmatch_med.inference.expected_dice import SoftOverlap, expected_dice
from maskmatch_med.inference.region import MARGIN_VOX, surroundings
from maskmatch_med.inference.temperature import tempered
from maskmatch_med.planning.plan import ChannelNormalisation, NetworkPlan, Plan
from maskmatch_med.volume import Geometry, Volume


def by_loops(probabilities: np.ndarray) -> float:
    """The formula as it is printed, over the box of the argmax with five voxels around it."""
    chosen = probabilities.argmax(axis=0)
    places = np.argwhere(chosen > 0)
    low, high = np.maximum(places.min(axis=0) - 5, 0), places.max(axis=0) + 6
    box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    found = []
    for k in range(1, probabilities.shape[0]):
        p, y = probabilities[k][box].astype(float), (chosen[box] == k).astype(float)
        if y.sum():
            found.append(2 * (p * y).sum() / (p.sum() + y.sum()))
    return float(np.mean(found))


def blobs(seed: int, classes: int = 3, shape: tuple[int, ...] = (22, 20, 18)) -> np.ndarray:
    """Probabilities of structures far from the edge; the last class is nowhere the most probable."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 1, (classes, *shape))
    logits[0] += 3
    middle = tuple(slice(n // 2 - 2, n // 2 + 2) for n in shape)
    logits[(1, *middle)] += 4
    logits[-1] -= 9
    powers = np.exp(logits)
    return (powers / powers.sum(axis=0)).astype(np.float32)


def test_four_voxels_by_hand():
    foreground = np.array([0.9, 0.8, 0.4, 0.1], np.float32).reshape(4, 1, 1)
    # segmented: the first two; 2 (0.9 + 0.8) / (2.2 + 2)
    assert expected_dice(np.stack([1 - foreground, foreground])) == pytest.approx(3.4 / 4.2)


def test_a_sure_model_expects_all_and_an_empty_segmentation_nothing():
    mask = np.zeros((2, 12, 12, 12), np.float32)
    mask[1, 4:8, 4:8, 4:8] = 1
    mask[0] = 1 - mask[1]
    assert expected_dice(mask) == 1
    assert expected_dice(np.stack([np.ones((6, 6, 6)), np.zeros((6, 6, 6))]).astype(np.float32)) == 0


@pytest.mark.parametrize("temperature", [0.6, 1.0, 1.8])
def test_it_is_the_printed_formula_of_the_tempered_probabilities(temperature):
    probabilities = blobs(1)
    powers = probabilities.astype(float) ** (1 / temperature)
    assert expected_dice(probabilities, temperature) == pytest.approx(by_loops(powers / powers.sum(axis=0)), rel=1e-5)


def test_far_voxels_count_for_nothing_and_near_ones_do():
    probabilities = np.zeros((2, 40, 12, 12), np.float32)
    probabilities[1, 5:8, 5:8, 5:8] = 0.9
    here = expected_dice(np.concatenate([1 - probabilities[1:], probabilities[1:]]))
    for row, changes in ((7 + MARGIN_VOX, True), (8 + MARGIN_VOX, False)):
        doubt = probabilities[1:].copy()
        doubt[0, row] = 0.3
        assert (expected_dice(np.concatenate([1 - doubt, doubt])) != here) == changes


def test_blocks_of_rows_add_up():
    probabilities = blobs(2)
    labels = probabilities.argmax(axis=0).astype(np.uint8)
    overlap, scaled = SoftOverlap(3), tempered(probabilities, 1.4)
    for start in range(0, 22, 5):
        rows = slice(start, min(start + 5, 22))
        overlap.add(labels[rows], scaled[:, rows])
    assert overlap.expected_dice == pytest.approx(expected_dice(probabilities, 1.4), rel=1e-6)


def test_surroundings_are_cut_at_the_edge_and_all_where_nothing_is():
    mask = np.zeros((30, 12), bool)
    assert surroundings(mask) == (slice(0, 30), slice(0, 12))
    mask[10:12, 2] = True
    assert surroundings(mask) == (slice(5, 17), slice(0, 8))


class Bands(nn.Module):
    """Voxelwise softly: the middle class wherever the scan is near its mean, the last where it is bright."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([torch.full_like(x, 1.0), 0.6 - x * x, 2 * x], dim=1)


def predicted(options: PredictOptions, dims: int = 3):
    plan = Plan(
        spatial_dims=dims,
        channel_names=("MR",),
        label_names={"background": 0, "a": 1, "b": 2},
        spacing_mm=(1.0,) * dims,
        patch_vox=(12,) * dims,
        batch_size=2,
        normalisation=(ChannelNormalisation(scheme="zscore"),),
        network=NetworkPlan(
            features=(4, 8, 8), kernels=((3,) * dims,) * 3, strides=((1,) * dims, (2,) * dims, (1,) * dims)
        ),
        mirror_axes=(0,),
        median_shape_vox=(12,) * dims,
    )
    shape = (20, 17, 14) if dims == 3 else (20, 17, 1)
    noise = np.random.default_rng(4).normal(size=(1, *shape)).astype(np.float32)
    affine = np.diag([-1.1, 1.0, 0.9, 1.0]) if dims == 3 else np.diag([-1.0, -1.0, 2.0, 1.0])
    return Predictor(Bands(), plan, options).predict(Volume(noise, Geometry(shape, affine)))


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("scales", [(1.0,), (0.8, 1.0)])
@pytest.mark.parametrize("told", ["probabilities", "uncertainty", "neither"])
def test_a_predictor_tells_it_whatever_else_it_keeps(dims, scales, told, monkeypatch):
    monkeypatch.setattr(predictor_module, "_SLAB_NUMBERS", 2000)  # several slabs
    plain = predicted(PredictOptions(scales=scales, mirror=True, probabilities=True), dims)
    assert plain.expected_dice is None
    more = {} if told == "neither" else {told: True}
    options = PredictOptions(scales=scales, mirror=True, temperature=1.5, expected_dice=True, **more)
    found = predicted(options, dims)
    powers = plain.probabilities.astype(float) ** (1 / 1.5)
    scaled = powers / powers.sum(axis=0)
    assert found.expected_dice == pytest.approx(by_loops(scaled), rel=1e-5)
    np.testing.assert_array_equal(found.labels, plain.labels)
    assert (found.probabilities is None) == (told != "probabilities")
    if found.probabilities is not None:
        np.testing.assert_allclose(found.probabilities, scaled, atol=1e-5)


def test_the_temperature_leaves_the_uncertainty_alone():
    one, other = (predicted(PredictOptions(uncertainty=True, temperature=t)).uncertainty for t in (1.0, 3.0))
    np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("inf"), float("nan")])
def test_impossible_temperatures_are_refused(temperature):
    with pytest.raises(InputError, match="temperature must be a number above 0"):
        PredictOptions(temperature=temperature)
