"""UA-MT: Mean Teacher's consistency where the teacher, asked about noisy copies, stays certain.

Source: Yu et al., Uncertainty-aware self-ensembling model, MICCAI 2019: the entropy of the mean over 8 stochastic
passes, and a limit that rises from ¾ of the greatest entropy to the whole of it. [ours] The passes differ by noise on
the input alone, as the networks here have no dropout; the greatest entropy is ln K, the source's ln 2 for two classes.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from maskmatch_med.methods.pseudo_labels import PseudoLabels
from maskmatch_med.methods.schedule import sigmoid_ramp


def entropy(probabilities: Tensor) -> Tensor:
    """H_v = − Σ_k p_kv ln p_kv of probabilities (B, K, *spatial) as (B, *spatial), between 0 and ln K."""
    return -(probabilities * probabilities.clamp_min(1e-8).log()).sum(1)


def entropy_limit(progress: float, classes: int) -> float:
    """(¾ + ¼·ramp)·ln K with the sigmoid ramp over the whole run; voxels below it count."""
    return (0.75 + 0.25 * sigmoid_ramp(progress, 0.0, 1.0)) * math.log(classes)


def certain_mse(logits: Tensor, pseudo: PseudoLabels, uncertainty: Tensor, limit: float) -> Tensor:
    """L = Σ_v 1[H_v < limit]·Σ_k (softmax(logits)_kv − p_kv)² / (K·Σ_v 1[H_v < limit]) over the valid voxels.

    Args:
        logits: the student's (B, K, *spatial).
        pseudo: the teacher's probabilities and validity.
        uncertainty: H (B, *spatial).
        limit: see :func:`entropy_limit`.

    Returns:
        Scalar; 0 where no voxel is certain.

    Raises:
        ValueError: shapes disagree.
    """
    if uncertainty.shape != pseudo.valid.shape:
        raise ValueError(f"uncertainty must be {tuple(pseudo.valid.shape)}, got {tuple(uncertainty.shape)}")
    counted = pseudo.valid & (uncertainty < limit)
    distance = (torch.softmax(logits.float(), 1) - pseudo.probabilities).square().mean(1)
    return (distance * counted).sum() / counted.sum().clamp_min(1)
