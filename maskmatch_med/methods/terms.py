"""The terms of a recipe: each makes one student view and tells what the answer to it is held to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Generator, Tensor

from maskmatch_med.config import TrainConfig
from maskmatch_med.methods.certainty import certain_mse, entropy, entropy_limit
from maskmatch_med.methods.consistency import confident_cross_entropy
from maskmatch_med.methods.copy_paste import pasted_dice_cross_entropy
from maskmatch_med.methods.entropy_weighting import entropy_weighted_mse
from maskmatch_med.methods.mean_teacher import probability_mse
from maskmatch_med.methods.pseudo_labels import PseudoLabels
from maskmatch_med.methods.recipes import Recipe
from maskmatch_med.methods.supervised import UNJUDGED, dice_cross_entropy
from maskmatch_med.planning.plan import Plan
from maskmatch_med.views import (
    STRONG,
    apply_cutmix,
    apply_intensity,
    apply_patch_mask,
    default_patch_mm,
    draw_boxes,
    draw_cutmix,
    draw_intensity,
    draw_patch_mask,
    mask_patch_vox,
    standard_normal,
)

PseudoLoss = Callable[[Tensor, PseudoLabels], Tensor]


@dataclass(frozen=True)
class Lesson:
    """What the terms of one step may use.

    Args:
        weak: (U, C, *patch), the weak view of the unlabelled scans.
        pseudo: what the teacher says of it.
        ask: the teacher's probabilities of images (N, C, *patch) at scale 1, without gradient.
        image: (B, C, *patch), the view of the labelled scans.
        labels: (B, *patch) uint8; 255 = not judged.
        progress: share of the run that is done.
    """

    weak: Tensor
    pseudo: PseudoLabels
    ask: Callable[[Tensor], Tensor]
    image: Tensor
    labels: Tensor
    progress: float


@dataclass(frozen=True)
class Task:
    """One view for the student.

    Args:
        image: (N, C, *patch), its input.
        loss: the student's logits (N, K, *patch) to a scalar.
        channel_dropout: share of the encoder's channels that are silenced for it.
    """

    image: Tensor
    loss: Callable[[Tensor], Tensor]
    channel_dropout: float = 0.0


class Term(Protocol):
    """One way of holding the student to what is known of a scan."""

    weight: float

    def task(self, lesson: Lesson, generator: Generator) -> Task:
        """The student's input and what the answer is held to."""
        ...


class StrongView:
    """Weak to strong: intensity changes and CutMix, confident cross-entropy (FixMatch, Sohn et al. 2020)."""

    def __init__(self, plan: Plan, config: TrainConfig, recipe: Recipe) -> None:
        self.config, self.recipe = config, recipe
        self.scaled_axes = plan.scaled_axes
        self.weight = config.unlabelled.strong_weight

    def task(self, lesson: Lesson, generator: Generator) -> Task:
        """See :class:`Term`."""
        weak = lesson.weak
        strong = apply_intensity(weak, draw_intensity(len(weak), STRONG, generator), self.scaled_axes)
        cutmix = draw_cutmix(len(weak), weak.shape[2:], self.config.unlabelled.cutmix_probability, generator)
        target, loss = lesson.pseudo.mixed(cutmix), _pseudo_loss(self.config, self.recipe, lesson)
        return Task(apply_cutmix(strong, cutmix), lambda logits: loss(logits, target))


class MaskedView:
    """Masked modelling: segment the whole weak view from its visible patches (MaskMatch, arXiv 2312.08631)."""

    def __init__(self, plan: Plan, config: TrainConfig, recipe: Recipe) -> None:
        self.config, self.recipe = config, recipe
        self.mask = _PatchMask(plan, config)
        self.weight = config.unlabelled.masked_weight

    def task(self, lesson: Lesson, generator: Generator) -> Task:
        """See :class:`Term`."""
        loss = _pseudo_loss(self.config, self.recipe, lesson)
        image, counted = self.mask(lesson.weak, generator)
        pseudo = replace(lesson.pseudo, valid=lesson.pseudo.valid & counted)
        return Task(image, lambda logits: loss(logits, pseudo))


class MaskedLabelled:
    """Masked modelling of labelled scans: the labels themselves are the answer (as in AdvMIM)."""

    def __init__(self, plan: Plan, config: TrainConfig, recipe: Recipe) -> None:
        self.mask = _PatchMask(plan, config)
        self.weight = config.unlabelled.masked_labelled_weight

    def task(self, lesson: Lesson, generator: Generator) -> Task:
        """See :class:`Term`."""
        image, counted = self.mask(lesson.image, generator)
        labels = lesson.labels.masked_fill(~counted, UNJUDGED)
        return Task(image, lambda logits: dice_cross_entropy(logits, labels))


class FeatureView:
    """Feature perturbation: the weak view with half of the encoder's channels silenced (UniMatch, Yang et al. 2023)."""

    def __init__(self, plan: Plan, config: TrainConfig, recipe: Recipe) -> None:
        self.config, self.recipe = config, recipe
        self.weight = config.unlabelled.feature_weight

    def task(self, lesson: Lesson, generator: Generator) -> Task:
        """See :class:`Term`."""
        loss = _pseudo_loss(self.config, self.recipe, lesson)
        dropout = self.config.unlabelled.feature_dropout
        return Task(lesson.weak, lambda logits: loss(logits, lesson.pseudo), channel_dropout=dropout)


