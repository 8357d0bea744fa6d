"""A slab: some rows of the scan's grid, predicted at one scale."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Slab:
    """Some rows of the scan's grid, predicted at one scale, on the host.

    Args:
        probabilities: (K, rows, …) float32, summing to 1 over K.
        disagreement: (rows, …) mutual information of mirror images in nats; None where there is but one image.
    """

    probabilities: Tensor
    disagreement: Tensor | None = None


def entropy(probabilities: Tensor, dim: int = 0) -> Tensor:
    """Entropy in nats over one axis; 0 log 0 is 0."""
    nats: Tensor = torch.special.entr(probabilities).sum(dim=dim)
    return nats
