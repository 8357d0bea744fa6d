"""Which scales may speak: the teacher's Dice per scale, measured on labelled patches while it trains.

[ours] Away from the training scale a network is worse, and a plain mean turns its errors into confident targets that
training then confirms. A scale therefore enters the ensemble only while adding it to scale 1 does not lower the Dice
on labelled patches.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

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
        self.counts = torch.zeros(len(self.scales) + 1, 2, 2, classes, dtype=torch.float64)
        """(scale or the whole ensemble, alone or paired, overlap or total, class)."""

    def measure(self, probabilities: Mapping[float, Tensor], ensemble: Tensor, labels: Tensor) -> None:
        """Add one labelled batch: each scale's (B, K, *spatial), their mean, and labels (B, *spatial), 255 unjudged."""
        one = probabilities[1.0]
        members = [probabilities[scale] for scale in self.scales]
        rows = [torch.stack([_overlap(p, labels), _overlap((p + one) / 2, labels)]) for p in members]
        rows.append(_overlap(ensemble, labels).expand(2, -1, -1))
        self.counts = self.keep * self.counts + torch.stack(rows).cpu().double()

    def dice(self) -> dict[str, float]:
        """Mean foreground Dice of each scale, and of the ensemble; empty before the first measurement."""
        names = [f"{scale:g}" for scale in self.scales] + ["ensemble"]
        return {name: float(value) for name, value in zip(names, self._dice()[:, 0], strict=True) if self._measured()}

    def weights(self, gate: bool = True) -> dict[float, float]:
        """1 for each scale that may enter, 0 for the others; scale 1 always enters.

        With ``gate``, only scale 1 enters while its own Dice is below 0.1 or not measured: a comparison of failures
        says nothing.
        """
        paired = self._dice()[:, 1]
        floor = max(float(paired[self.scales.index(1.0)]), _LOWEST_DICE)
        return {
            scale: 1.0 if scale == 1.0 or not gate or paired[i] >= floor else 0.0 for i, scale in enumerate(self.scales)
        }

    def _measured(self) -> bool:
        """Whether scale 1 has met a structure, drawn or predicted: without one there is no Dice to compare with."""
        return bool(self.counts[self.scales.index(1.0), 0, 1, 1:].any())

    def _dice(self) -> Tensor:
        overlap, total = self.counts[:, :, 0, 1:], self.counts[:, :, 1, 1:]
        present = total > 0
        return (2 * overlap / total.clamp_min(1e-9) * present).sum(-1) / present.sum(-1).clamp_min(1)


def _overlap(probabilities: Tensor, labels: Tensor) -> Tensor:
    """(2, K): voxels where the argmax agrees with the label, and predicted plus drawn voxels, of each class."""
    judged = labels != UNJUDGED
    classes = probabilities.shape[1]
    predicted = functional.one_hot(probabilities.argmax(1)[judged], classes)
    drawn = functional.one_hot(labels[judged].long(), classes)
    return torch.stack([(predicted * drawn).sum(0), (predicted + drawn).sum(0)])
