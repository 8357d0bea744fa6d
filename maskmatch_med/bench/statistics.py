"""The statistics of a comparison, as functions of plain numbers.

Differences are paired by scan: both recipes predicted the same one. Seeds are averaged first, so that scans are the
units; what another seed would change is told by the deviation over seeds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats


@dataclass(frozen=True)
class Paired:
    """How one recipe differs from another over the same scans.

    Args:
        n: scans.
        mean: mean difference.
        low, high: ends of the 95 % bootstrap interval of the mean; NaN for fewer than two scans.
        p: of the two-sided Wilcoxon signed-rank test, not corrected for the number of comparisons; 1 where all scans
            agree.
    """

    n: int
    mean: float
    low: float
    high: float
    p: float


def mean_sd(values: Sequence[float]) -> tuple[float, float]:
    """Mean and sample standard deviation; NaN where there are too few values."""
    kept = [value for value in values if not math.isnan(value)]
    mean = float(np.mean(kept)) if kept else math.nan
    return mean, float(np.std(kept, ddof=1)) if len(kept) > 1 else math.nan


def bootstrap_interval(
    values: Sequence[float], level: float = 0.95, resamples: int = 10_000, seed: int = 0
) -> tuple[float, float]:
    """The percentile interval of the mean under resampling with replacement; NaN for fewer than two values."""
    if len(values) < 2:
        return math.nan, math.nan
    array = np.asarray(values, dtype=np.float64)
    drawn = np.random.default_rng(seed).integers(0, array.size, (resamples, array.size))
    tail = (1 - level) / 2
    low, high = np.quantile(array[drawn].mean(1), [tail, 1 - tail])
    return float(low), float(high)


def paired_difference(one: Mapping[str, float], other: Mapping[str, float]) -> Paired:
    """How ``one`` differs from ``other`` on the scans that both scored; NaN scores are left out."""
    names = sorted(name for name in one.keys() & other.keys() if not math.isnan(one[name] + other[name]))
    differences = [one[name] - other[name] for name in names]
    low, high = bootstrap_interval(differences)
    return Paired(len(names), mean_sd(differences)[0], low, high, wilcoxon_p(differences))


def wilcoxon_p(differences: Sequence[float]) -> float:
    """The two-sided p of the signed-rank test; scans without a difference are left out, and 1 is given for none."""
    moved = [value for value in differences if value != 0]
    return float(stats.wilcoxon(moved).pvalue) if moved else 1.0


def mean_over_seeds(runs: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Each scan's mean over the seeds that scored it; NaN where none did."""
    names = dict.fromkeys(name for run in runs for name in run)
    return {name: mean_sd([run[name] for run in runs if name in run])[0] for name in names}
