"""Bidirectional copy-paste: images half labelled, half pseudo-labelled, each half held to its own labels.

Source: Bai et al., Bidirectional copy-paste for semi-supervised medical image segmentation, CVPR 2023: a box of 2/3 of
each edge, weight ½ on what is pseudo-labelled. [ours] No largest component is kept of pseudo-labels,
which would delete multifocal lesions, and the plain supervised loss stays beside it.
"""

from __future__ import annotations

import torch
from torch import Tensor

from maskmatch_med.methods.supervised import UNJUDGED, dice_cross_entropy


def pasted_dice_cross_entropy(
    logits: Tensor, labels: Tensor, pseudo_labels: Tensor, is_pseudo: Tensor, pseudo_weight: float
) -> Tensor:
    """L = (Dice + CE)(logits, y) where ``is_pseudo`` is false + α·(Dice + CE)(logits, ŷ) where it is true.

    Args:
        logits: the student's (B, K, *spatial) of the mixed images.
        labels: (B, *spatial) uint8 of the labelled scans; 255 = not judged.
        pseudo_labels: (B, *spatial) uint8 of the unlabelled scans; 255 = outside the scan.
        is_pseudo: (B, *spatial) bool, which voxels come from the unlabelled scans.
        pseudo_weight: α.

    Returns:
        Scalar.

    Raises:
        ValueError: shapes disagree.
    """
    judged = torch.where(is_pseudo, torch.full_like(labels, UNJUDGED), labels)
    guessed = torch.where(is_pseudo, pseudo_labels, torch.full_like(pseudo_labels, UNJUDGED))
    return dice_cross_entropy(logits, judged) + pseudo_weight * dice_cross_entropy(logits, guessed)