class NoisyView:
    """Mean Teacher: the weak view with Gaussian noise of 0.1 deviations, squared distance of probabilities."""

    def __init__(self, plan: Plan, config: TrainConfig, recipe: Recipe) -> None:
        self.config, self.recipe = config, recipe
        self.weight = config.unlabelled.mean_teacher_weight

    def task(self, lesson: Lesson, generator: Generator) -> Task:
        """See :class:`Term`."""
        weighted = _pseudo_loss(self.config, self.recipe, lesson)
        loss = weighted if self.recipe.entropy_weighting else probability_mse
        return Task(_noisy(lesson.weak, generator), lambda logits: loss(logits, lesson.pseudo))


class CertainView:
    """UA-MT: Mean Teacher where the teacher is certain of noisy copies (Yu et al. 2019)."""

    def __init__(self, plan: Plan, config: TrainConfig, recipe: Recipe) -> None:
        self.classes, self.passes = plan.classes, config.unlabelled.uncertainty_passes
        self.weight = config.unlabelled.mean_teacher_weight

    def task(self, lesson: Lesson, generator: Generator) -> Task:
        """See :class:`Term`."""
        view = _noisy(lesson.weak, generator)
        answers = [lesson.ask(_noisy(lesson.weak, generator)) for _ in range(self.passes)]
        uncertainty = entropy(torch.stack(answers).mean(0))
        limit = entropy_limit(lesson.progress, self.classes)
        return Task(view, lambda logits: certain_mse(logits, lesson.pseudo, uncertainty, limit))


class CrossView:
    """CPS with CutMix: every voxel of the other network's label, whatever its confidence (Chen et al. 2021)."""

    def __init__(self, plan: Plan, config: TrainConfig, recipe: Recipe) -> None:
        self.config = config
        self.weight = config.unlabelled.cross_weight

    def task(self, lesson: Lesson, generator: Generator) -> Task:
        """See :class:`Term`."""
        weak = lesson.weak
        cutmix = draw_cutmix(len(weak), weak.shape[2:], self.config.unlabelled.cutmix_probability, generator)
        target = lesson.pseudo.mixed(cutmix)
        return Task(apply_cutmix(weak, cutmix), lambda logits: confident_cross_entropy(logits, target, threshold=0.0))


class PastedViews:
    """BCP: a box of the labelled scan in the unlabelled one, and the other way round (Bai et al. 2023)."""

    def __init__(self, plan: Plan, config: TrainConfig, recipe: Recipe) -> None:
        self.config = config
        self.weight = config.unlabelled.paste_weight

    def task(self, lesson: Lesson, generator: Generator) -> Task:
        """See :class:`Term`; twice as many images as unlabelled scans."""
        weak, count = lesson.weak, len(lesson.weak)
        guessed = lesson.pseudo.labels.to(torch.uint8).masked_fill(~lesson.pseudo.valid, UNJUDGED)
        box = draw_boxes(count, weak.shape[2:], self.config.unlabelled.paste_edge, generator).to(weak.device)
        images, losses = [], []
        for is_pseudo, shift in ((box, 0), (~box, 1)):
            partner = (torch.arange(count, device=weak.device) + shift) % len(lesson.image)
            images.append(torch.where(is_pseudo, weak, lesson.image[partner]))
            losses.append(
                (lesson.labels[partner], guessed, is_pseudo[:, 0], self.config.unlabelled.paste_pseudo_weight)
            )

        def loss(logits: Tensor) -> Tensor:
            halves = zip(logits.chunk(2), losses, strict=True)
            return torch.stack([pasted_dice_cross_entropy(half, *given) for half, given in halves]).sum()

        return Task(torch.cat(images), loss)


class _PatchMask:
    """Hides a share of the patches of an image, as the settings say."""

    def __init__(self, plan: Plan, config: TrainConfig) -> None:
        self.masking = config.masking
        edge = default_patch_mm(plan.patch_vox, plan.spacing_mm, plan.piece_mm)
        patch_mm = config.masking.patch_mm or edge
        self.patch_vox = mask_patch_vox(patch_mm, plan.spacing_mm, plan.patch_vox)

    def __call__(self, image: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
        """The image (N, C, *patch) with its visible patches alone; which voxels count in the loss, (N, *patch) bool."""
        ratio, exact = self.masking.ratio, self.masking.exact_count
        visible = draw_patch_mask(len(image), image.shape[2:], self.patch_vox, ratio, generator, exact)
        visible = visible.to(image.device)
        counted = visible[:, 0] if self.masking.held_to == "visible" else torch.ones_like(visible[:, 0])
        return apply_patch_mask(image, visible, self.masking.fill, generator), counted


def _noisy(image: Tensor, generator: Generator) -> Tensor:
    """Gaussian noise of 0.1 deviations, cut off at 0.2."""
    return image + 0.1 * standard_normal(image, generator).clamp(-2, 2)


def _pseudo_loss(config: TrainConfig, recipe: Recipe, lesson: Lesson) -> PseudoLoss:
    """Confident cross-entropy, or with +entropy-weighting the entropy-weighted distance with β at this moment."""
    if recipe.entropy_weighting:
        first, last = config.unlabelled.entropy_beta
        beta = first * (last / first) ** lesson.progress
        return lambda logits, pseudo: entropy_weighted_mse(logits, pseudo, beta)
    told, normalise_by = config.pseudo_labels, config.unlabelled.normalise_by
    return lambda logits, pseudo: confident_cross_entropy(logits, pseudo, told.threshold, normalise_by, told.target)


TERMS: dict[str, Callable[[Plan, TrainConfig, Recipe], Term]] = {
    "strong": StrongView,
    "second_strong": StrongView,
    "masked": MaskedView,
    "masked_labelled": MaskedLabelled,
    "feature": FeatureView,
    "mean_teacher": NoisyView,
    "certain": CertainView,
    "cross": CrossView,
    "paste": PastedViews,
}
