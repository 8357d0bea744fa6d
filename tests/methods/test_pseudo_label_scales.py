"""Multi-scale pseudo-labels: what the teacher says at a place must come back to that place."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.ndimage import zoom
from torch import Tensor, nn

from maskmatch_med.methods import PseudoLabels, average_scales, confident_cross_entropy
from maskmatch_med.methods.pseudo_labels import (
    asked_together,
    axis_factors,
    patch_probabilities,
    resized_patch,
    window_probabilities,
)
from maskmatch_med.views import CutMixDraw, SpatialDraw, apply_spatial

SLOPE = 0.3
"""Logits a voxel: a place wrong by half a voxel changes the probability by 0.03 where it is steepest."""


class Places(nn.Module):
    """Class k + 1 has the k-th channel as its logit: channels that hold a position make the output tell it."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Tensor] = []

    def forward(self, image: Tensor) -> Tensor:
        self.seen.append(image)
        return torch.cat([torch.zeros_like(image[:, :1]), SLOPE * image], 1)


def positions(batch: int, shape: tuple[int, ...]) -> Tensor:
    axes = [np.arange(n, dtype=np.float32) - (n - 1) / 2 for n in shape]
    grid = np.stack(np.meshgrid(*axes, indexing="ij")).astype(np.float32)
    return torch.from_numpy(np.repeat(grid[None], batch, 0))


def softmax_of_places(offsets: NDArray[np.float64]) -> NDArray[np.float64]:
    """(D, *patch) offsets → (D + 1, *patch) probabilities of :class:`Places`."""
    raised = np.exp(np.concatenate([np.zeros_like(offsets[:1]), SLOPE * offsets]))
    return np.asarray(raised / raised.sum(0))


