"""One training step of any recipe, from a batch of source crops to the losses."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Generator, Tensor, nn

from maskmatch_med.config import TrainConfig
from maskmatch_med.methods.pseudo_labels import (
    Network,
    PseudoLabels,
    asked_together,
    average_scales,
    axis_factors,
    patch_probabilities,
    resized_patch,
    weighed_by_certainty,
    window_probabilities,
)
from maskmatch_med.methods.recipes import Recipe
from maskmatch_med.methods.reliability import ScaleReliability
from maskmatch_med.methods.schedule import sigmoid_ramp
from maskmatch_med.methods.supervised import UNJUDGED, dice_cross_entropy
from maskmatch_med.methods.terms import TERMS, Lesson, Task, Term
from maskmatch_med.nets import Pair, build_network, dropped_channels, heads
from maskmatch_med.planning.plan import Plan
from maskmatch_med.views import (
    LABELLED,
    SpatialDraw,
    apply_cutmix,
    apply_intensity,
    apply_spatial,
    draw_copy_paste,
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
        """The same batch on another device; of a pinned one the copy runs while other work goes on."""
        return self._each(lambda part: part.to(device, non_blocking=True))

    def pinned(self) -> Batch:
        """The same batch in memory that a card copies from by itself."""
        return self._each(Tensor.pin_memory)

    def _each(self, change: Callable[[Tensor], Tensor]) -> Batch:
        parts = (self.labelled, self.labels, self.unlabelled, self.inside)
        labelled, labels, unlabelled, inside = map(change, parts)
        return Batch(labelled, labels, unlabelled, inside, self.cases)


@dataclass(frozen=True)
class StepLosses:
    """What one step yields: the loss to descend, and each unweighted term with the share of confident voxels.

    Where two networks learn, losses are the sum over both and the share their mean.
    """

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
        self.recipe, self.plan, self.config = recipe, plan, config
        self.terms = {name: TERMS[name](plan, config, recipe) for name in recipe.terms}
        self.scales = config.pseudo_labels.scales if recipe.multiscale else (1.0,)
        self.reliability = ScaleReliability(self.scales, plan.classes)

    def build_student(self) -> nn.Module:
        """The network that learns, or two of them in a :class:`Pair`."""
        return build_network(self.plan) if self.recipe.networks == 1 else Pair(self.plan)

    @property
    def source_vox(self) -> tuple[int, ...]:
        """Edges of the source crops that this recipe's views are cut from: the widest window of the widest zoom."""
        wide = self.config.pseudo_labels.scale_mode == "window" or self.config.pseudo_labels.train_scales
        context = 1 / min(self.scales) if wide else 1.0
        return source_shape(self.plan.patch_vox, context / self.config.spatial.zoom[0])

    def uses_unlabelled(self, progress: float) -> bool:
        """Whether a step at this progress trains on unlabelled scans."""
        return bool(self.terms) and progress >= self.config.labels_alone

    def uses_scales(self, progress: float) -> bool:
        """Whether scales other than 1 may speak at this progress."""
        begun = progress >= self.config.pseudo_labels.scales_start
        return begun and len(self.scales) > 1 and self.uses_unlabelled(progress)

    def scale_weights(self) -> dict[float, float]:
        """How much each scale counts at present."""
        told = self.config.pseudo_labels
        return self.reliability.weights(told.gate, told.gate_by, told.weigh_by, told.gate_margin)

    def step(
        self, student: nn.Module, teacher: nn.Module, batch: Batch, generator: Generator, progress: float
    ) -> StepLosses:
        """Draw the labelled view, and let each network learn from it and from what its guide says.

        Args:
            student: the network that learns, or the pair.
            teacher: its average; only read, without gradient.
            batch: source crops.
            generator: the step's randomness, on the CPU.
            progress: share of the run that is done, in [0, 1].
        """
        labelled = self.labelled_view(batch, generator)
        terms = self._terms_of_step(generator) if self.uses_unlabelled(progress) and len(batch.unlabelled) else {}
        losses = []
        for learner, guide in self._couples(student, teacher):
            tasks = dict[str, Task]()
            parts = dict[str, Tensor]()
            if terms:
                weak, pseudo = self.teach(guide, batch, generator)
                lesson = Lesson(weak, pseudo, partial(_probabilities, guide), *labelled, progress)
                tasks = {name: term.task(lesson, generator) for name, term in terms.items()}
                parts["confident"] = self._confident_share(pseudo)
            images = [labelled[0], *(task.image for task in tasks.values())]
            with dropped_channels(student, _dropout_by_item(labelled[0], tasks), generator):
                outputs = torch.split(learner(torch.cat(images)), [len(image) for image in images])
            total = parts["supervised"] = self._supervised(outputs[0], labelled[1])
            for (name, task), output in zip(tasks.items(), outputs[1:], strict=True):
                parts[name] = task.loss(heads(output, self.plan)[0])
                total = total + self._weight(name, progress) * (len(self.terms) / len(terms)) * parts[name]
            losses.append(StepLosses(total, parts))
        return _together(losses)

    def _couples(self, student: nn.Module, teacher: nn.Module) -> list[tuple[Network, Network]]:
        """Who learns from whom: the student from its average, or the two of a pair from each other."""
        if self.recipe.networks == 1:
            return [(student, teacher)]
        members = [partial(student, member=member) for member in (0, 1)]
        return [(member, self._full_resolution(other)) for member, other in zip(members, members[::-1], strict=True)]

    def _full_resolution(self, network: Network) -> Network:
        return lambda image: heads(network(image), self.plan)[0]

    def _weight(self, name: str, progress: float) -> float:
        ramp = sigmoid_ramp(progress, self.config.labels_alone, self.config.unlabelled.ramp)
        return ramp * self.recipe.shares.get(name, 1.0) * self.terms[name].weight

    def _terms_of_step(self, generator: Generator) -> dict[str, Term]:
        if not self.config.unlabelled.one_term_a_step:
            return self.terms
        drawn = list(self.terms)[int(torch.randint(len(self.terms), (), generator=generator))]
        return {drawn: self.terms[drawn]}

    def labelled_view(self, batch: Batch, generator: Generator) -> tuple[Tensor, Tensor]:
        """Labelled images (B, C, *patch) after spatial and intensity changes, and their labels (B, *patch) uint8."""
        drawn = self._draw(len(batch.labelled), generator)
        if self.config.pseudo_labels.train_scales and len(self.scales) > 1:
            scale = self.scales[int(torch.randint(len(self.scales), (), generator=generator))]
            drawn = drawn.zoomed(axis_factors(scale, self.plan.scaled_axes))
        image, labels = self._labelled_patch(batch, drawn)
        image = apply_intensity(image, draw_intensity(len(image), LABELLED, generator), self.plan.scaled_axes)
        if self.recipe.copy_paste:
            edge = self.config.unlabelled.paste_edge
            paste = draw_copy_paste(len(image), self.plan.patch_vox, edge, generator)
            image, labels = apply_cutmix(image, paste), apply_cutmix(labels, paste)
        return image, labels

    @torch.no_grad()
    def teach(self, teacher: Network, batch: Batch, generator: Generator) -> tuple[Tensor, PseudoLabels]:
        """The weak view of the unlabelled scans (U, C, *patch) and the teacher's targets for it."""
        draw = self._draw(len(batch.unlabelled), generator)
        pseudo = self.pseudo_labels(teacher, batch.unlabelled, batch.inside, draw)
        return apply_spatial(batch.unlabelled, draw, self.plan.patch_vox), pseudo

    @torch.no_grad()
    def pseudo_labels(self, teacher: Network, source: Tensor, inside: Tensor, draw: SpatialDraw) -> PseudoLabels:
        """What the teacher says of one view of source crops, over the scales that count at present.

        Args:
            teacher: the network to ask.
            source: (U, C, *source) images.
            inside: (U, 1, *source) bool, false outside the scan.
            draw: the view.
        """
        looks = self._looks()
        members = self._members(teacher, source, draw, looks)
        valid = apply_spatial(inside.float(), draw, self.plan.patch_vox, nearest=True)[:, 0] > 0.5
        return PseudoLabels.from_probabilities(self._ensemble(members), valid)

    @torch.no_grad()
    def measure_scales(self, teacher: Network, batch: Batch, generator: Generator) -> None:
        """Measure the teacher's Dice at each scale on the batch's labelled patches, without intensity changes."""
        draw = self._draw(len(batch.labelled), generator)
        members = self._members(teacher, batch.labelled, draw, {scale: scale for scale in self.scales})
        mirrors = {scale: 1.0 for scale in self.scales if self.mirrored_axes(scale)}
        rivals = self._members(teacher, batch.labelled, draw, mirrors)
        _, labels = self._labelled_patch(batch, draw)
        chosen = {scale: (rivals if look != scale else members)[scale] for scale, look in self._looks().items()}
        seen = {scale: torch.where(inside, p, members[1.0][0]) for scale, (p, inside) in members.items()}
        self.reliability.measure(seen, self._ensemble(chosen), labels, {scale: p for scale, (p, _) in rivals.items()})

    def _looks(self) -> dict[float, float]:
        """The members of the ensemble, by their scale, and the scale that each looks at: 1 where it may not speak."""
        weights = self.scale_weights()
        may_speak = {scale: scale if weight > 0 else 1.0 for scale, weight in weights.items()}
        return {scale: look for scale, look in may_speak.items() if look == scale or self.mirrored_axes(scale)}

    def _ensemble(self, members: dict[float, tuple[Tensor, Tensor]]) -> Tensor:
        weights = {scale: weight or 1.0 for scale, weight in self.scale_weights().items() if scale in members}
        by_certainty = self.config.pseudo_labels.weigh_by == "entropy" and len(members) > 1
        return average_scales(weighed_by_certainty(members) if by_certainty else members, weights)

    def _draw(self, batch: int, generator: Generator) -> SpatialDraw:
        return draw_spatial(batch, self.plan.spacing_mm, self.plan.mirror_axes, self.config.spatial, generator)

    def _labelled_patch(self, batch: Batch, draw: SpatialDraw) -> tuple[Tensor, Tensor]:
        patch_vox = self.plan.patch_vox
        shifted = ((batch.labels.float() + 1) % (UNJUDGED + 1))[:, None]
        labels = apply_spatial(shifted, draw, patch_vox, nearest=True)[:, 0].round()
        judged = torch.where(labels > 0, labels - 1, float(UNJUDGED))
        return apply_spatial(batch.labelled, draw, patch_vox), judged.to(torch.uint8)

    def _members(
        self, teacher: Network, source: Tensor, draw: SpatialDraw, looks: Mapping[float, float]
    ) -> dict[float, tuple[Tensor, Tensor]]:
        """By scale, what the teacher says at the scale that it looks at, and where that has a value."""
        if not looks:
            return {}
        patch, resizes = self.plan.patch_vox, self.config.pseudo_labels.scale_mode == "resize"
        factors = {scale: axis_factors(look, self.plan.scaled_axes) for scale, look in looks.items()}
        mirrors = {scale: [axis + 2 for axis in self.mirrored_axes(scale)] for scale in looks}
        if resizes:
            weak, divisor = apply_spatial(source, draw, patch), self.plan.network.divisor
            images = {scale: resized_patch(weak, factors[scale], divisor) for scale in looks}
        else:
            images = {scale: apply_spatial(source, draw.zoomed(factors[scale]), patch) for scale in looks}
        logits = asked_together(teacher, {scale: image.flip(mirrors[scale]) for scale, image in images.items()})
        answers = {scale: logits[scale].flip(mirrors[scale]) for scale in looks}
        if resizes:
            return {scale: patch_probabilities(one, factors[scale], patch) for scale, one in answers.items()}
        return {scale: window_probabilities(one, factors[scale]) for scale, one in answers.items()}

    def mirrored_axes(self, scale: float) -> tuple[int, ...]:
        """Along which axes a scale's image is mirrored: none at scale 1, the plan's axes in turn at the others."""
        axes = self.plan.mirror_axes
        if scale == 1.0 or not axes or not self.config.pseudo_labels.mirror_scales:
            return ()
        others = [other for other in self.scales if other != 1.0]
        return (axes[others.index(scale) % len(axes)],)

    def _supervised(self, output: Tensor, labels: Tensor) -> Tensor:
        """Deep supervision weighs the heads 1, 1/2, 1/4, … and divides by their sum (Isensee et al. 2021)."""
        losses = [dice_cross_entropy(logits, labels) for logits in heads(output, self.plan)]
        weights = [0.5**level for level in range(len(losses))]
        return torch.stack([w * loss for w, loss in zip(weights, losses, strict=True)]).sum() / sum(weights)

    def _confident_share(self, target: PseudoLabels) -> Tensor:
        confident = target.valid & (target.confidence >= self.config.pseudo_labels.threshold)
        return confident.sum() / target.valid.sum().clamp_min(1)


@torch.no_grad()
def _probabilities(network: Network, image: Tensor) -> Tensor:
    return torch.softmax(network(image).float(), 1)


def _dropout_by_item(labelled: Tensor, tasks: Mapping[str, Task]) -> list[float]:
    """For each item that the student will see, the share of channels to silence."""
    return [0.0] * len(labelled) + [task.channel_dropout for task in tasks.values() for _ in task.image]


def _together(losses: Sequence[StepLosses]) -> StepLosses:
    """The sum over the networks that learn; of the confident share the mean."""
    parts = {name: torch.stack([each.parts[name] for each in losses]).sum() for name in losses[0].parts}
    if "confident" in parts:
        parts["confident"] = parts["confident"] / len(losses)
    return StepLosses(torch.stack([each.total for each in losses]).sum(), parts)
