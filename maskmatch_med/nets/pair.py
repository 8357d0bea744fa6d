"""Two networks of one plan that learn side by side, as one module.

Source: Chen et al., Semi-supervised semantic segmentation with cross pseudo supervision, CVPR 2021. [ours] The two are
symmetric, so the first alone is asked where one answer is wanted: by validation, as a teacher, and in the model that is
kept.
"""

from __future__ import annotations

from torch import Tensor, nn

from maskmatch_med.nets.unet import build_network
from maskmatch_med.planning.plan import Plan


class Pair(nn.Module):
    """Two networks with weights of their own.

    Args:
        plan: of both.
    """

    def __init__(self, plan: Plan) -> None:
        super().__init__()
        self.members = nn.ModuleList([build_network(plan), build_network(plan)])

    def forward(self, image: Tensor, member: int = 0) -> Tensor:
        """What one of the two says, see :func:`build_network`."""
        output: Tensor = self.members[member](image)
        return output


def kept_network(network: nn.Module) -> nn.Module:
    """The network that a model keeps: the first of a pair, or the network itself."""
    return network.members[0] if isinstance(network, Pair) else network
