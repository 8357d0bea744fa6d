"""Mean Teacher's consistency: squared distance of the student's from the teacher's probabilities.

Source: Tarvainen and Valpola, Mean teachers are better role models, NeurIPS 2017, equation 1 with the MSE distance.
"""

from __future__ import annotations

import torch
from torch import Tensor

from maskmatch_med.methods.pseudo_labels import PseudoLabels


def probability_mse(logits: Tensor, pseudo: PseudoLabels) -> Tensor:
    """L = Σ_v Σ_k (softmax(logits)_kv − p_kv)² / (K·N) over the N valid voxels.

    Args:
        logits: the student's (B, K, *spatial).
        pseudo: the teacher's probabilities (B, K, *spatial) and validity (B, *spatial).

    Returns:
        Scalar.
    """
    distance = (torch.softmax(logits.float(), 1) - pseudo.probabilities).square().mean(1)
    return (distance * pseudo.valid).sum() / pseudo.valid.sum().clamp_min(1)
