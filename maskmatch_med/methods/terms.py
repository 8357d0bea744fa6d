"""The terms on unlabelled scans: each makes one student view of the weak view and holds it to the pseudo-labels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Generator, Tensor

from maskmatch_med.config import TrainConfig
from maskmatch_med.methods.consistency import confident_cross_entropy
from maskmatch_med.methods.mean_teacher import probability_mse
from maskmatch_med.methods.pseudo_labels import PseudoLabels
from maskmatch_med.planning.plan import Plan
from maskmatch_med.views import (
    STRONG,
    apply_cutmix,
    apply_intensity,
    apply_patch_mask,
    default_patch_mm,
    draw_cutmix,
    draw_intensity,
    draw_patch_mask,
    mask_patch_vox,
)


class Term(Protocol):
    """One way of holding the student to the teacher."""

    weight: float

    def view(self, weak: Tensor, pseudo: PseudoLabels, generator: Generator) -> tuple[Tensor, PseudoLabels]:
        """The student's input (B, C, *spatial) and its targets, from the weak view and the teacher's targets."""
        ...

    def loss(self, logits: Tensor, pseudo: PseudoLabels) -> Tensor:
        """Scalar loss of the student's logits (B, K, *spatial) against the view's targets."""
        ...


class StrongView:
    """Weak to strong: intensity changes and CutMix, confident cross-entropy (FixMatch, Sohn et al. 2020)."""

    def __init__(self, plan: Plan, config: TrainConfig) -> None:
        self.config = config
        self.scaled_axes = plan.scaled_axes
        self.weight = config.unlabelled.strong_weight

    def view(self, weak: Tensor, pseudo: PseudoLabels, generator: Generator) -> tuple[Tensor, PseudoLabels]:
        """See :class:`Term`."""
        strong = apply_intensity(weak, draw_intensity(len(weak), STRONG, generator), self.scaled_axes)
        cutmix = draw_cutmix(len(weak), weak.shape[2:], self.config.unlabelled.cutmix_probability, generator)
        return apply_cutmix(strong, cutmix), pseudo.mixed(cutmix)

    def loss(self, logits: Tensor, pseudo: PseudoLabels) -> Tensor:
        """See :class:`Term`."""
        return _confident_loss(logits, pseudo, self.config)


class MaskedView:
    """Masked modelling: segment the whole weak view from its visible patches (MaskMatch, arXiv 2312.08631)."""

    def __init__(self, plan: Plan, config: TrainConfig) -> None:
        self.config = config
        self.weight = config.unlabelled.masked_weight
        patch_mm = config.masking.patch_mm or default_patch_mm(plan.patch_vox, plan.spacing_mm)
        self.patch_vox = mask_patch_vox(patch_mm, plan.spacing_mm, plan.patch_vox)

    def view(self, weak: Tensor, pseudo: PseudoLabels, generator: Generator) -> tuple[Tensor, PseudoLabels]:
        """See :class:`Term`."""
        masking = self.config.masking
        shape = weak.shape[2:]
        visible = draw_patch_mask(len(weak), shape, self.patch_vox, masking.ratio, generator, masking.exact_count)
        return apply_patch_mask(weak, visible), pseudo

    def loss(self, logits: Tensor, pseudo: PseudoLabels) -> Tensor:
        """See :class:`Term`."""
        return _confident_loss(logits, pseudo, self.config)


class NoisyView:
    """Mean Teacher: the weak view with Gaussian noise of 0.1 deviations, squared distance of probabilities."""

    def __init__(self, plan: Plan, config: TrainConfig) -> None:
        self.weight = config.unlabelled.mean_teacher_weight

    def view(self, weak: Tensor, pseudo: PseudoLabels, generator: Generator) -> tuple[Tensor, PseudoLabels]:
        """See :class:`Term`."""
        noise = torch.randn(weak.shape, generator=generator).to(weak)
        return weak + 0.1 * noise.clamp(-2, 2), pseudo

    def loss(self, logits: Tensor, pseudo: PseudoLabels) -> Tensor:
        """See :class:`Term`."""
        return probability_mse(logits, pseudo)


def _confident_loss(logits: Tensor, pseudo: PseudoLabels, config: TrainConfig) -> Tensor:
    """The loss of the strong and of the masked view."""
    return confident_cross_entropy(logits, pseudo, config.pseudo_labels.threshold, config.unlabelled.normalise_by)


TERMS: dict[str, Callable[[Plan, TrainConfig], Term]] = {
    "strong": StrongView,
    "masked": MaskedView,
    "mean_teacher": NoisyView,
}
