"""Presets: what a run takes and how its model predicts where nobody says otherwise.

The scales and mirror images were compared on scans of ``label_order`` whose labels the models had not seen: averaging
over mirror images won, and so did coarser scales beside the plan's own; finer ones lost (docs/results.md).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PresetDefaults:
    """The defaults of one preset.

    Args:
        minutes: wall time of a training that is given neither time nor iterations.
        scales: scales that a prediction averages over.
        mirror: whether it also averages over mirror images.
    """

    minutes: float
    scales: tuple[float, ...] = (0.8, 0.9, 1.0)
    mirror: bool = False


PRESETS = {
    "quick": PresetDefaults(minutes=5.0),
    "balanced": PresetDefaults(minutes=30.0, mirror=True),
    "best": PresetDefaults(minutes=180.0, mirror=True),
}
