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


def asked_together(network: Network, images: Mapping[float, Tensor]) -> dict[float, Tensor]:
    """What the network says of one batch a scale, all of one length; those of one shape pass it together."""
    by_shape: dict[torch.Size, list[float]] = {}
    for scale, image in images.items():
        by_shape.setdefault(image.shape, []).append(scale)
    found: dict[float, Tensor] = {}
    for (length, *_), scales in by_shape.items():
        logits = network(torch.cat([images[scale] for scale in scales]))
        found |= dict(zip(scales, torch.split(logits, length), strict=True))
    return found


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
def resized_patch(weak: Tensor, factors: Sequence[float], divisor: Sequence[int]) -> Tensor:
    """[fork] The patch (B, C, *patch) at one scale, padded with 0 to the network's stride and never stretched."""
    size = _resized(weak.shape[2:], factors)
    small = functional.interpolate(weak, size=size, mode=_mode(size), align_corners=False)
    pads = [[0, -n % d] for n, d in zip(size, divisor, strict=True)]
    return functional.pad(small, [p for pair in reversed(pads) for p in pair])


@torch.no_grad()
def patch_probabilities(logits: Tensor, factors: Sequence[float], patch: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Bring what the network says of the resized patch at one scale back to the patch's grid.

    Args:
        logits: (B, K, *padded), as the network answers :func:`resized_patch`.
        factors: of the scale, one an axis.
        patch: voxels of the patch.

    Returns:
        Probabilities (B, K, *patch) and all-true validity (1, 1, *patch).
    """
    size = _resized(patch, factors)
    for axis, n in enumerate(size, start=2):
        logits = logits.narrow(axis, 0, n)
    logits = functional.interpolate(logits.float(), size=tuple(patch), mode=_mode(size), align_corners=False)
    return torch.softmax(logits, 1), torch.ones(1, 1, *patch, dtype=torch.bool, device=logits.device)


def _resized(patch: Sequence[int], factors: Sequence[float]) -> list[int]:
    return [max(1, round(n * f)) for n, f in zip(patch, factors, strict=True)]


def _mode(size: Sequence[int]) -> str:
    return "bilinear" if len(size) == 2 else "trilinear"


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
