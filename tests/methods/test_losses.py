"""Each loss against its formula, one voxel at a time in NumPy, and by hand where a hand can count."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from maskmatch_med.methods import PseudoLabels, confident_cross_entropy, dice_cross_entropy, probability_mse

Array = NDArray[np.float64]


@st.composite
def problems(draw: st.DrawFn) -> tuple[Array, NDArray[np.int64], Array, NDArray[np.bool_]]:
    """Logits (B, K, *spatial), labels with 255, teacher's probabilities, validity."""
    spatial = tuple(draw(st.lists(st.integers(1, 4), min_size=2, max_size=3)))
    batch, classes = draw(st.integers(1, 3)), draw(st.integers(2, 4))
    rng = np.random.default_rng(draw(st.integers(0, 2**31)))
    logits = rng.normal(0, draw(st.sampled_from([0.1, 2.0, 8.0])), (batch, classes, *spatial))
    labels = rng.integers(0, classes, (batch, *spatial))
    labels[rng.random(labels.shape) < draw(st.sampled_from([0.0, 0.4, 1.0]))] = 255
    valid = rng.random(labels.shape) < draw(st.sampled_from([0.0, 0.6, 1.0]))
    teacher = rng.dirichlet([0.5] * classes, (batch, *spatial))
    return logits, labels, np.moveaxis(teacher, -1, 1), valid


def value(loss: torch.Tensor) -> float:
    return float(loss.detach())


def softmax(values: Array) -> Array:
    top = np.exp(values - values.max())
    return np.asarray(top / top.sum())


def voxels(array: NDArray[np.int64] | NDArray[np.bool_]) -> list[tuple[int, ...]]:
    return list(product(*map(range, array.shape)))


def at(array: Array, voxel: tuple[int, ...]) -> Array:
    return np.asarray(array[(voxel[0], slice(None), *voxel[1:])])


def dice_ce_by_hand(logits: Array, labels: NDArray[np.int64], smooth: float = 1e-5) -> float:
    classes = logits.shape[1]
    judged = [v for v in voxels(labels) if labels[v] != 255]
    if not judged:
        return 0.0
    entropy = sum(-math.log(softmax(at(logits, v))[labels[v]]) for v in judged) / len(judged)
    scores = []
    for k in range(1, classes):
        overlap = sum(softmax(at(logits, v))[k] for v in judged if labels[v] == k)
        total = sum(softmax(at(logits, v))[k] + (labels[v] == k) for v in judged)
        scores.append((2 * overlap + smooth) / (total + smooth))
    return float(entropy + 1 - np.mean(scores))


def pseudo_of(teacher: Array, valid: NDArray[np.bool_]) -> PseudoLabels:
    return PseudoLabels.from_probabilities(torch.from_numpy(teacher), torch.from_numpy(valid))


@settings(deadline=None, max_examples=60)
@given(problems())
def test_dice_cross_entropy_is_the_formula(problem: tuple[Array, NDArray[np.int64], Array, NDArray[np.bool_]]) -> None:
    logits, labels, _, _ = problem
    found = dice_cross_entropy(torch.from_numpy(logits), torch.from_numpy(labels))
    assert value(found) == pytest.approx(dice_ce_by_hand(logits, labels), rel=1e-4, abs=1e-5)


def test_dice_cross_entropy_counted_by_hand() -> None:
    even = torch.zeros(1, 2, 2, 2)
    labels = torch.tensor([[[1, 1], [0, 255]]])
    # three judged voxels at p = 1/2: overlap 1, total 3/2 + 2
    assert float(dice_cross_entropy(even, labels)) == pytest.approx(math.log(2) + 1 - 2 / 3.5, abs=1e-5)
    sure = torch.tensor([[[[-50.0, -50.0], [50.0, 50.0]], [[50.0, 50.0], [-50.0, -50.0]]]])
    assert float(dice_cross_entropy(sure, labels)) == pytest.approx(0, abs=1e-5)
    assert float(dice_cross_entropy(-sure, labels)) == pytest.approx(100 + 1, rel=1e-4)


