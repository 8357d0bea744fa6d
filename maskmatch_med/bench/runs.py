"""The finished cells of a benchmark and their scores."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from maskmatch_med.bench.cell import read_result
from maskmatch_med.bench.design import Cell, Design
from maskmatch_med.bench.statistics import mean_sd


@dataclass(frozen=True)
class Run:
    """A finished cell.

    Args:
        cell: which.
        result: what ``result.json`` holds.
    """

    cell: Cell
    result: Mapping[str, Any]

    def by_case(self, metric: str) -> dict[str, float]:
        """Each scan's mean over its structures; NaN where none is there."""
        found: dict[str, list[float]] = defaultdict(list)
        for row in self.result["rows"]:
            found[row["case"]].append(math.nan if row[metric] is None else row[metric])
        return {case: mean_sd(values)[0] for case, values in found.items()}

    def overall(self, metric: str) -> float:
        """The mean over structures of their means over scans."""
        found: dict[str, list[float]] = defaultdict(list)
        for row in self.result["rows"]:
            found[row["structure"]].append(math.nan if row[metric] is None else row[metric])
        return mean_sd([mean_sd(values)[0] for values in found.values()])[0]


def finished_runs(root: Path, design: Design) -> list[Run]:
    """The cells that are finished, in the order of the design."""
    found = [(cell, read_result(root, cell)) for cell in design.cells()]
    return [Run(cell, result) for cell, result in found if result is not None]
