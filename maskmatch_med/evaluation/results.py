"""The result of an evaluation: rows, their summary, and the files and tables made of them."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich import box
from rich.table import Table

from maskmatch_med.evaluation.figures import dice_figure, png_bytes
from maskmatch_med.evaluation.score import EvaluateOptions, Row
from maskmatch_med.evaluation.units import SOLID, Units
from maskmatch_med.io.atomic import write_bytes, write_text

METRICS = ("dice", "nsd", "hd95_mm", "assd_mm")
PAPER_METRICS = ("dice", "hd95_voxels", "asd_voxels")

TABLE, SUMMARY, FIGURE = "cases.csv", "summary.json", "figure.png"
OUTPUTS = (TABLE, SUMMARY, FIGURE)
"""The files that :meth:`Evaluation.write` writes."""


@dataclass(frozen=True)
class MetricSummary:
    """Mean, sample standard deviation and median of a metric over ``n`` scored cases; NaN where there are too few."""

    n: int
    mean: float
    sd: float
    median: float

    @classmethod
    def of(cls, values: Sequence[float]) -> MetricSummary:
        """Summarise the values that are not NaN."""
        kept = np.array([v for v in values if not math.isnan(v)], dtype=np.float64)
        if kept.size == 0:
            return cls(0, math.nan, math.nan, math.nan)
        sd = float(kept.std(ddof=1)) if kept.size > 1 else math.nan
        return cls(int(kept.size), float(kept.mean()), sd, float(np.median(kept)))


@dataclass(frozen=True)
class ClassSummary:
    """One structure over all cases.

    Args:
        name: the structure, or "mean" for the mean over structures.
        metrics: by metric name, ``paper_`` before those of the paper mode.
        both_empty: cases without the structure on either side, left out of the means.
        empty_predictions: cases in which it was missed altogether (Dice 0, distance = image diagonal).
        empty_references: cases in which it was predicted without being there (the same scores).
    """

    name: str
    metrics: Mapping[str, MetricSummary]
    both_empty: int = 0
    empty_predictions: int = 0
    empty_references: int = 0


@dataclass(frozen=True)
class Evaluation:
    """Scores of a set of predictions.

    Args:
        rows: one a case and class, in the order of cases, then classes.
        classes: name to value, background left out.
        options: how they were scored.
        without_prediction: names of references that nothing was predicted for.
        units: of distances, of the tolerance and of sizes.
    """

    rows: tuple[Row, ...]
    classes: Mapping[str, int]
    options: EvaluateOptions
    without_prediction: tuple[str, ...] = ()
    units: Units = SOLID

    @property
    def cases(self) -> tuple[str, ...]:
        """Names of the scored cases in order."""
        return tuple(dict.fromkeys(row.case for row in self.rows))

    @property
    def mean_dice(self) -> float:
        """Mean Dice over the structures, each the mean over its cases; NaN where nothing was scored."""
        return self.overall().metrics["dice"].mean

    def of_class(self, name: str) -> tuple[Row, ...]:
        """The rows of one structure."""
        return tuple(row for row in self.rows if row.class_name == name)

    def case_dice(self) -> dict[str, float]:
        """Mean Dice over the structures of each case; NaN where none of them is present."""
        found = {case: [row.dice for row in self.rows if row.case == case] for case in self.cases}
        return {case: MetricSummary.of(values).mean for case, values in found.items()}

    def by_class(self) -> tuple[ClassSummary, ...]:
        """One summary a structure."""
        return tuple(_summarise(name, self.of_class(name), self.options.paper) for name in self.classes)

    def overall(self) -> ClassSummary:
        """The mean over structures of their means; ``n`` cases, and the deviation and median of the cases' means."""
        parts = self.by_class()
        metrics = {}
        for key in _metric_names(self.options.paper):
            per_case = [MetricSummary.of([value(r, key) for r in self.rows if r.case == c]).mean for c in self.cases]
            spread = MetricSummary.of(per_case)
            mean = MetricSummary.of([part.metrics[key].mean for part in parts]).mean
            metrics[key] = MetricSummary(spread.n, mean, spread.sd, spread.median)
        counts = [
            sum(getattr(part, f) for part in parts) for f in ("both_empty", "empty_predictions", "empty_references")
        ]
        return ClassSummary("mean", metrics, *counts)

    def summary(self) -> dict[str, Any]:
        """Everything but the rows, ready for JSON: numbers that do not exist are ``None``."""
        return {
            "cases": len(self.cases),
            "references_without_prediction": list(self.without_prediction),
            "nsd_mm": self.options.nsd_mm,
            "paper": self.options.paper,
            "unit": self.units.length,
            "rules": _RULES.format(unit=self.units.length) + (" " + _PAPER_RULES if self.options.paper else ""),
            "classes": {part.name: _as_json(part) for part in self.by_class()},
            "mean": _as_json(self.overall()),
        }

    def write(self, out_dir: Path) -> None:
        """Write ``cases.csv``, ``summary.json`` and ``figure.png`` to a folder, each file whole or not at all."""
        out_dir.mkdir(parents=True, exist_ok=True)
        write_text(out_dir / TABLE, self.as_csv())
        write_text(out_dir / SUMMARY, json.dumps(self.summary(), indent=2, allow_nan=False) + "\n")
        write_bytes(out_dir / FIGURE, png_bytes(dice_figure({"": self.dice_by_class()})))

    def dice_by_class(self) -> dict[str, list[float]]:
        """The Dice of every scored case, by structure."""
        return {name: [r.dice for r in self.of_class(name) if not math.isnan(r.dice)] for name in self.classes}

    def as_csv(self) -> str:
        """The rows as CSV with a heading; a number that does not exist is an empty cell."""
        keys = _metric_names(self.options.paper)
        stream = io.StringIO()
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["case", "class", "label", *keys, "volume_pred_ml", "volume_ref_ml", "both_empty", "one_empty"])
        for row in self.rows:
            scores = [_cell(value(row, key)) for key in keys]
            volumes = [_cell(row.volume_pred_ml), _cell(row.volume_ref_ml)]
            writer.writerow(
                [row.case, row.class_name, row.label, *scores, *volumes, int(row.both_empty), int(row.one_empty)]
            )
        return stream.getvalue()

    def as_table(self) -> Table:
        """A table for the terminal: a line a structure, mean ± standard deviation, and how many sides were empty.

        Its title says how many cases were scored and how many references nothing was predicted for.
        """
        title = f"{len(self.cases)} cases"
        if self.without_prediction:
            title += f", {len(self.without_prediction)} of the references had no prediction and are not scored"
        table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
        table.add_column("structure", no_wrap=True)
        heads = self.units.metric_heads(self.options.nsd_mm)
        keys = _metric_names(self.options.paper)
        for key in keys:
            table.add_column(heads.get(key, key.replace("_", " ")), justify="right")
        # Only where there is something to count: on a narrow terminal names and scores need the room.
        parts = (*self.by_class(), self.overall())
        sides = ("missed", "invented", "absent")
        told = [side for side in range(len(sides)) if any(_empty(part)[side] for part in parts)]
        for side in told:
            table.add_column(sides[side], justify="right")
        for part in parts:
            cells = [mean_sd(part.metrics[key], 3 if "dice" in key or key == "nsd" else 2) for key in keys]
            counts = [str(_empty(part)[side]) for side in told]
            table.add_row(part.name, *cells, *counts, style="bold" if part.name == "mean" else None)
        return table