def test_a_class_that_nobody_drew_or_predicted_costs_nothing() -> None:
    logits = torch.full((1, 3, 4, 4), -80.0)
    logits[:, 0] = 80.0
    assert float(dice_cross_entropy(logits, torch.zeros(1, 4, 4, dtype=torch.uint8))) == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("spatial", [(5, 4), (3, 4, 2)])
def test_unjudged_voxels_have_no_say_and_no_gradient(spatial: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, (2, *spatial))
    labels[:, 0] = 255
    logits = torch.from_numpy(rng.normal(size=(2, 3, *spatial))).requires_grad_()
    loss = dice_cross_entropy(logits, torch.from_numpy(labels).to(torch.uint8))
    loss.backward()  # type: ignore[no-untyped-call]
    assert logits.grad is not None
    assert not logits.grad[:, :, 0].any()
    assert logits.grad[:, :, 1:].abs().min() > 0
    other = logits.detach().clone()
    other[:, :, 0] += 100 * torch.randn_like(other[:, :, 0])
    assert value(dice_cross_entropy(other, torch.from_numpy(labels))) == value(loss)


@pytest.mark.parametrize("spatial", [(5, 4), (3, 4, 2)])
def test_nothing_judged_is_zero_with_zero_gradient(spatial: tuple[int, ...]) -> None:
    logits = torch.randn(2, 3, *spatial, requires_grad=True)
    loss = dice_cross_entropy(logits, torch.full((2, *spatial), 255, dtype=torch.uint8))
    loss.backward()  # type: ignore[no-untyped-call]
    assert value(loss) == 0
    assert logits.grad is not None
    assert torch.equal(logits.grad, torch.zeros_like(logits))


def test_gradient_is_the_slope_of_the_formula() -> None:
    rng = np.random.default_rng(1)
    logits, labels = rng.normal(size=(1, 3, 2, 2)), np.array([[[0, 1], [255, 2]]])
    tensor = torch.from_numpy(logits).requires_grad_()
    dice_cross_entropy(tensor, torch.from_numpy(labels)).backward()  # type: ignore[no-untyped-call]
    assert tensor.grad is not None
    for index in product(*map(range, logits.shape)):
        step = np.zeros_like(logits)
        step[index] = 1e-5
        slope = (dice_ce_by_hand(logits + step, labels) - dice_ce_by_hand(logits - step, labels)) / 2e-5
        assert float(tensor.grad[index]) == pytest.approx(slope, abs=1e-4)


@pytest.mark.parametrize("labels", [(1, 3, 4), (2, 4, 3), (2, 3, 4, 1), (2, 1, 3, 4)])
def test_shapes_that_disagree_are_named(labels: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"labels must be \(2, 3, 4\), got") as caught:
        dice_cross_entropy(torch.zeros(2, 5, 3, 4), torch.zeros(labels, dtype=torch.uint8))
    assert str(labels) in str(caught.value)


@settings(deadline=None, max_examples=60)
@given(problems(), st.sampled_from([0.0, 0.5, 0.8, 1.0]), st.sampled_from(["valid", "confident", "class"]))
def test_confident_cross_entropy_is_the_formula(
    problem: tuple[Array, NDArray[np.int64], Array, NDArray[np.bool_]], threshold: float, normalise_by: str
) -> None:
    logits, _, teacher, valid = problem
    losses, confident, inside = 0.0, 0, 0
    of_class = dict[int, list[float]]()
    for v in voxels(valid):
        if not valid[v]:
            continue
        inside += 1
        if at(teacher, v).max() >= threshold:
            confident += 1
            label = int(at(teacher, v).argmax())
            loss = -math.log(softmax(at(logits, v))[label])
            losses += loss
            of_class.setdefault(label, []).append(loss)
    expected = losses / max(1, inside if normalise_by == "valid" else confident)
    if normalise_by == "class":
        expected = sum(sum(each) / len(each) for each in of_class.values()) / max(1, len(of_class))
    tensor = torch.from_numpy(logits).requires_grad_()
    found = confident_cross_entropy(tensor, pseudo_of(teacher, valid), threshold, normalise_by)  # type: ignore[arg-type]
    assert value(found) == pytest.approx(expected, rel=1e-4, abs=1e-6)
    found.backward()  # type: ignore[no-untyped-call]
    assert tensor.grad is not None
    touched = tensor.grad.abs().sum(1).numpy() > 0
    for v in voxels(valid):
        if not valid[v] or at(teacher, v).max() < threshold:
            assert not touched[v]


