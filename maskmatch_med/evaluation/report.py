"""The report: one HTML page that holds everything it shows and asks nothing of the network."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from maskmatch_med.errors import InputError
from maskmatch_med.evaluation.agreement import agreement_figure, agreements
from maskmatch_med.evaluation.calibration import Calibration, calibration_figure
from maskmatch_med.evaluation.curves import Log, curve_figure
from maskmatch_med.evaluation.figures import REFERENCE, dice_figure, volume_figure
from maskmatch_med.evaluation.overview import Overview, overview_figure
from maskmatch_med.evaluation.page import png_uri, render, svg
from maskmatch_med.evaluation.pictures import CasePicture, case_figure
from maskmatch_med.evaluation.report_tables import agreement_table, case_table, differences, score_table
from maskmatch_med.evaluation.results import Evaluation
from maskmatch_med.evaluation.units import FLAT, SOLID, Units
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


@dataclass(frozen=True)
class Cost:
    """What one model took, in words; "" where it is not known.

    Args:
        name: the model.
        method: how it was trained.
        training: such as ``15.0 min``.
        iterations: how many, and how long one took.
        device: where.
        memory: the most that was in use.
        predicting: seconds a scan.
    """

    name: str
    method: str = ""
    training: str = ""
    iterations: str = ""
    device: str = ""
    memory: str = ""
    predicting: str = ""


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
        classes: name to value of the structures in the pictures, where no evaluation names them.
        next_steps: what to try next.
        cautions: sentences to read before the numbers, such as that scored scans were trained on.
        overview: what the study holds.
        predicted: by model, by structure, the predicted volumes in ml, where no reference scores them.
        calibrations: by model, of those whose class probabilities were written.
        calibration_hint: how to get the calibration, where there is none.
        costs: time and memory, a row a model.
        kicker: what kind of report it is, above the title.
    """

    title: str
    subtitle: str = ""
    facts: Sequence[tuple[str, str]] = ()
    headlines: Sequence[Headline] = ()
    evaluations: Mapping[str, Evaluation] = field(default_factory=dict)
    curves: Mapping[str, Log] = field(default_factory=dict)
    pictures: Sequence[CasePicture] = ()
    classes: Mapping[str, int] = field(default_factory=dict)
    next_steps: Sequence[NextStep] = ()
    cautions: Sequence[str] = ()
    overview: Overview | None = None
    predicted: Mapping[str, Mapping[str, Sequence[float]]] = field(default_factory=dict)
    calibrations: Mapping[str, Calibration] = field(default_factory=dict)
    calibration_hint: NextStep | None = None
    costs: Sequence[Cost] = ()
    kicker: str = "Report"

    @property
    def units(self) -> Units:
        """What distances and sizes are counted in."""
        flat = self.overview is not None and self.overview.is_flat
        return next((one.units for one in self.evaluations.values()), FLAT if flat else SOLID)


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
    classes = _common_classes(evaluations) or dict(data.classes)
    scores = {name: found.dice_by_class() for name, found in evaluations.items()}
    agreed = {name: agreements(found) for name, found in evaluations.items()}
    curves = curve_figure(data.curves)
    overview = overview_figure(data.overview) if data.overview else None
    calibrated = data.calibrations
    return render(
        "report.html",
        title=data.title,
        subtitle=data.subtitle,
        data=data,
        evaluations=[score_table(name, found) for name, found in evaluations.items()],
        differences=differences(evaluations),
        cases=case_table(evaluations),
        dice_plot=svg(dice_figure(scores), "Dice of every case by structure") if evaluations else None,
        volume_plot=svg(volume_figure(_volumes(evaluations), data.units), "Sizes by structure")
        if evaluations
        else None,
        agreements={name: agreement_table(found) for name, found in agreed.items()},
        agreement_plot=svg(agreement_figure(agreed, data.units), "Differences in size")
        if any(agreed.values())
        else None,
        overview_plot=svg(overview, "Spacing, size and label volumes of every scan") if overview else None,
        calibration_plot=svg(calibration_figure(calibrated), "Reliability diagram") if calibrated else None,
        curve_plot=svg(curves, "Learning curves by training time") if curves else None,
        predicted=_predicted_rows(data.predicted),
        pictures=[_Shown(case.title, png_uri(case_figure(case, classes))) for case in data.pictures],
    )


def worst_median_best(dice: Mapping[str, float]) -> dict[str, str]:
    """The cases of lowest, middle and highest Dice, by "worst", "median" and "best"; fewer where cases are few."""
    ranked = sorted((v, case) for case, v in dice.items() if not math.isnan(v))
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


def _predicted_rows(predicted: Mapping[str, Mapping[str, Sequence[float]]]) -> list[dict[str, Any]]:
    """Model, structure, how many scans show it, and their least, median and largest volume."""
    rows = []
    for model, structures in predicted.items():
        for name, volumes in structures.items():
            shown = sorted(volume for volume in volumes if volume > 0)
            three = (shown[0], shown[len(shown) // 2], shown[-1]) if shown else ()
            cells = [f"{volume:.3g}" for volume in three] or ["–"] * 3
            rows.append({"model": model, "name": name, "scans": len(volumes), "shown": len(shown), "cells": cells})
    return rows


def _volumes(evaluations: Mapping[str, Evaluation]) -> dict[str, dict[str, list[float]]]:
    """Volumes by who made them and by structure: the reference's, then each model's."""
    first = next(iter(evaluations.values()))
    found = {REFERENCE: {name: [row.volume_ref_ml for row in first.of_class(name)] for name in first.classes}}
    for model, evaluation in evaluations.items():
        found[model] = {n: [row.volume_pred_ml for row in evaluation.of_class(n)] for n in evaluation.classes}
    return found