def offsets_of(patch: tuple[int, ...]) -> NDArray[np.float64]:
    return positions(1, patch)[0].double().numpy()


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 3), st.integers(2, 3), st.integers(0, 9999))
def test_average_runs_over_the_scales_that_have_a_value(batch: int, dims: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    shape = tuple(rng.integers(1, 4, dims))
    scales = [0.7, 1.0, 1.5]
    probabilities = {s: np.moveaxis(rng.dirichlet([1.0] * 3, (batch, *shape)), -1, 1) for s in scales}
    inside = {s: np.ones((1, 1, *shape), bool) if s == 1.0 else rng.random((1, 1, *shape)) < 0.5 for s in scales}
    weights = {0.7: float(rng.choice([0.0, 1.0, 0.3])), 1.0: 1.0, 1.5: float(rng.choice([0.0, 2.0]))}
    members = {s: (torch.from_numpy(probabilities[s]), torch.from_numpy(inside[s])) for s in scales}
    found = average_scales(members, weights).numpy()
    for b, *voxel in product(range(batch), *map(range, shape)):
        place = (slice(None), *voxel)
        speak = [s for s in scales if inside[s][(0, 0, *voxel)]]
        expected = sum(weights[s] * probabilities[s][b][place] for s in speak) / sum(weights[s] for s in speak)
        np.testing.assert_allclose(found[b][place], expected, atol=1e-6)


@pytest.mark.parametrize(
    ("patch", "thin"), [((16, 16), None), ((13, 18), None), ((14, 14, 14), None), ((13, 16, 6), 2), ((5, 15, 16), 0)]
)
@pytest.mark.parametrize("scale", [0.7, 1.0, 1.5])
def test_window_probabilities_come_back_to_their_place(patch: tuple[int, ...], thin: int | None, scale: float) -> None:
    dims = len(patch)
    factors = tuple(1.0 if axis == thin else scale for axis in range(dims))
    angle = 0.3
    matrix = np.eye(dims)
    plane = [axis for axis in range(dims) if axis != thin][:2]
    matrix[np.ix_(plane, plane)] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    matrix[:, plane[0]] *= -1
    draw = SpatialDraw(torch.from_numpy(np.stack([matrix, np.eye(dims)]).astype(np.float32)))
    source = positions(2, tuple(p + 30 - p % 2 for p in patch))
    image = apply_spatial(source, draw.zoomed(factors), patch)
    probabilities, inside = window_probabilities(Places()(image), factors)
    assert probabilities.shape == (2, dims + 1, *patch)
    assert inside.shape == (1, 1, *patch)
    offsets = offsets_of(patch)
    reach = np.array([(n - 1) / 2 / f for n, f in zip(patch, factors, strict=True)]).reshape(-1, *[1] * dims)
    known = (np.abs(offsets) <= reach + 1e-6).all(0)
    np.testing.assert_array_equal(inside[0, 0].numpy(), known)
    assert known.all() == (scale <= 1.0)
    for item, turn in enumerate([matrix, np.eye(dims)]):
        expected = softmax_of_places(np.einsum("ab,b...->a...", turn, offsets))
        error = np.abs(probabilities[item].numpy() - expected)[:, known]
        assert error.max() < (0.008 if scale != 1.0 else 1e-5)
        wrong = softmax_of_places(np.einsum("ab,b...->a...", turn, offsets * 1.1))
        assert np.abs(wrong - expected)[:, known].max() > 0.03, "the test could not see a wrong scale"


def test_the_finer_scale_covers_two_thirds_of_the_patch() -> None:
    image = torch.zeros(1, 1, 16, 10)
    _, inside = window_probabilities(Places()(image), (1.5, 1.5))
    # voxel centres up to 7.5 / 1.5 = 5 and 4.5 / 1.5 = 3 from the middle: offsets ±4.5 … and ±2.5 …
    expected = np.zeros((16, 10), bool)
    expected[3:13, 2:8] = True
    np.testing.assert_array_equal(inside[0, 0].numpy(), expected)


def resized_probabilities(
    network: nn.Module, weak: Tensor, factors: tuple[float, ...], divisor: tuple[int, ...]
) -> tuple[Tensor, Tensor]:
    return patch_probabilities(network(resized_patch(weak, factors, divisor)), factors, weak.shape[2:])


@pytest.mark.parametrize("shape", [(16, 16), (12, 20), (16, 12, 8)])
@pytest.mark.parametrize("scale", [0.7, 1.0, 1.5])
def test_resized_patch_is_padded_and_never_stretched(shape: tuple[int, ...], scale: float) -> None:
    dims = len(shape)
    image = np.random.default_rng(0).normal(size=(1, 1, *shape))
    divisor = (8, 4, 4)[:dims]
    network = Places()
    probabilities, inside = resized_probabilities(network, torch.from_numpy(image), (scale,) * dims, divisor)
    (seen,) = network.seen
    size = tuple(round(n * scale) for n in shape)
    assert seen.shape[2:] == tuple(-(-n // d) * d for n, d in zip(size, divisor, strict=True))
    wanted = zoom(image[0, 0], np.divide(size, shape), order=1, mode="nearest", grid_mode=True)
    part = tuple(slice(0, n) for n in size)
    np.testing.assert_allclose(seen[0, 0].numpy()[part], wanted, atol=1e-6)
    rest = seen[0, 0].clone()
    rest[part] = 0
    assert not rest.any()
    assert probabilities.shape == (1, 2, *shape)
    assert inside.all()
    np.testing.assert_allclose(probabilities.sum(1).numpy(), 1, atol=1e-6)


@pytest.mark.parametrize(("shape", "thin"), [((16, 20), None), ((16, 12, 5), 2)])
@pytest.mark.parametrize("scale", [0.7, 1.0, 1.5])
def test_resized_probabilities_come_back_to_their_place(shape: tuple[int, ...], thin: int | None, scale: float) -> None:
    dims = len(shape)
    factors = tuple(1.0 if axis == thin else scale for axis in range(dims))
    divisor = tuple(1 if axis == thin else 8 for axis in range(dims))
    network = Places()
    probabilities, _ = resized_probabilities(network, positions(1, shape), factors, divisor)
    if thin is not None:
        assert network.seen[0].shape[2 + thin] == shape[thin]
    inner = (slice(None), *[slice(2, -2) for _ in shape])
    np.testing.assert_allclose(
        probabilities[0].numpy()[inner], softmax_of_places(offsets_of(shape))[inner], atol=1e-5 if scale == 1 else 5e-3
    )


def test_thin_axes_are_left_alone() -> None:
    assert axis_factors(0.7, (True, True)) == (0.7, 0.7)
    assert axis_factors(1.5, (False, True, True)) == (1.0, 1.5, 1.5)


def test_the_teacher_is_asked_without_gradient() -> None:
    network = nn.Conv2d(1, 2, 1)
    for probabilities, _ in (
        window_probabilities(network(torch.ones(1, 1, 8, 8)), (1.5, 1.5)),
        resized_probabilities(network, torch.ones(1, 1, 8, 8), (1.5, 1.5), (4, 4)),
    ):
        assert not probabilities.requires_grad


def test_the_threshold_acts_on_the_averaged_probability() -> None:
    """Two voxels, two classes: one scale alone would pass, the mean does not; and the other way round."""
    all_true = torch.ones(1, 1, 1, 2, dtype=torch.bool)
    one = torch.tensor([[[[0.99, 0.90]], [[0.01, 0.10]]]])
    other = torch.tensor([[[[0.55, 0.76]], [[0.45, 0.24]]]])
    mean = average_scales({1.0: (one, all_true), 1.5: (other, all_true)}, {1.0: 1.0, 1.5: 1.0})
    pseudo = PseudoLabels.from_probabilities(mean, all_true[:, 0])
    np.testing.assert_allclose(pseudo.confidence.numpy(), [[[0.77, 0.83]]], atol=1e-6)
    logits = torch.zeros(1, 2, 1, 2)
    logits[0, 0, 0] = torch.tensor([1.0, 2.0])
    expected = np.log(1 + np.exp(-2.0)) / 2
    assert float(confident_cross_entropy(logits, pseudo, 0.8)) == pytest.approx(expected, rel=1e-5)


def test_label_and_confidence_come_from_the_mean_when_scales_disagree() -> None:
    ones = torch.ones(1, 1, 1, 1, dtype=torch.bool)
    members = {1.0: torch.tensor([0.5, 0.45, 0.05]), 0.7: torch.tensor([0.05, 0.45, 0.5])}
    mean = average_scales({s: (p.view(1, 3, 1, 1), ones) for s, p in members.items()}, {1.0: 1.0, 0.7: 1.0})
    pseudo = PseudoLabels.from_probabilities(mean, ones[:, 0])
    assert pseudo.labels.item() == 1
    assert pseudo.confidence.item() == pytest.approx(0.45)


@pytest.mark.parametrize("shape", [(4, 5), (3, 4, 2)])
def test_mixed_targets_take_the_same_box(shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    probabilities = torch.from_numpy(np.moveaxis(rng.dirichlet([1.0] * 3, (2, *shape)), -1, 1))
    valid = torch.from_numpy(rng.random((2, *shape)) < 0.5)
    pseudo = PseudoLabels.from_probabilities(probabilities, valid)
    inside = torch.from_numpy(rng.random((2, 1, *shape)) < 0.5)
    mixed = pseudo.mixed(CutMixDraw(torch.tensor([1, 0]), inside))
    for b, *voxel in product(range(2), *map(range, shape)):
        giver = 1 - b if inside[(b, 0, *voxel)] else b
        given_by, taken = (giver, *voxel), (b, *voxel)
        for part in ("labels", "confidence", "valid"):
            assert getattr(mixed, part)[taken] == getattr(pseudo, part)[given_by]
        found = mixed.probabilities[(b, slice(None), *voxel)]
        assert torch.equal(found, probabilities[(giver, slice(None), *voxel)])


def test_batches_of_one_shape_pass_together_and_come_back_to_their_scale() -> None:
    images = {0.8: torch.rand(2, 1, 8, 4), 0.9: torch.rand(2, 1, 8, 8), 1.0: torch.rand(2, 1, 8, 8)}
    network = Places()
    found = asked_together(network, images)
    assert sorted(len(seen) for seen in network.seen) == [2, 4]
    assert sorted(found) == [0.8, 0.9, 1.0]
    for scale, image in images.items():
        torch.testing.assert_close(found[scale], Places()(image))
    assert asked_together(network, {}) == {}
