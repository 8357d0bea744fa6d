"""One number a scan against the rest of the set, by a rule that a few odd scans cannot move.

The spread of the logarithms is measured as 1.4826 times their median absolute deviation (MAD), which is the standard
deviation of normal values, and is taken as at least ``FLOOR``, so that sets that are all alike do not call a hair's
breadth an outlier. A value is an outlier where it lies more than ``SPREADS`` spreads and more than a stated factor away
from the median. With fewer than ``ENOUGH`` values nothing is judged.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

ENOUGH = 8
SPREADS = 6.0
FLOOR = 0.05


@dataclass(frozen=True)
class Outlier:
    """One value far from the rest.

    Args:
        value: of this scan.
        median: of all scans.
        spreads: distance of the logarithms in robust standard deviations.
    """

    value: float
    median: float
    spreads: float

    @property
    def times(self) -> str:
        """How far, as a factor: ``436 times`` or ``1/9 of``."""
        ratio = self.value / self.median
        return f"{amount(ratio)} times" if ratio >= 1 else f"1/{amount(1 / ratio)} of"


def outliers(values: Mapping[str, float], factor: float) -> dict[str, Outlier]:
    """The values that lie more than ``SPREADS`` robust standard deviations and more than ``factor`` off the median.

    Args:
        values: positive numbers by scan; those that are 0, negative or not finite are left out.
        factor: smallest ratio to the median, or its inverse, that counts.
    """
    kept = {name: value for name, value in values.items() if np.isfinite(value) and value > 0}
    if len(kept) < ENOUGH:
        return {}
    logs = np.log(list(kept.values()))
    middle = float(np.median(logs))
    spread = max(1.4826 * float(np.median(np.abs(logs - middle))), FLOOR)
    found = {}
    for (name, value), log in zip(kept.items(), logs, strict=True):
        away = abs(float(log) - middle)
        if away > SPREADS * spread and away > np.log(factor):
            found[name] = Outlier(value, float(np.exp(middle)), away / spread)
    return found


def amount(value: float) -> str:
    """Three significant digits, without an exponent below 10 to the 15th: ``0.0012``, ``4.18``, ``1,700,000``."""
    rounded = float(f"{value:.3g}")
    if abs(rounded) >= 1e15:
        return f"{rounded:.3g}"
    return f"{rounded:,.0f}" if abs(rounded) >= 100 else f"{rounded:g}"
