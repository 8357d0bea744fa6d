"""The report: one HTML page that holds everything it shows and asks nothing of the network."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup
from matplotlib.figure import Figure

from maskmatch_med.errors import InputError
from maskmatch_med.evaluation.figures import Log, curve_figure, dice_figure, inline_svg, png_bytes
from maskmatch_med.evaluation.pictures import CasePicture, case_figure
from maskmatch_med.evaluation.results import METRICS, Evaluation, MetricSummary, mean_sd, value
from maskmatch_med.io.atomic import write_text


@dataclass(frozen=True)
class Headline:
    """A number that opens the report, such as ("maskmatch", "0.871", "Dice, 6 test scans")."""

    label: str
    value: str
    note: str = ""


@dataclass(frozen=True)
class NextStep:
    """Something to try: what for, and the command line to copy."""

    text: str
    command: str = ""


@dataclass(frozen=True, eq=False)
class ReportData:
    """All that a report shows.

    Args:
        title: heading of the page.
        subtitle: a line beneath it.
        facts: label and value, such as ("Scans", "24, 4 of them labelled").
        headlines: the numbers to open with.
        evaluations: by model, on the same cases; each later one is compared with the first.
        curves: by model, the lines of its ``log.jsonl``.
        pictures: cases to show.
        next_steps: what to try next.
    """

    title: str
    subtitle: str = ""
    facts: Sequence[tuple[str, str]] = ()
    headlines: Sequence[Headline] = ()
    evaluations: Mapping[str, Evaluation] = field(default_factory=dict)
    curves: Mapping[str, Log] = field(default_factory=dict)
    pictures: Sequence[CasePicture] = ()
    next_steps: Sequence[NextStep] = ()


def write_report(path: Path, data: ReportData) -> None:
    """Write the report as one HTML file, whole or not at all.

    Args:
        path: ends in .html.
        data: what to show; parts that are empty are left out.

    Raises:
        InputError: the models were scored on different structures.
    """
    write_text(path, render_report(data))


def render_report(data: ReportData) -> str:
    """The page as text; see :func:`write_report`."""
    evaluations = data.evaluations
    classes = _common_classes(evaluations)
    scores = {name: found.dice_by_class() for name, found in evaluations.items()}
    curves = curve_figure(data.curves)
    template = files("maskmatch_med.evaluation").joinpath("report.html").read_text(encoding="utf-8")
    page = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return page.from_string(template).render(
        data=data,
        evaluations=[_table(name, found) for name, found in evaluations.items()],
        differences=_differences(evaluations),
        cases=_case_table(evaluations),
        dice_plot=_svg(dice_figure(scores), "Dice of every case by structure") if evaluations else None,
        curve_plot=_svg(curves, "Learning curves by training time") if curves else None,
        pictures=[_Shown(case.title, _data_uri(case_figure(case, classes))) for case in data.pictures],
    )


def worst_median_best(evaluation: Evaluation) -> dict[str, str]:
    """The cases of lowest, middle and highest mean Dice, by "worst", "median" and "best"; fewer where cases are few."""
    ranked = sorted((v, case) for case, v in evaluation.case_dice().items() if not math.isnan(v))
    picked: dict[str, str] = {}
    for name, place in (("worst", 0), ("median", len(ranked) // 2), ("best", len(ranked) - 1)):
        if ranked and ranked[place][1] not in picked.values():
            picked[name] = ranked[place][1]
    return picked


@dataclass(frozen=True)
class _Shown:
    title: str
    uri: str


def _common_classes(evaluations: Mapping[str, Evaluation]) -> dict[str, int]:
    found = [dict(evaluation.classes) for evaluation in evaluations.values()]
    if any(classes != found[0] for classes in found):
        listed = "; ".join(f"{name}: {', '.join(e.classes)}" for name, e in evaluations.items())
        raise InputError(f"a report compares models scored on the same structures, got {listed}")
    return found[0] if found else {}


def _table(name: str, evaluation: Evaluation) -> dict[str, Any]:
    """One model's table: a line a structure and the mean, cells in the order of ``METRICS``."""
    lines = []
    for part in (*evaluation.by_class(), evaluation.overall()):
        cells = [mean_sd(part.metrics[key], 3 if key in {"dice", "nsd"} else 2) for key in METRICS]
        counts = (part.empty_predictions, part.empty_references, part.both_empty)
        lines.append({"name": part.name, "cells": cells, "counts": counts})
    summary = evaluation.summary()
    extra = len(evaluation.without_prediction)
    return {"name": name, "lines": lines, "cases": len(evaluation.cases), "extra": extra, **summary}


def _differences(evaluations: Mapping[str, Evaluation]) -> list[dict[str, Any]]:
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


def _case_table(evaluations: Mapping[str, Evaluation]) -> dict[str, Any]:
    """Mean Dice of every case by model."""
    found = {name: evaluation.case_dice() for name, evaluation in evaluations.items()}
    cases = list(dict.fromkeys(case for scores in found.values() for case in scores))
    lines = []
    for case in cases:
        numbers = [scores.get(case, math.nan) for scores in found.values()]
        lines.append({"case": case, "cells": ["–" if math.isnan(n) else f"{n:.3f}" for n in numbers]})
    return {"models": list(found), "lines": lines}


def _svg(figure: Figure, label: str) -> Markup:
    """Markup taken as it is: it was drawn here, and matplotlib escapes the text in it."""
    return Markup(inline_svg(figure, label))


def _data_uri(figure: Figure) -> str:
    return "data:image/png;base64," + base64.b64encode(png_bytes(figure)).decode("ascii")
