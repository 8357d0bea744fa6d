"""The teacher: an exponential moving average of the student.

Source: Tarvainen and Valpola, NeurIPS 2017; [fork] decay ramped as min(1 − 1/(t + 1), α).
"""

from __future__ import annotations

from copy import deepcopy

import torch
from torch import nn


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
        current = student.state_dict()
        for name, averaged in self.network.state_dict().items():
            value = current[name].detach()
            if averaged.is_floating_point():
                averaged.lerp_(value.to(averaged.dtype), 1 - keep)
            else:
                averaged.copy_(value)