def _empty(part: ClassSummary) -> tuple[int, int, int]:
    """Cases with an empty prediction alone, an empty reference alone, and both empty."""
    return part.empty_predictions, part.empty_references, part.both_empty


_RULES = (
    "Dice, NSD, HD95 and ASSD in {unit} on the native grid. Neither side has the structure: left out and counted. "
    "One side alone has it: Dice and NSD 0, distances = image diagonal, counted. Voxels not judged: in no count."
)
_PAPER_RULES = (
    "paper_*: distances in voxels, HD95 pooled over both directions, ASD from prediction to reference; an empty "
    "prediction scores 0, its distances too."
)


def value(row: Row, key: str) -> float:
    """A metric of a row by its name, as :data:`METRICS` and, with ``paper_`` before it, :data:`PAPER_METRICS` list."""
    if key.startswith("paper_"):
        return math.nan if row.paper is None else float(getattr(row.paper, key.removeprefix("paper_")))
    return float(getattr(row, key))


def mean_sd(found: MetricSummary, digits: int) -> str:
    """``0.912 ± 0.031``, or a dash where nothing was scored."""
    if found.n == 0:
        return "–"
    spread = "" if math.isnan(found.sd) else f" ± {found.sd:.{digits}f}"
    return f"{found.mean:.{digits}f}{spread}"


def _metric_names(paper: bool) -> tuple[str, ...]:
    return METRICS + (tuple(f"paper_{key}" for key in PAPER_METRICS) if paper else ())


def _summarise(name: str, rows: Sequence[Row], paper: bool) -> ClassSummary:
    metrics = {key: MetricSummary.of([value(row, key) for row in rows]) for key in _metric_names(paper)}
    one_empty = [row for row in rows if row.one_empty]
    missed = sum(row.volume_pred_ml == 0 for row in one_empty)
    return ClassSummary(name, metrics, sum(row.both_empty for row in rows), missed, len(one_empty) - missed)


def _as_json(part: ClassSummary) -> dict[str, Any]:
    found: dict[str, Any] = {
        key: {k: None if isinstance(v, float) and math.isnan(v) else v for k, v in vars(metric).items()}
        for key, metric in part.metrics.items()
    }
    counts = {"empty_predictions": part.empty_predictions, "empty_references": part.empty_references}
    return {**found, "both_empty": part.both_empty, **counts}


def _cell(number: float) -> str:
    return "" if math.isnan(number) else f"{number:.6g}"
