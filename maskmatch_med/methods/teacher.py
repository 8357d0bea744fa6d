"""The teacher: an exponential moving average of the student.

Source: Tarvainen and Valpola, NeurIPS 2017; [fork] decay ramped as min(1 − 1/(t + 1), α).
"""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from itertools import chain

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn


class EMATeacher:
    """Holds a copy of the student in evaluation mode that no gradient reaches.

    Args:
        student: the network to average.
        decay: α, the largest share that the old average keeps in one update.
    """

    def __init__(self, student: nn.Module, decay: float) -> None:
        self.decay = decay
        self.network = deepcopy(student).eval().requires_grad_(False)

    @torch.no_grad()
    def update(self, student: nn.Module, iteration: int) -> None:
        """θ_t ← a·θ_t + (1 − a)·θ_s with a = min(1 − 1/(t + 1), α); buffers are averaged, integer ones copied.

        Args:
            student: the network after iteration ``iteration``.
            iteration: t ≥ 0; at 0 the teacher becomes the student.
        """
        keep = min(1 - 1 / (iteration + 1), self.decay)
        pairs = list(zip(_tensors(self.network), _tensors(student), strict=True))
        floating = [(averaged, value.to(averaged)) for averaged, value in pairs if averaged.is_floating_point()]
        average = get_ema_multi_avg_fn(keep)  # type: ignore[no-untyped-call]
        average(*map(list, zip(*floating, strict=True)), 0)
        for averaged, value in pairs:
            if not averaged.is_floating_point():
                averaged.copy_(value)


def _tensors(network: nn.Module) -> Iterator[Tensor]:
    """Parameters and buffers, each once: a state_dict repeats those that a network holds under several names."""
    return chain(network.parameters(), network.buffers())
