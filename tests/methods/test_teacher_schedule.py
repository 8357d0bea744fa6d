"""The teacher's recursion and the schedules, against the formulas of their papers."""

from __future__ import annotations

import math
from collections.abc import Callable
from copy import deepcopy

import numpy as np
import pytest
import torch
from torch import nn

from maskmatch_med.methods import EMATeacher, sigmoid_ramp, warm_restart, warm_up_cosine
from maskmatch_med.planning.plan import Plan


class Shared(nn.Module):
    """Two names for one layer, a running buffer, an integer buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(3, 2)
        self.again = self.first
        self.register_buffer("running", torch.randn(4))
        self.register_buffer("steps", torch.tensor(0))
        self.register_buffer("hidden", torch.randn(2), persistent=False)


def wander(network: nn.Module, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for tensor in [*network.parameters(), *network.buffers()]:
            if tensor.is_floating_point():
                tensor.add_(torch.randn(tensor.shape, generator=generator))
            else:
                tensor.fill_(seed)


def weights(network: nn.Module) -> dict[str, np.ndarray[tuple[int, ...], np.dtype[np.float64]]]:
    named = [*network.named_parameters(), *network.named_buffers()]
    return {name: tensor.detach().double().numpy().copy() for name, tensor in named}


@pytest.mark.parametrize("decay", [0.99, 0.6, 0.0])
@pytest.mark.parametrize("kind", ["shared", "2d", "3d"])
def test_teacher_follows_the_ramped_recursion(
    kind: str, decay: float, tiny_plan: Callable[..., Plan], tiny_net: Callable[..., nn.Module]
) -> None:
    student = Shared() if kind == "shared" else tiny_net(tiny_plan(int(kind[0]), deep_supervision=True))
    teacher = EMATeacher(student, decay)
    expected = weights(student)
    for t in range(6):
        wander(student, t + 1)
        teacher.update(student, t)
        keep = min(1 - 1 / (t + 1), decay)
        current = weights(student)
        for name in expected:
            whole = name == "steps"
            expected[name] = current[name] if whole else keep * expected[name] + (1 - keep) * current[name]
        found = weights(teacher.network)
        for name, value in expected.items():
            np.testing.assert_allclose(found[name], value, atol=1e-5, err_msg=f"{name} at {t}")


def test_the_ramp_reaches_the_decay_where_it_should() -> None:
    student = nn.Linear(1, 1, bias=False)
    teacher = EMATeacher(student, 0.75)
    for t, keep in ((0, 0.0), (1, 0.5), (2, 2 / 3), (3, 0.75), (4, 0.75), (1000, 0.75)):
        with torch.no_grad():
            teacher.network.weight.fill_(1.0)  # type: ignore[union-attr, operator]
            student.weight.fill_(0.0)
        teacher.update(student, t)
        assert float(teacher.network.weight) == pytest.approx(keep), f"t = {t}"  # type: ignore[arg-type]


def test_at_iteration_zero_the_teacher_is_the_student() -> None:
    student = Shared()
    teacher = EMATeacher(student, 0.99)
    wander(student, 1)
    teacher.update(student, 0)
    for name, value in weights(student).items():
        np.testing.assert_array_equal(weights(teacher.network)[name], value)


def test_the_teacher_is_a_copy_in_evaluation_without_gradient() -> None:
    student = nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.5)).train()
    before = deepcopy(student.state_dict())
    teacher = EMATeacher(student, 0.9)
    assert student.training
    assert not any(module.training for module in teacher.network.modules())
    assert not any(parameter.requires_grad for parameter in teacher.network.parameters())
    assert all(parameter.requires_grad for parameter in student.parameters())
    wander(teacher.network, 3)
    assert all(torch.equal(before[name], value) for name, value in student.state_dict().items())
    loss = teacher.network(student(torch.ones(1, 2))).sum()
    loss.backward()
    teacher.update(student, 1)
    assert all(parameter.grad is None for parameter in teacher.network.parameters())
    assert not any(parameter.requires_grad for parameter in teacher.network.parameters())


def test_sigmoid_ramp() -> None:
    assert sigmoid_ramp(0.1499, 0.15, 0.25) == 0
    assert sigmoid_ramp(0.15, 0.15, 0.25) == pytest.approx(math.exp(-5))
    assert sigmoid_ramp(0.275, 0.15, 0.25) == pytest.approx(math.exp(-5 * 0.25))
    for progress in (0.4, 0.7, 1.0, 1.2):
        assert sigmoid_ramp(progress, 0.15, 0.25) == 1
    assert (sigmoid_ramp(0.0, 0.0, 0.0), sigmoid_ramp(0.19, 0.2, 0.0), sigmoid_ramp(0.2, 0.2, 0.0)) == (1, 0, 1)
    values = [sigmoid_ramp(p, 0.2, 0.5) for p in np.linspace(0, 1, 101)]
    assert values == sorted(values)


def test_warm_up_cosine() -> None:
    assert warm_up_cosine(0.0, 0.1) == pytest.approx(0.01)
    assert warm_up_cosine(0.05, 0.1) == pytest.approx(0.505)
    assert warm_up_cosine(0.1, 0.1) == pytest.approx(1)
    assert warm_up_cosine(0.55, 0.1) == pytest.approx(0.5)
    assert warm_up_cosine(0.1 + 0.9 / 3, 0.1) == pytest.approx(0.75)
    assert warm_up_cosine(1.0, 0.1) == pytest.approx(0, abs=1e-12)
    assert warm_up_cosine(1.3, 0.1) == pytest.approx(0, abs=1e-12)
    assert warm_up_cosine(0.0, 0.0) == 1


def test_a_restart_begins_a_second_lower_fall() -> None:
    told = {"warm_up": 0.1, "restart_at": 0.4, "height": 0.5}
    assert warm_restart(0.0, **told) == pytest.approx(0.01)
    assert warm_restart(0.04, **told) == pytest.approx(1)
    assert warm_restart(0.4 * 0.55, **told) == pytest.approx(0.5)
    assert warm_restart(0.4 - 1e-9, **told) == pytest.approx(0, abs=1e-6)
    assert warm_restart(0.4, **told) == pytest.approx(0.005)
    assert warm_restart(0.4 + 0.6 * 0.1, **told) == pytest.approx(0.5)
    assert warm_restart(1.0, **told) == pytest.approx(0, abs=1e-12)
    for progress in (0.0, 0.3, 0.9):
        assert warm_restart(progress, 0.1, 0.4, 0.0) == warm_up_cosine(progress, 0.1)
        assert warm_restart(progress, 0.1, 0.0, 0.5) == warm_up_cosine(progress, 0.1)
