"""The optimiser goes on from states of other devices, layouts and programs as if nothing had happened."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from maskmatch_med.config import OptimiserConfig
from maskmatch_med.nets import lay_out_weights
from maskmatch_med.training.optimiser import build_optimiser, restore_optimiser

CPU = torch.device("cpu")


def network(*, laid_out: bool) -> nn.Module:
    torch.manual_seed(0)
    made = nn.Sequential(nn.Conv3d(2, 4, 3), nn.LeakyReLU(), nn.Conv3d(4, 3, 1))
    if laid_out:
        lay_out_weights(made, CPU)
    return made


def learn(net: nn.Module, optimiser: torch.optim.Optimizer, steps: range) -> None:
    for step in steps:
        image = torch.randn(2, 2, 6, 5, 4, generator=torch.Generator().manual_seed(step))
        optimiser.zero_grad()
        net(image).square().mean().backward()
        optimiser.step()


def plain(net: nn.Module) -> torch.optim.Optimizer:
    """As an earlier program made it, or this one makes it for a card."""
    config = OptimiserConfig()
    return torch.optim.AdamW(net.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)


@pytest.mark.parametrize("before", [False, True], ids=["was default", "was laid out"])
@pytest.mark.parametrize("after", [False, True], ids=["goes on default", "goes on laid out"])
def test_a_run_goes_on_in_another_layout_and_form(before: bool, after: bool) -> None:
    unbroken = network(laid_out=False)
    learn(unbroken, plain(unbroken), range(8))
    first = network(laid_out=before)
    began = build_optimiser(first, OptimiserConfig(), CPU) if before else plain(first)
    learn(first, began, range(4))
    second = network(laid_out=after)
    second.load_state_dict(first.state_dict())
    goes_on = build_optimiser(second, OptimiserConfig(), CPU) if after else plain(second)
    form = [group["fused"] for group in goes_on.param_groups]
    restore_optimiser(goes_on, copy.deepcopy(began.state_dict()))
    assert [group["fused"] for group in goes_on.param_groups] == form
    for weight, averages in goes_on.state.items():
        assert averages["exp_avg"].stride() == averages["exp_avg_sq"].stride() == weight.stride()
    learn(second, goes_on, range(4, 8))
    for one, other in zip(second.parameters(), unbroken.parameters(), strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)
