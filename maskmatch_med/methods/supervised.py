"""Supervised loss: soft Dice plus cross-entropy over judged voxels.

Source: Isensee et al., nnU-Net, Nature Methods 2021 (L = CE − Dice); Milletari et al., V-Net, 3DV 2016 (soft Dice).
[ours] Both sums run over judged voxels only, so complete and partial labels need no branch.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

UNJUDGED = 255


def dice_cross_entropy(logits: Tensor, labels: Tensor, smooth: float = 1e-5) -> Tensor:
    """L = CE + 1 − mean over foreground classes of 2 Σ p·y / (Σ p + Σ y), over the judged voxels of the batch.

    Args:
        logits: (B, K, *spatial).
        labels: (B, *spatial) integer; 255 = not judged.
        smooth: keeps a class that nobody predicts and nobody drew at Dice 1.

    Returns:
        Scalar; 0 with a gradient of 0 where nothing is judged.

    Raises:
        ValueError: shapes disagree.
    """
    if logits.shape[:1] + logits.shape[2:] != labels.shape:
        raise ValueError(f"labels must be {tuple(logits.shape[:1] + logits.shape[2:])}, got {tuple(labels.shape)}")
    target = labels.long()
    judged = target != UNJUDGED
    voxels = judged.sum()
    log_prob = functional.log_softmax(logits.float(), dim=1)
    one_hot = torch.zeros_like(log_prob).scatter_(1, target.masked_fill(~judged, 0)[:, None], 1.0) * judged[:, None]
    cross_entropy = -(log_prob * one_hot).sum() / voxels.clamp_min(1)
    prob = log_prob.exp()
    axes = (0, *range(2, logits.ndim))
    overlap = (prob * one_hot).sum(axes)
    total = (prob * judged[:, None]).sum(axes) + one_hot.sum(axes)
    dice = ((2 * overlap + smooth) / (total + smooth))[1:].mean()
    return cross_entropy + (1 - dice) * (voxels > 0)
