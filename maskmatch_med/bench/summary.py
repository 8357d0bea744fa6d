"""What a benchmark found: one CSV row a scan, a Markdown table, learning curves and pictures."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from maskmatch_med.bench.design import Design
from maskmatch_med.bench.figures import write_figures
from maskmatch_med.bench.runs import Run, finished_runs
from maskmatch_med.bench.statistics import Paired, mean_over_seeds, mean_sd, paired_difference
from maskmatch_med.evaluation.results import METRICS
from maskmatch_med.evaluation.units import FLAT, SOLID
from maskmatch_med.io.atomic import write_text

BASELINES = ("supervised", "fixmatch")


def write_results(root: Path, design: Design) -> Path:
    """Write ``cases.csv``, ``table.md`` and the figures of what is finished, each file whole or not at all.

    Returns:
        The table.
    """
    runs = finished_runs(root, design)
    for (labelled, budget), group in grouped(runs).items():
        write_figures(root, design, f"{labelled}_{budget}", {name: found[0] for name, found in group.items()})
    return write_tables(root, design)


def write_tables(root: Path, design: Design) -> Path:
    """Write ``cases.csv`` and ``table.md``; returns the latter."""
    runs = finished_runs(root, design)
    write_text(root / "cases.csv", cases_csv(runs))
    write_text(root / "table.md", table(design, runs))
    return root / "table.md"


def grouped(runs: Sequence[Run]) -> dict[tuple[str, str], dict[str, list[Run]]]:
    """By label count and budget, the runs of each recipe over the seeds."""
    groups: dict[tuple[str, str], dict[str, list[Run]]] = {}
    for run in runs:
        cell = run.cell
        group = groups.setdefault((str(cell.labelled), f"{cell.amount:g}{cell.mode}"), {})
        group.setdefault(cell.variant.name, []).append(run)
    return groups


def cases_csv(runs: Sequence[Run]) -> str:
    """One row a training and scan: what it was trained with, its mean scores, and the Dice of each structure."""
    structures = list(dict.fromkeys(row["structure"] for run in runs for row in run.result["rows"]))
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    trained = ["labelled", "recipe", "seed", "budget", "iterations", "seconds", "device", "precision"]
    writer.writerow([*trained, "case", *METRICS, *(f"dice {name}" for name in structures)])
    for run in runs:
        cell, result = run.cell, run.result
        budget = f"{cell.amount:g} {cell.mode}"
        told = [cell.labelled, cell.variant.name, cell.seed, budget]
        told += [result[name] for name in ("iterations", "seconds", "device")]
        told.append(result.get("precision", "full"))
        by_metric = {metric: run.by_case(metric) for metric in METRICS}
        dice = {(row["case"], row["structure"]): row["dice"] for row in result["rows"]}
        for case in by_metric["dice"]:
            scores = [_cell(by_metric[metric][case]) for metric in METRICS]
            writer.writerow([*told, case, *scores, *(_cell(dice.get((case, name))) for name in structures)])
    return stream.getvalue()


def table(design: Design, runs: Sequence[Run]) -> str:
    """The Markdown page: a table a label count and budget, and the paired differences below it."""
    scored = f"the last {design.unseen} of `label_order`, unseen with label" if design.unseen else "`test`"
    finished, planned = len(runs), sum(1 for _ in design.cells())
    lines = [f"# {design.data.name}: recipes side by side", ""]
    lines += [f"Scored on {scored} ({len(design.scored_cases())} scans), final weights, preset `{design.preset}`."]
    if design.scales:
        lines[-1] += f" Predictions are of scale {', '.join(f'{scale:g}' for scale in design.scales)}."
    lines += [
        f"{finished} of {planned} trainings are finished. Dice is the mean over structures of the mean over scans; "
    ]
    lines[-1] += "± is the standard deviation over seeds."
    groups = grouped(runs)
    for budget in dict.fromkeys(budget for _, budget in groups):
        lines += _by_label_count({labelled: group for (labelled, b), group in groups.items() if b == budget}, budget)
    for (labelled, budget), group in groups.items():
        lines += ["", f"## {labelled} labelled, {_spaced(budget)} each", "", *_scores(design, group)]
        lines += _differences(group)
    return "\n".join(lines) + "\n"


def _by_label_count(groups: Mapping[str, Mapping[str, Sequence[Run]]], budget: str) -> list[str]:
    """Dice of each recipe by label count, where there are several."""
    if len(groups) < 2:
        return []
    lines = ["", f"## Dice by labelled scans, {_spaced(budget)} each", ""]
    lines += ["| recipe | " + " | ".join(groups) + " |", "| --- " * (len(groups) + 1) + "|"]
    for name in dict.fromkeys(name for group in groups.values() for name in group):
        scores = [_with_spread([run.overall("dice") for run in group.get(name, ())], 4) for group in groups.values()]
        lines.append("| " + " | ".join([f"`{name}`", *scores]) + " |")
    return lines


def _scores(design: Design, group: Mapping[str, Sequence[Run]]) -> list[str]:
    flat = all(run.result.get("unit") == FLAT.length for runs in group.values() for run in runs)
    scored = (FLAT if flat else SOLID).metric_heads(design.nsd_mm)
    heads = ["recipe", "seeds", *(scored[metric] for metric in METRICS), "iterations", "minutes"]
    lines = ["| " + " | ".join(heads) + " |", "| --- " * len(heads) + "|"]
    for name, runs in group.items():
        digits = {"dice": 4, "nsd": 3, "hd95_mm": 2, "assd_mm": 2}
        scores = [_with_spread([run.overall(metric) for run in runs], digits[metric]) for metric in METRICS]
        iterations = _with_spread([run.result["iterations"] for run in runs], 0)
        minutes = _with_spread([run.result["seconds"] / 60 for run in runs], 1)
        lines.append("| " + " | ".join([f"`{name}`", str(len(runs)), *scores, iterations, minutes]) + " |")
    return lines


def _differences(group: Mapping[str, Sequence[Run]]) -> list[str]:
    """Every recipe against each baseline that was trained with it, on the seeds that both finished."""
    rows = []
    for baseline in (name for name in BASELINES if name in group):
        for name in (
            name for name in group if name != baseline and not (name in BASELINES and baseline != BASELINES[0])
        ):
            seeds = {run.cell.seed for run in group[name]} & {run.cell.seed for run in group[baseline]}
            if seeds:
                rows.append(
                    _difference_row(name, baseline, paired_over_seeds(group[name], group[baseline]), len(seeds))
                )
    if not rows:
        return []
    heads = ["difference in Dice points", "mean", "95 % interval", "Wilcoxon p", "scans", "seeds"]
    note = "Paired by scan after averaging over the seeds that both have; bootstrap over scans; p is not corrected "
    note += "for the number of comparisons."
    return ["", "| " + " | ".join(heads) + " |", "| --- " * len(heads) + "|", *rows, "", note]


def paired_over_seeds(one: Sequence[Run], other: Sequence[Run]) -> Paired:
    """How one recipe differs from another on the seeds that both have, scan by scan."""
    seeds = {run.cell.seed for run in one} & {run.cell.seed for run in other}
    sides = [[run.by_case("dice") for run in runs if run.cell.seed in seeds] for runs in (one, other)]
    return paired_difference(mean_over_seeds(sides[0]), mean_over_seeds(sides[1]))


def _difference_row(name: str, baseline: str, found: Paired, seeds: int) -> str:
    points = [100 * number for number in (found.mean, found.low, found.high)]
    interval = f"{points[1]:+.2f} to {points[2]:+.2f}"
    cells = [f"`{name}` − `{baseline}`", f"{points[0]:+.2f}", interval, f"{found.p:.2g}", str(found.n), str(seeds)]
    return "| " + " | ".join(cells) + " |"


def _with_spread(values: Sequence[float], digits: int) -> str:
    mean, sd = mean_sd(values)
    if math.isnan(mean):
        return "–"
    return f"{mean:.{digits}f}" if math.isnan(sd) else f"{mean:.{digits}f} ± {sd:.{digits}f}"


def _spaced(budget: str) -> str:
    unit = "iterations" if budget.endswith("iterations") else "minutes"
    return f"{budget.removesuffix(unit)} {unit}"


def _cell(number: float | None) -> str:
    return "" if number is None or math.isnan(number) else f"{number:.6g}"
