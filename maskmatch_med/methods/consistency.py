"""Confident cross-entropy: the loss of the strong view and of the masked view alike.

Source: Sohn et al., FixMatch, NeurIPS 2020, equation 4, per voxel; [fork] the masked term of MaskMatch uses the same
form over all confident voxels, masked or visible.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from maskmatch_med.methods.pseudo_labels import PseudoLabels


def confident_cross_entropy(
    logits: Tensor,
    pseudo: PseudoLabels,
    threshold: float,
    normalise_by: Literal["valid", "confident", "class"] = "valid",
    target: Literal["label", "probabilities"] = "label",
) -> Tensor:
    """L = Σ_v 1[c_v ≥ τ]·CE(logits_v, t_v) / N, with N the valid voxels, or the confident ones, or class by class.

    Args:
        logits: the student's (B, K, *spatial).
        pseudo: the teacher's labels, confidence and validity, (B, *spatial) each.
        threshold: τ, acts on the averaged probability.
        normalise_by: what N counts; with ``class`` [ours] L is the mean over the teacher's classes of the mean over the
            confident voxels of each, so that a small structure weighs as much as the background.
        target: t, the teacher's label ŷ or [ours] its probabilities p, as in distillation (Hinton et al. 2015).

    Returns:
        Scalar; 0 where no voxel is confident.
    """
    counted = pseudo.valid & (pseudo.confidence >= threshold)
    wanted = pseudo.labels if target == "label" else pseudo.probabilities
    per_voxel = functional.cross_entropy(logits.float(), wanted, reduction="none")
    if normalise_by == "class":
        return _mean_over_classes(per_voxel, pseudo.labels, counted, logits.shape[1])
    voxels = (pseudo.valid if normalise_by == "valid" else counted).sum()
    return (per_voxel * counted).sum() / voxels.clamp_min(1)


def _mean_over_classes(per_voxel: Tensor, labels: Tensor, counted: Tensor, classes: int) -> Tensor:
    of_class, kept = labels[counted], per_voxel[counted]
    voxels = torch.bincount(of_class, minlength=classes)
    sums = kept.new_zeros(classes).index_add(0, of_class, kept)
    return (sums / voxels.clamp_min(1)).sum() / (voxels > 0).sum().clamp_min(1)
