"""UA-MT's, DyCON's and BCP's losses against their formulas, one voxel at a time in NumPy."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from maskmatch_med.methods import (
    PseudoLabels,
    certain_mse,
    dice_cross_entropy,
    entropy,
    entropy_limit,
    entropy_weighted_mse,
    pasted_dice_cross_entropy,
    probability_mse,
)

Array = NDArray[np.float64]
Problem = tuple[Array, Array, NDArray[np.bool_], Array]


@st.composite
def problems(draw: st.DrawFn) -> Problem:
    """Logits and teacher's probabilities (B, K, *spatial), validity and uncertainty (B, *spatial)."""
    spatial = tuple(draw(st.lists(st.integers(1, 4), min_size=2, max_size=3)))
    batch, classes = draw(st.integers(1, 3)), draw(st.integers(2, 4))
    rng = np.random.default_rng(draw(st.integers(0, 2**31)))
    logits = rng.normal(0, draw(st.sampled_from([0.1, 2.0, 8.0])), (batch, classes, *spatial))
    teacher = np.moveaxis(rng.dirichlet([0.5] * classes, (batch, *spatial)), -1, 1)
    valid = rng.random((batch, *spatial)) < draw(st.sampled_from([0.0, 0.6, 1.0]))
    return logits, teacher, valid, rng.random((batch, *spatial))


def pseudo_of(teacher: Array, valid: NDArray[np.bool_]) -> PseudoLabels:
    return PseudoLabels.from_probabilities(torch.from_numpy(teacher), torch.from_numpy(valid))


def at(array: Array, voxel: tuple[int, ...]) -> Array:
    return np.asarray(array[(voxel[0], slice(None), *voxel[1:])])


def softmax(values: Array) -> Array:
    raised = np.exp(values - values.max())
    return np.asarray(raised / raised.sum())


def doubt(p: Array) -> float:
    return float(-sum(x * math.log(x) for x in p if x > 1e-8))


def value(loss: torch.Tensor) -> float:
    return float(loss.detach())


@settings(deadline=None, max_examples=40)
@given(problems(), st.sampled_from([0.2, 0.7, 2.0]))
def test_certain_mse_is_the_formula(problem: Problem, limit: float) -> None:
    logits, teacher, valid, uncertainty = problem
    counted = [v for v in product(*map(range, valid.shape)) if valid[v] and uncertainty[v] < limit]
    squares = [((softmax(at(logits, v)) - at(teacher, v)) ** 2).mean() for v in counted]
    tensor = torch.from_numpy(logits).requires_grad_()
    found = certain_mse(tensor, pseudo_of(teacher, valid), torch.from_numpy(uncertainty), limit)
    assert value(found) == pytest.approx(float(np.mean(squares)) if squares else 0.0, rel=1e-4, abs=1e-7)
    found.backward()  # type: ignore[no-untyped-call]
    assert tensor.grad is not None
    outside = torch.from_numpy(~(valid & (uncertainty < limit)))[:, None].expand_as(tensor)
    assert not tensor.grad[outside].any()


def test_certain_everywhere_it_is_mean_teacher() -> None:
    rng = np.random.default_rng(0)
    logits = torch.from_numpy(rng.normal(size=(2, 3, 4, 4)))
    pseudo = pseudo_of(np.moveaxis(rng.dirichlet([1.0] * 3, (2, 4, 4)), -1, 1), rng.random((2, 4, 4)) < 0.5)
    found = certain_mse(logits, pseudo, torch.zeros(2, 4, 4), 0.1)
    assert value(found) == pytest.approx(value(probability_mse(logits, pseudo)))
    with pytest.raises(ValueError, match=r"uncertainty must be \(2, 4, 4\), got \(2, 1, 4, 4\)"):
        certain_mse(logits, pseudo, torch.zeros(2, 1, 4, 4), 0.1)


