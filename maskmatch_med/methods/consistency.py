"""Confident cross-entropy: the loss of the strong view and of the masked view alike.

Source: Sohn et al., FixMatch, NeurIPS 2020, equation 4, per voxel; [fork] the masked term of MaskMatch uses the same
form over all confident voxels, masked or visible.
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor
from torch.nn import functional

from maskmatch_med.methods.pseudo_labels import PseudoLabels


def confident_cross_entropy(
    logits: Tensor,
    pseudo: PseudoLabels,
    threshold: float,
    normalise_by: Literal["valid", "confident"] = "valid",
    target: Literal["label", "probabilities"] = "label",
) -> Tensor:
    """L = Σ_v 1[c_v ≥ τ]·CE(logits_v, t_v) / N, with N the valid voxels, or the confident ones.

    Args:
        logits: the student's (B, K, *spatial).
        pseudo: the teacher's labels, confidence and validity, (B, *spatial) each.
        threshold: τ, acts on the averaged probability.
        normalise_by: what N counts.
        target: t, the teacher's label ŷ or [ours] its probabilities p, as in distillation (Hinton et al. 2015).

    Returns:
        Scalar; 0 where no voxel is confident.
    """
    counted = pseudo.valid & (pseudo.confidence >= threshold)
    wanted = pseudo.labels if target == "label" else pseudo.probabilities
    per_voxel = functional.cross_entropy(logits.float(), wanted, reduction="none")
    voxels = (pseudo.valid if normalise_by == "valid" else counted).sum()
    return (per_voxel * counted).sum() / voxels.clamp_min(1)
