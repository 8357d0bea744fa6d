"""Bland-Altman: how far predicted volumes lie from those of the reference, and whether that depends on the size.

Bland, Altman: Statistical methods for assessing agreement between two methods of clinical measurement. Lancet 327
(1986) 307-310. Bias = mean of the differences (prediction - reference), limits of agreement = bias ± 1.96 sample
standard deviations: about 95 % of further cases are expected between them if the differences are normally distributed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.special import stdtrit

from maskmatch_med.evaluation.figures import INK, PALETTE, dress, legend
from maskmatch_med.evaluation.results import Evaluation
from maskmatch_med.evaluation.units import SOLID, Units

_NORMAL_95 = 1.96
_MOST_PANELS = 6


@dataclass(frozen=True, eq=False)
class Agreement:
    """Volumes of one structure, prediction against reference.

    Args:
        structure: its name.
        predicted_ml: (N,) one a case; cases with the structure on neither side are left out.
        reference_ml: (N,) in the same order.
    """

    structure: str
    predicted_ml: NDArray[np.float64]
    reference_ml: NDArray[np.float64]

    @property
    def n(self) -> int:
        """Number of cases."""
        return int(self.predicted_ml.size)

    @property
    def differences_ml(self) -> NDArray[np.float64]:
        """(N,) prediction - reference."""
        return self.predicted_ml - self.reference_ml

    @property
    def bias_ml(self) -> float:
        """Mean difference; NaN without a case."""
        return float(self.differences_ml.mean()) if self.n else math.nan

    @property
    def sd_ml(self) -> float:
        """Sample standard deviation of the differences; NaN with fewer than two cases."""
        return float(self.differences_ml.std(ddof=1)) if self.n > 1 else math.nan

    @property
    def limits_ml(self) -> tuple[float, float]:
        """Lower and upper limit of agreement; NaN with fewer than two cases."""
        return self.bias_ml - _NORMAL_95 * self.sd_ml, self.bias_ml + _NORMAL_95 * self.sd_ml

    @property
    def bias_interval_ml(self) -> tuple[float, float]:
        """95 % confidence interval of the bias, by Student's t; NaN with fewer than two cases."""
        if self.n < 2:
            return math.nan, math.nan
        half = float(stdtrit(self.n - 1, 0.975)) * self.sd_ml / math.sqrt(self.n)
        return self.bias_ml - half, self.bias_ml + half

    @property
    def correlation(self) -> float:
        """Pearson's correlation of the volumes; NaN where one side does not vary."""
        if self.n < 2 or np.ptp(self.predicted_ml) == 0 or np.ptp(self.reference_ml) == 0:
            return math.nan
        return float(np.corrcoef(self.predicted_ml, self.reference_ml)[0, 1])


def agreements(evaluation: Evaluation) -> list[Agreement]:
    """The volumes of each structure that at least one case has on either side."""
    found = []
    for name in evaluation.classes:
        rows = [row for row in evaluation.of_class(name) if not row.both_empty]
        predicted = np.array([row.volume_pred_ml for row in rows], dtype=np.float64)
        reference = np.array([row.volume_ref_ml for row in rows], dtype=np.float64)
        if rows:
            found.append(Agreement(name, predicted, reference))
    return found


def agreement_figure(found: Mapping[str, list[Agreement]], units: Units = SOLID) -> Figure:
    """A panel a structure: difference against mean, the bias as a line, the limits of agreement dashed.

    Args:
        found: by model. A single model may have the name "".
        units: what volumes, or areas, are counted in.
    """
    structures = list(dict.fromkeys(part.structure for parts in found.values() for part in parts))[:_MOST_PANELS]
    columns = min(3, len(structures))
    rows = -(-len(structures) // columns)
    figure = Figure(figsize=(3.7 * columns if columns > 1 else 5.4, 3.0 * rows), dpi=110)
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes, structure in zip(grid, structures, strict=False):
        for rank, (model, parts) in enumerate(found.items()):
            for part in (p for p in parts if p.structure == structure):
                _panel(axes, part, PALETTE[rank % len(PALETTE)], model)
        axes.axhline(0, color=INK, linewidth=0.6, alpha=0.5)
        axes.margins(y=0.2)
        dress(axes, f"mean of both, {units.amount}", structure)
        axes.set_ylabel(f"prediction − reference, {units.amount}", color=INK, fontsize=9)
    for axes in grid[len(structures) :]:
        axes.set_visible(False)
    if any(found):
        legend(grid[0])
    figure.tight_layout()
    return figure


def _panel(axes: Axes, part: Agreement, colour: str, model: str) -> None:
    means = (part.predicted_ml + part.reference_ml) / 2
    axes.plot(means, part.differences_ml, "o", color=colour, ms=4, alpha=0.7, markeredgewidth=0, label=model or None)
    axes.axhline(part.bias_ml, color=colour, linewidth=1.6)
    for limit in part.limits_ml:
        if math.isfinite(limit):
            axes.axhline(limit, color=colour, linewidth=1.2, linestyle=(0, (4, 3)))