def test_entropy_and_its_limit_counted_by_hand() -> None:
    p = torch.tensor([[[0.5, 1.0, 0.25]], [[0.5, 0.0, 0.75]]]).movedim(0, 0)[None]
    expected = [math.log(2), 0.0, -(0.25 * math.log(0.25) + 0.75 * math.log(0.75))]
    assert entropy(p)[0, 0].tolist() == pytest.approx(expected, abs=1e-6)
    assert entropy_limit(1.0, 2) == pytest.approx(math.log(2))
    assert entropy_limit(0.0, 2) == pytest.approx((0.75 + 0.25 * math.exp(-5)) * math.log(2))
    assert entropy_limit(0.5, 4) == pytest.approx((0.75 + 0.25 * math.exp(-1.25)) * math.log(4))


@settings(deadline=None, max_examples=40)
@given(problems(), st.sampled_from([0.5, 1.0, 5.0]))
def test_entropy_weighted_mse_is_the_formula(problem: Problem, beta: float) -> None:
    logits, teacher, valid, _ = problem
    losses = []
    for v in product(*map(range, valid.shape)):
        if valid[v]:
            s, p = softmax(at(logits, v)), at(teacher, v)
            weight = math.exp(beta * doubt(s)) + math.exp(beta * doubt(p))
            losses.append(((s - p) ** 2).sum() / weight + beta * (doubt(s) + doubt(p)))
    found = entropy_weighted_mse(torch.from_numpy(logits), pseudo_of(teacher, valid), beta)
    assert value(found) == pytest.approx(float(np.mean(losses)) if losses else 0.0, rel=1e-3, abs=1e-5)


def test_an_undecided_teacher_pulls_less() -> None:
    """The same distance from the teacher, once where it is sure and once where it is not."""
    pulls = []
    for teacher in ([0.0, 0.0, 1.0], [0.3, 0.3, 0.4]):
        logits = torch.zeros(1, 3, 1, 1, dtype=torch.float64, requires_grad=True)
        loss = entropy_weighted_mse(
            logits, pseudo_of(np.array(teacher).reshape(1, 3, 1, 1), np.ones((1, 1, 1), bool)), 5
        )
        loss.backward()  # type: ignore[no-untyped-call]
        assert logits.grad is not None
        distance = torch.tensor(teacher).double() - 1 / 3
        pulls.append(float(-(logits.grad.flatten() @ distance) / distance.square().sum()))
    assert pulls[0] > 1.5 * pulls[1] > 0


@settings(deadline=None, max_examples=30)
@given(problems(), st.sampled_from([0.0, 0.5, 1.0]))
def test_pasted_loss_is_the_weighted_sum_over_both_regions(problem: Problem, weight: float) -> None:
    logits, _, is_pseudo, _ = problem
    rng = np.random.default_rng(1)
    labels, guessed = (rng.choice([0, 1, 255], is_pseudo.shape).astype(np.uint8) for _ in range(2))
    tensors = [torch.from_numpy(array) for array in (labels, guessed, is_pseudo)]
    given_logits = torch.from_numpy(logits).requires_grad_()
    found = pasted_dice_cross_entropy(given_logits, *tensors, weight)
    sides = []
    for array, mask in ((labels, ~is_pseudo), (guessed, is_pseudo)):
        # voxels of the region as one long row, so that nothing outside it can matter
        chosen = [(at(logits, v), array[v]) for v in product(*map(range, mask.shape)) if mask[v]]
        row = np.array([pair[0] for pair in chosen]).reshape(-1, logits.shape[1]).T[None, :, :, None]
        drawn = np.array([pair[1] for pair in chosen], np.uint8).reshape(1, -1, 1)
        sides.append(value(dice_cross_entropy(torch.from_numpy(row), torch.from_numpy(drawn))))
    assert value(found) == pytest.approx(sides[0] + weight * sides[1], rel=1e-4, abs=1e-6)
    found.backward()  # type: ignore[no-untyped-call]
    assert given_logits.grad is not None
    silent = (~is_pseudo & (labels == 255)) | (is_pseudo & (guessed == 255))
    assert not given_logits.grad[torch.from_numpy(silent)[:, None].expand_as(given_logits)].any()
