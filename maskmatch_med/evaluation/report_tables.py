"""The tables of the report: scores by structure, paired differences, every case, agreement of volumes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from maskmatch_med.evaluation.agreement import Agreement
from maskmatch_med.evaluation.results import METRICS, Evaluation, MetricSummary, mean_sd, value


def score_table(name: str, evaluation: Evaluation) -> dict[str, Any]:
    """One model's table: a line a structure and the mean, cells in the order of ``METRICS``."""
    lines = []
    for part in (*evaluation.by_class(), evaluation.overall()):
        cells = [mean_sd(part.metrics[key], 3 if key in {"dice", "nsd"} else 2) for key in METRICS]
        counts = (part.empty_predictions, part.empty_references, part.both_empty)
        lines.append({"name": part.name, "cells": cells, "counts": counts})
    summary = evaluation.summary()
    extra = len(evaluation.without_prediction)
    return {"name": name, "lines": lines, "cases": len(evaluation.cases), "extra": extra, **summary}


def differences(evaluations: Mapping[str, Evaluation]) -> list[dict[str, Any]]:
    """Case by case, each later model minus the first, on the cases that both scored."""
    names = list(evaluations)
    found = []
    for name in names[1:]:
        lines = [
            _difference(part, evaluations[names[0]], evaluations[name]) for part in (*evaluations[name].classes, "")
        ]
        found.append({"model": name, "baseline": names[0], "lines": lines})
    return found


def _difference(structure: str, baseline: Evaluation, model: Evaluation) -> dict[str, Any]:
    """Paired Dice difference of one structure, or of the cases' means where ``structure`` is empty."""
    first, second = _dice_of(baseline, structure), _dice_of(model, structure)
    deltas = [second[case] - first[case] for case in second if case in first]
    summary = MetricSummary.of(deltas)
    better = sum(delta > 0 for delta in deltas if not math.isnan(delta))
    spread = "" if math.isnan(summary.sd) else f" ± {summary.sd:.3f}"
    text = "–" if summary.n == 0 else f"{summary.mean:+.3f}{spread}".replace("-", "−")
    tone = "even" if summary.n == 0 or abs(summary.mean) < 0.0005 else "up" if summary.mean > 0 else "down"
    return {"name": structure or "mean", "text": text, "tone": tone, "better": better, "n": summary.n}


def _dice_of(evaluation: Evaluation, structure: str) -> dict[str, float]:
    if not structure:
        return evaluation.case_dice()
    return {row.case: value(row, "dice") for row in evaluation.of_class(structure)}


def case_table(evaluations: Mapping[str, Evaluation]) -> dict[str, Any]:
    """Mean Dice of every case by model."""
    found = {name: evaluation.case_dice() for name, evaluation in evaluations.items()}
    cases = list(dict.fromkeys(case for scores in found.values() for case in scores))
    lines = []
    for case in cases:
        numbers = [scores.get(case, math.nan) for scores in found.values()]
        lines.append({"case": case, "cells": ["–" if math.isnan(n) else f"{n:.3f}" for n in numbers]})
    return {"models": list(found), "lines": lines}


def agreement_table(found: list[Agreement]) -> list[dict[str, str]]:
    """One model's agreement of volumes, a line a structure."""
    return [
        {
            "structure": part.structure,
            "n": str(part.n),
            "reference": _ml(float(part.reference_ml.mean())),
            "bias": _signed(part.bias_ml),
            "interval": _between(part.bias_interval_ml),
            "limits": _between(part.limits_ml),
            "percent": _percent(part),
            "correlation": "–" if math.isnan(part.correlation) else f"{part.correlation:.3f}",
        }
        for part in found
    ]


def _percent(part: Agreement) -> str:
    mean = float(part.reference_ml.mean())
    return f"{100 * part.bias_ml / mean:+.1f} %".replace("-", "−") if mean > 0 else "–"


def _ml(number: float) -> str:
    return f"{number:.3g}" if abs(number) < 100 else f"{number:.0f}"


def _signed(number: float) -> str:
    return "–" if math.isnan(number) else f"{number:+.3g}".replace("-", "−")


def _between(ends: tuple[float, float]) -> str:
    return "–" if math.isnan(ends[0]) else f"{_signed(ends[0])} to {_signed(ends[1])}"
