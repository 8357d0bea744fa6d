"""AdamW (Loshchilov and Hutter, ICLR 2019), in one pass over the weights where they lie on a processor."""

from __future__ import annotations

import torch
from torch import nn

from maskmatch_med.config import OptimiserConfig


def build_optimiser(student: nn.Module, config: OptimiserConfig, device: torch.device) -> torch.optim.AdamW:
    """The optimiser of a run.

    Args:
        student: whose weights learn.
        config: learning rate and weight decay.
        device: where the run computes. A card keeps torch's own choice, whose fused form would forbid clipping there in
            16-bit precision.
    """
    return torch.optim.AdamW(
        student.parameters(),
        lr=config.learning_rate,
        weight_decay=config.weight_decay,
        fused=True if device.type == "cpu" else None,
    )
