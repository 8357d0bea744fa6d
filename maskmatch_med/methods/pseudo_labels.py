"""Pseudo-labels: what a teacher says of the weak view, averaged over scales.

[abstract] MaskMatch (Pan et al., arXiv 2312.08631): multi-scale ensembling considers context at different levels of
abstraction. [fork] p = mean over r of softmax(Up(g(Resize_r(w)))), confidence c = max p, label ŷ = argmax p.
[ours] The ``window`` mode cuts an equal-size window at each scale instead of resizing the patch, so that 0.7 brings
context from outside the patch; where a window has no value, the mean runs over the scales that have one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from maskmatch_med.views.mixing import CutMixDraw, apply_cutmix
from maskmatch_med.views.spatial import SpatialDraw, apply_spatial

Network = Callable[[Tensor], Tensor]
"""Images (B, C, *spatial) to the logits (B, K, *spatial) of full resolution."""


@dataclass(frozen=True)
class PseudoLabels:
    """Targets for the unlabelled views.

    Args:
        probabilities: (B, K, *spatial), the averaged softmax p.
        labels: (B, *spatial) int64, ŷ = argmax p.
        confidence: (B, *spatial), c = max p.
        valid: (B, *spatial) bool, false outside the scan.
    """

    probabilities: Tensor
    labels: Tensor
    confidence: Tensor
    valid: Tensor

    @classmethod
    def from_probabilities(cls, probabilities: Tensor, valid: Tensor) -> PseudoLabels:
        """Take label and confidence from the averaged probability."""
        confidence, labels = probabilities.max(1)
        return cls(probabilities, labels, confidence, valid)

    def mixed(self, draw: CutMixDraw) -> PseudoLabels:
        """The targets of a CutMix'd view."""
        parts = (self.probabilities, self.labels, self.confidence, self.valid)
        return PseudoLabels(*(apply_cutmix(part, draw) for part in parts))


def axis_factors(scale: float, scaled_axes: Sequence[bool]) -> tuple[float, ...]:
    """The factor of each axis at one scale; thin through-plane axes (``Plan.scaled_axes``) are left alone."""
    return tuple(scale if scaled else 1.0 for scaled in scaled_axes)


def mirrored(network: Network, dims: list[int]) -> Network:
    """The network asked about the mirror image along some dimensions of its batch, its answer mirrored back."""
    return lambda image: network(image.flip(dims)).flip(dims) if dims else network(image)


@torch.no_grad()
def window_probabilities(logits: Tensor, factors: Sequence[float]) -> tuple[Tensor, Tensor]:
    """Bring what the network says of the window at one scale back to the patch's grid with one interpolation.

    Args:
        logits: (B, K, *patch).
        factors: of the scale, one an axis.

    Returns:
        Probabilities (B, K, *patch) and whether each voxel lies in the window, (1, 1, *patch) bool.
    """
    probabilities = torch.softmax(logits.float(), 1)
    shape = probabilities.shape[2:]
    if all(f == 1 for f in factors):
        return probabilities, torch.ones(1, 1, *shape, dtype=torch.bool, device=probabilities.device)
    back = torch.diag(torch.tensor(list(factors), device=probabilities.device))[None]
    offsets = [(torch.arange(n, device=probabilities.device) - (n - 1) / 2).abs() for n in shape]
    inside = torch.ones(1, 1, *shape, dtype=torch.bool, device=probabilities.device)
    for axis, (offset, factor, n) in enumerate(zip(offsets, factors, shape, strict=True)):
        view = [1] * inside.ndim
        view[axis + 2] = n
        inside = inside & (offset * factor <= (n - 1) / 2 + 1e-6).view(view)
    draw = SpatialDraw(back.expand(len(probabilities), -1, -1))
    return apply_spatial(probabilities, draw, shape), inside


@torch.no_grad()
def resized_probabilities(
    network: Network, weak: Tensor, factors: Sequence[float], divisor: Sequence[int]
) -> tuple[Tensor, Tensor]:
    """[fork] Predict the resized patch, padded to the network's stride and never stretched, and resize back.

    Returns:
        Probabilities (B, K, *patch) and all-true validity (1, 1, *patch).
    """
    shape = weak.shape[2:]
    size = [max(1, round(n * f)) for n, f in zip(shape, factors, strict=True)]
    mode = "bilinear" if len(shape) == 2 else "trilinear"
    small = functional.interpolate(weak, size=size, mode=mode, align_corners=False)
    pads = [[0, -n % d] for n, d in zip(size, divisor, strict=True)]
    logits = network(functional.pad(small, [p for pair in reversed(pads) for p in pair])).float()
    for axis, n in enumerate(size, start=2):
        logits = logits.narrow(axis, 0, n)
    logits = functional.interpolate(logits, size=tuple(shape), mode=mode, align_corners=False)
    return torch.softmax(logits, 1), torch.ones(1, 1, *shape, dtype=torch.bool, device=weak.device)


def average_scales(members: Mapping[float, tuple[Tensor, Tensor]], weights: Mapping[float, float]) -> Tensor:
    """p = Σ_r w_r·1_r·p_r / Σ_r w_r·1_r, voxel by voxel, with 1_r telling where scale r has a value.

    Args:
        members: for each scale, probabilities (B, K, *spatial) and validity (1, 1, *spatial).
        weights: w_r ≥ 0; scale 1 covers every voxel and must weigh more than 0.

    Returns:
        (B, K, *spatial).
    """
    total = sum((p * (inside * weights[r]) for r, (p, inside) in members.items()), start=torch.zeros(()))
    weight = sum((inside * weights[r] for r, (_, inside) in members.items()), start=torch.zeros(()))
    return total / weight


def weighed_by_certainty(members: Mapping[float, tuple[Tensor, Tensor]]) -> dict[float, tuple[Tensor, Tensor]]:
    """The same members, each voxel's validity multiplied by 1 − H/ln K of that scale's probabilities, at least 0.001.

    [ours] A scale that is undecided at a voxel then has little to say there.
    """
    weighed = {}
    for scale, (p, inside) in members.items():
        doubt = -(p * p.clamp_min(1e-8).log()).sum(1, keepdim=True) / math.log(p.shape[1])
        weighed[scale] = (p, inside * (1 - doubt).clamp_min(1e-3))
    return weighed
