"""Entropy-weighted consistency: uncertain voxels count less, instead of not at all below a threshold.

Source: the uncertainty-aware consistency of DyCON (Assefa et al., CVPR 2025), whose β falls from 5 to 0.5 over a run.
"""

from __future__ import annotations

import torch
from torch import Tensor

from maskmatch_med.methods.certainty import entropy
from maskmatch_med.methods.pseudo_labels import PseudoLabels


def entropy_weighted_mse(logits: Tensor, pseudo: PseudoLabels, beta: float) -> Tensor:
    """L = Σ_v [ Σ_k (s_kv − p_kv)² / (e^{βH_s} + e^{βH_p}) + β(H_s + H_p) ] / N over the N valid voxels.

    Args:
        logits: the student's (B, K, *spatial), s = softmax(logits).
        pseudo: the teacher's probabilities p and validity.
        beta: β ≥ 0; 0 leaves half the squared distance.

    Returns:
        Scalar.
    """
    student = torch.softmax(logits.float(), 1)
    doubt_student, doubt_teacher = entropy(student), entropy(pseudo.probabilities)
    distance = (student - pseudo.probabilities).square().sum(1)
    weighted = distance / ((beta * doubt_student).exp() + (beta * doubt_teacher).exp())
    per_voxel = weighted + beta * (doubt_student + doubt_teacher)
    return (per_voxel * pseudo.valid).sum() / pseudo.valid.sum().clamp_min(1)