def test_confident_cross_entropy_counted_by_hand() -> None:
    teacher = np.array([[[[0.9, 0.6, 0.05, 0.0]], [[0.1, 0.4, 0.95, 1.0]]]])
    valid = np.array([[[True, True, True, False]]])
    logits = torch.zeros(1, 2, 1, 4)
    for normalise_by, expected in (("valid", 2 / 3), ("confident", 1.0)):
        found = confident_cross_entropy(logits, pseudo_of(teacher, valid), 0.8, normalise_by)  # type: ignore[arg-type]
        assert value(found) == pytest.approx(expected * math.log(2), rel=1e-6)


def test_a_confidence_of_exactly_the_threshold_counts() -> None:
    teacher = np.array([[[[0.75]], [[0.25]]]])
    found = confident_cross_entropy(torch.zeros(1, 2, 1, 1), pseudo_of(teacher, np.ones((1, 1, 1), bool)), 0.75)
    assert value(found) == pytest.approx(math.log(2), rel=1e-6)


def test_probabilities_as_target_are_cross_entropy_with_each_class_in_its_share() -> None:
    teacher = np.array([[[[0.9, 0.6]], [[0.1, 0.4]]]])
    logits = torch.tensor([[[[1.0, -2.0]], [[0.0, 0.5]]]], dtype=torch.float64)
    pseudo = pseudo_of(teacher, np.ones((1, 1, 2), bool))
    both = []
    for column, (first, second) in enumerate(((0.9, 0.1), (0.6, 0.4))):
        share = softmax(logits[0, :, 0, column].numpy())
        both.append(-first * math.log(share[0]) - second * math.log(share[1]))
    for threshold, expected in ((0.0, sum(both) / 2), (0.8, both[0] / 2)):
        found = confident_cross_entropy(logits, pseudo, threshold, target="probabilities")
        assert value(found) == pytest.approx(expected, rel=1e-6)


@settings(deadline=None, max_examples=60)
@given(problems())
def test_probability_mse_is_the_formula(problem: tuple[Array, NDArray[np.int64], Array, NDArray[np.bool_]]) -> None:
    logits, _, teacher, valid = problem
    squares = [((softmax(at(logits, v)) - at(teacher, v)) ** 2).mean() for v in voxels(valid) if valid[v]]
    tensor = torch.from_numpy(logits).requires_grad_()
    found = probability_mse(tensor, pseudo_of(teacher, valid))
    assert value(found) == pytest.approx(float(np.mean(squares)) if squares else 0.0, rel=1e-4, abs=1e-7)
    found.backward()  # type: ignore[no-untyped-call]
    assert tensor.grad is not None
    outside = torch.from_numpy(~valid)[:, None].expand_as(tensor)
    assert not tensor.grad[outside].any()


def test_probability_mse_counted_by_hand() -> None:
    teacher = np.array([[[[1.0, 0.5]], [[0.0, 0.5]]]])
    found = probability_mse(torch.zeros(1, 2, 1, 2), pseudo_of(teacher, np.ones((1, 1, 2), bool)))
    assert value(found) == pytest.approx(0.125)
