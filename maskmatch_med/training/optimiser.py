"""AdamW (Loshchilov and Hutter, ICLR 2019), in one pass over the weights where they lie on a processor."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from maskmatch_med.config import OptimiserConfig


def build_optimiser(student: nn.Module, config: OptimiserConfig, device: torch.device) -> torch.optim.AdamW:
    """The optimiser of a run.

    Args:
        student: whose weights learn.
        config: learning rate and weight decay.
        device: where the run computes. A card keeps torch's own choice.
    """
    return torch.optim.AdamW(
        student.parameters(),
        lr=config.learning_rate,
        weight_decay=config.weight_decay,
        fused=True if device.type == "cpu" else None,
    )


def restore_optimiser(optimiser: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Go on from a state, also one of another device or of a program that laid the weights out otherwise.

    The fused step takes averages in the order in which they lie in memory, so they must lie as their weights do.

    Args:
        optimiser: as :func:`build_optimiser` made it for this run; what it chose for its device stays.
        state: a state dictionary of such an optimiser.
    """
    chosen = [group["fused"] for group in optimiser.param_groups]
    groups = [group | {"fused": fused} for group, fused in zip(state["param_groups"], chosen, strict=True)]
    optimiser.load_state_dict(state | {"param_groups": groups})
    for weight, averages in optimiser.state.items():
        for name in ("exp_avg", "exp_avg_sq"):
            averages[name] = torch.empty_like(weight).copy_(averages[name])
