"""One training step of any recipe, from a batch of source crops to the losses."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Generator, Tensor, nn

from maskmatch_med.config import TrainConfig
from maskmatch_med.methods.pseudo_labels import (
    PseudoLabels,
    average_scales,
    axis_factors,
    resized_probabilities,
    window_probabilities,
)
from maskmatch_med.methods.recipes import Recipe
from maskmatch_med.methods.reliability import ScaleReliability
from maskmatch_med.methods.schedule import sigmoid_ramp
from maskmatch_med.methods.supervised import UNJUDGED, dice_cross_entropy
from maskmatch_med.methods.terms import TERMS, Term
from maskmatch_med.nets import heads
from maskmatch_med.planning.plan import Plan
from maskmatch_med.views import (
    LABELLED,
    SpatialDraw,
    apply_intensity,
    apply_spatial,
    draw_intensity,
    draw_spatial,
    source_shape,
)


@dataclass(frozen=True)
class Batch:
    """Source crops of a step, each with margin around the training patch.

    Args:
        labelled: (B, C, *source) images.
        labels: (B, *source) uint8; 255 = not judged or outside the scan.
        unlabelled: (U, C, *source) images; U may be 0.
        inside: (U, 1, *source) bool, false outside the scan.
        cases: names of the labelled, then of the unlabelled scans, for messages.
    """

    labelled: Tensor
    labels: Tensor
    unlabelled: Tensor
    inside: Tensor
    cases: tuple[str, ...]

    def to(self, device: torch.device) -> Batch:
        """The same batch on another device."""
        parts = (self.labelled, self.labels, self.unlabelled, self.inside)
        labelled, labels, unlabelled, inside = (part.to(device, non_blocking=True) for part in parts)
        return Batch(labelled, labels, unlabelled, inside, self.cases)


@dataclass(frozen=True)
class StepLosses:
    """What one step yields: the loss to descend, and each unweighted term with the share of confident voxels."""

    total: Tensor
    parts: dict[str, Tensor]


class Objective:
    """Composes a recipe's parts into one step.

    Args:
        recipe: the terms to use.
        plan: patch, spacing, classes and mirroring.
        config: weights, thresholds and timing.
    """

    def __init__(self, recipe: Recipe, plan: Plan, config: TrainConfig) -> None:
        self.plan, self.config = plan, config
        self.terms = {name: TERMS[name](plan, config) for name in recipe.terms}
        self.scales = config.pseudo_labels.scales if recipe.multiscale else (1.0,)
        self.reliability = ScaleReliability(self.scales, plan.classes)

    @property
    def source_vox(self) -> tuple[int, ...]:
        """Edges of the source crops that this recipe's views are cut from: the widest window of the widest zoom."""
        context = 1 / min(self.scales) if self.config.pseudo_labels.scale_mode == "window" else 1.0
        return source_shape(self.plan.patch_vox, context / self.config.spatial.zoom[0])

    def uses_unlabelled(self, progress: float) -> bool:
        """Whether a step at this progress trains on unlabelled scans."""
        return bool(self.terms) and progress >= self.config.unlabelled.start

    def step(
        self, student: nn.Module, teacher: nn.Module, batch: Batch, generator: Generator, progress: float
    ) -> StepLosses:
        """Draw the views, ask the teacher, run the student once on all of them, add the terms up.

        Args:
            student: the network that learns.
            teacher: its average; only read, without gradient.
            batch: source crops.
            generator: the step's randomness, on the CPU.
            progress: share of the run that is done, in [0, 1].
        """
        image, labels = self.labelled_view(batch, generator)
        inputs, targets = [image], list[PseudoLabels]()
        terms = self._terms_of_step(generator) if self.uses_unlabelled(progress) and len(batch.unlabelled) else {}
        if terms:
            weak, pseudo = self.teach(teacher, batch, generator)
            for term in terms.values():
                image, target = term.view(weak, pseudo, generator)
                inputs.append(image)
                targets.append(target)
        outputs = student(torch.cat(inputs)).split([len(view) for view in inputs])
        total = supervised = self._supervised(outputs[0], labels)
        parts = {"supervised": supervised}
        ramp = sigmoid_ramp(progress, self.config.unlabelled.start, self.config.unlabelled.ramp)
        share = len(self.terms) / max(len(terms), 1)
        for (name, term), output, target in zip(terms.items(), outputs[1:], targets, strict=True):
            parts[name] = term.loss(heads(output, self.plan)[0], target)
            total = total + ramp * share * term.weight * parts[name]
            parts["confident"] = self._confident_share(target)
        return StepLosses(total, parts)

    def _terms_of_step(self, generator: Generator) -> dict[str, Term]:
        if not self.config.unlabelled.one_term_a_step:
            return self.terms
        drawn = list(self.terms)[int(torch.randint(len(self.terms), (), generator=generator))]
        return {drawn: self.terms[drawn]}

    def labelled_view(self, batch: Batch, generator: Generator) -> tuple[Tensor, Tensor]:
        """Labelled images (B, C, *patch) after spatial and intensity changes, and their labels (B, *patch) uint8."""
        image, labels = self._labelled_patch(batch, self._draw(len(batch.labelled), generator))
        draw = draw_intensity(len(image), LABELLED, generator)
        return apply_intensity(image, draw, self.plan.scaled_axes), labels

    @torch.no_grad()
    def teach(self, teacher: nn.Module, batch: Batch, generator: Generator) -> tuple[Tensor, PseudoLabels]:
        """The weak view of the unlabelled scans (U, C, *patch) and the teacher's targets for it."""
        draw = self._draw(len(batch.unlabelled), generator)
        pseudo = self.pseudo_labels(teacher, batch.unlabelled, batch.inside, draw)
        return apply_spatial(batch.unlabelled, draw, self.plan.patch_vox), pseudo

    @torch.no_grad()
    def pseudo_labels(self, teacher: nn.Module, source: Tensor, inside: Tensor, draw: SpatialDraw) -> PseudoLabels:
        """What the teacher says of one view of source crops, over the scales that count at present.

        Args:
            teacher: the network to ask.
            source: (U, C, *source) images.
            inside: (U, 1, *source) bool, false outside the scan.
            draw: the view.
        """
        weights = {scale: w for scale, w in self.reliability.weights(self.config.pseudo_labels.gate).items() if w > 0}
        members = self._members(teacher, source, draw, tuple(weights))
        valid = apply_spatial(inside.float(), draw, self.plan.patch_vox, nearest=True)[:, 0] > 0.5
        return PseudoLabels.from_probabilities(average_scales(members, weights), valid)

    @torch.no_grad()
    def measure_scales(self, teacher: nn.Module, batch: Batch, generator: Generator) -> None:
        """Measure the teacher's Dice at each scale on the batch's labelled patches, without intensity changes."""
        draw = self._draw(len(batch.labelled), generator)
        members = self._members(teacher, batch.labelled, draw, self.scales)
        _, labels = self._labelled_patch(batch, draw)
        ensemble = average_scales(members, self.reliability.weights(self.config.pseudo_labels.gate))
        seen = {scale: torch.where(inside, p, members[1.0][0]) for scale, (p, inside) in members.items()}
        self.reliability.measure(seen, ensemble, labels)

    def _draw(self, batch: int, generator: Generator) -> SpatialDraw:
        return draw_spatial(batch, self.plan.spacing_mm, self.plan.mirror_axes, self.config.spatial, generator)

    def _labelled_patch(self, batch: Batch, draw: SpatialDraw) -> tuple[Tensor, Tensor]:
        patch_vox = self.plan.patch_vox
        shifted = ((batch.labels.float() + 1) % (UNJUDGED + 1))[:, None]
        labels = apply_spatial(shifted, draw, patch_vox, nearest=True)[:, 0].round()
        judged = torch.where(labels > 0, labels - 1, float(UNJUDGED))
        return apply_spatial(batch.labelled, draw, patch_vox), judged.to(torch.uint8)

    def _members(
        self, teacher: nn.Module, source: Tensor, draw: SpatialDraw, scales: tuple[float, ...]
    ) -> dict[float, tuple[Tensor, Tensor]]:
        patch_vox = self.plan.patch_vox
        members = {}
        for scale in scales:
            factors = axis_factors(scale, self.plan.scaled_axes)
            if self.config.pseudo_labels.scale_mode == "resize":
                weak = apply_spatial(source, draw, patch_vox)
                members[scale] = resized_probabilities(teacher, weak, factors, self.plan.network.divisor)
            else:
                members[scale] = window_probabilities(
                    teacher, lambda f: apply_spatial(source, draw.zoomed(f), patch_vox), factors
                )
        return members

    def _supervised(self, output: Tensor, labels: Tensor) -> Tensor:
        """Deep supervision weighs the heads 1, 1/2, 1/4, … and divides by their sum (Isensee et al. 2021)."""
        losses = [dice_cross_entropy(logits, labels) for logits in heads(output, self.plan)]
        weights = [0.5**level for level in range(len(losses))]
        return torch.stack([w * loss for w, loss in zip(weights, losses, strict=True)]).sum() / sum(weights)

    def _confident_share(self, target: PseudoLabels) -> Tensor:
        confident = target.valid & (target.confidence >= self.config.pseudo_labels.threshold)
        return confident.sum() / target.valid.sum().clamp_min(1)
