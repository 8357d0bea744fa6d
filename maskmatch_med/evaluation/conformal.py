"""An interval around the expected Dice that holds the true one in 90 % of scans, by conformal prediction.

It is split conformal prediction in that network and expected Dice e come from other scans than the n held-out ones that
judge them, by r = true - e. A model's own expectation is mostly too high, so the interval is centred on the median of
r. That median is of the same scans, and a plain quantile of |r - median| would be a little too narrow for it, so it is
treated by full conformal prediction (Vovk et al., Algorithmic learning in a random world, 2005; Lei et al., JASA 113,
2018, 1094-1111): a value r of the next scan is in the interval if its distance from the median of all n + 1 values is
at most the ceil((n + 1) 0.9)-th smallest of the n + 1 distances. Above and below the middle of the others the median
depends on r no more, which gives both ends in closed form.

If the next scan is exchangeable with the held-out ones (drawn as they were: same scanner, same kind of patients, same
way of labelling), its true Dice lies inside with a probability of at least 0.9; of ceil((n + 1) 0.9)/(n + 1) without
ties. That is a mean over draws of held-out scans as well. Cutting to [0, 1] loses nothing: every Dice lies there. The
temperature behind e is fitted to the same scans; it minimises another loss over very many voxels, so the coverage that
remains is measured on other scans rather than claimed (docs/uncertainty.md).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LEVEL = 0.9
LEAST_SCANS = 10
"""With fewer held-out scans there is no interval: the widest of a few residuals would be all that it rests on."""


@dataclass(frozen=True)
class DiceOffsets:
    """What is added to an expected Dice.

    Args:
        low: for the lower end of the interval.
        middle: for the best guess.
        high: for the upper end.
    """

    low: float
    middle: float
    high: float

    def around(self, expected: float) -> tuple[float, float, float]:
        """Lower end, best guess and upper end, cut to [0, 1]."""
        low, middle, high = np.clip([expected + self.low, expected + self.middle, expected + self.high], 0, 1)
        return float(low), float(middle), float(high)


def conformal_offsets(expected: Sequence[float], true: Sequence[float]) -> DiceOffsets | None:
    """The 90 % interval of true - expected Dice.

    Args:
        expected: Dice of each held-out scan by the model's probabilities.
        true: its Dice with the reference.

    Returns:
        None with fewer than ``LEAST_SCANS`` scans.

    Raises:
        ValueError: the lengths differ.
    """
    residuals = np.array([t - e for e, t in zip(expected, true, strict=True)])
    if residuals.size < LEAST_SCANS:
        return None
    upper, lower = (float(np.median([*residuals, end])) for end in (residuals.max(), residuals.min()))
    return DiceOffsets(
        low=lower - _kth_distance(residuals, lower),
        middle=float(np.median(residuals)),
        high=upper + _kth_distance(residuals, upper),
    )


def _kth_distance(residuals: NDArray[np.float64], middle: float) -> float:
    """The ceil((n + 1) 0.9)-th smallest distance from a value, of n; n >= 9."""
    rank = math.ceil(round((residuals.size + 1) * LEVEL, 9))  # 110 * 0.9 is a little above 99 in floating point
    return float(np.sort(np.abs(residuals - middle))[rank - 1])


def rank_correlation(one: Sequence[float], other: Sequence[float]) -> float | None:
    """Spearman's correlation; None with fewer than three pairs, or where a side does not vary."""
    if len(one) < 3 or np.ptp(one) == 0 or np.ptp(other) == 0:
        return None
    from scipy.stats import spearmanr  # noqa: PLC0415 - loads for a second, and prediction needs the rest of this

    return float(spearmanr(one, other).statistic)
