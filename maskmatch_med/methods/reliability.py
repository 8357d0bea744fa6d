"""Which scales may speak: the teacher's Dice per scale, measured on labelled patches while it trains.

[ours] Away from the training scale a network is worse, and a plain mean turns its errors into confident targets that
training then confirms. A scale therefore enters the ensemble only while adding it to scale 1 does not give a lower Dice
on labelled patches than what would stand in its place: its rival, a mirror image at scale 1, or nothing. A small margin
may be forgiven it, because the teacher knows these patches by heart as they look at scale 1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from maskmatch_med.methods.supervised import UNJUDGED

_LOWEST_DICE = 0.1


class ScaleReliability:
    """Running overlap counts of each scale, alone and paired with scale 1.

    Args:
        scales: the ensemble's scales; 1 among them.
        classes: K, background included.
        keep: share of the old counts that a new measurement leaves.
    """

    def __init__(self, scales: Sequence[float], classes: int, keep: float = 0.8) -> None:
        self.scales = tuple(scales)
        self.keep = keep
        self.counts = torch.zeros(2 * len(self.scales) + 1, 2, 2, classes, dtype=torch.float64)
        """(the scales, the whole ensemble, the scales' rivals; alone or paired; overlap or total; class)."""

    def measure(
        self,
        probabilities: Mapping[float, Tensor],
        ensemble: Tensor,
        labels: Tensor,
        rivals: Mapping[float, Tensor] | None = None,
    ) -> None:
        """Add one labelled batch.

        Args:
            probabilities: what the teacher says at each scale, (B, K, *spatial).
            ensemble: their mean.
            labels: (B, *spatial); 255 = not judged.
            rivals: for a scale, what would stand in its place; by default nothing, which leaves scale 1 alone.
        """
        one = probabilities[1.0]
        rivals = rivals or {}
        members = [probabilities[scale] for scale in self.scales] + [rivals.get(scale, one) for scale in self.scales]
        rows = [torch.stack([_overlap(p, labels), _overlap((p + one) / 2, labels)]) for p in members]
        rows.insert(len(self.scales), _overlap(ensemble, labels).expand(2, -1, -1))
        self.counts = self.keep * self.counts + torch.stack(rows).cpu().double()

    def recall(self, counts: Tensor) -> None:
        """Go on from the counts of an earlier state; those of other scales or classes say nothing here."""
        if counts.shape == self.counts.shape:
            self.counts = counts

    def dice(self) -> dict[str, float]:
        """Mean foreground Dice of each scale, and of the ensemble; empty before the first measurement."""
        names = [f"{scale:g}" for scale in self.scales] + ["ensemble"]
        return {name: float(value) for name, value in zip(names, self._dice()[:, 0], strict=False) if self._measured()}

    def weights(
        self,
        gate: bool = True,
        gate_by: Literal["paired", "alone"] = "paired",
        weigh_by: Literal["equal", "dice", "entropy"] = "equal",
        margin: float = 0.0,
    ) -> dict[float, float]:
        """How much each scale counts, 0 for those that may not enter; scale 1 always enters with weight 1.

        With ``gate``, only scale 1 enters while its own Dice is below 0.1 or not measured: a comparison of failures
        says nothing.

        Args:
            gate: whether a scale must earn its place.
            gate_by: ``paired``: the mean of the scale and scale 1 must have at least the Dice of the mean of its rival
                and scale 1; ``alone``: the scale itself that of scale 1.
            weigh_by: ``dice`` weighs a scale by its Dice over that of scale 1, both at least 0.1.
            margin: Dice that a scale may lack and still enter.
        """
        measured = self._dice()
        one = self.scales.index(1.0)
        compared = measured[:, 0 if gate_by == "alone" else 1]
        alone = measured[:, 0].clamp_min(_LOWEST_DICE)
        weights = {}
        for index, scale in enumerate(self.scales):
            rival = one if gate_by == "alone" else len(self.scales) + 1 + index
            floor = max(float(compared[rival]) - margin, _LOWEST_DICE)
            enters = scale == 1.0 or not gate or bool(compared[index] >= floor)
            weight = float(alone[index] / alone[one]) if weigh_by == "dice" else 1.0
            weights[scale] = weight if enters else 0.0
        return weights

    def _measured(self) -> bool:
        """Whether scale 1 has met a structure, drawn or predicted: without one there is no Dice to compare with."""
        return bool(self.counts[self.scales.index(1.0), 0, 1, 1:].any())

    def _dice(self) -> Tensor:
        """Of each row, the mean over the structures that any row has met: who rightly finds none of one has 1 there."""
        overlap, total = self.counts[:, :, 0, 1:], self.counts[:, :, 1, 1:]
        met = (total > 0).any(dim=0).any(dim=0)
        dice = torch.where(total > 0, 2 * overlap / total.clamp_min(1e-9), 1.0)
        return (dice * met).sum(-1) / met.sum().clamp_min(1)


def _overlap(probabilities: Tensor, labels: Tensor) -> Tensor:
    """(2, K): voxels where the argmax agrees with the label, and predicted plus drawn voxels, of each class."""
    judged = labels != UNJUDGED
    classes = probabilities.shape[1]
    predicted = functional.one_hot(probabilities.argmax(1)[judged], classes)
    drawn = functional.one_hot(labels[judged].long(), classes)
    return torch.stack([(predicted * drawn).sum(0), (predicted + drawn).sum(0)])
