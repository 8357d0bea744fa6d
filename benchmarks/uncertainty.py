"""What a model's confidence is worth: python -m benchmarks uncertainty MODEL DATA --splits FILE --held-out 30

Calibrates MODEL on the last scans of ``label_order``, whose labels it must not have learnt from, and measures on
``test``: calibration error before and after temperature scaling, and expected against true Dice. Prints a Markdown
table and writes ``uncertainty.json`` and the predictions to --out. MODEL gets a new calibration.json.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from benchmarks.scored import add_scales
from maskmatch_med import service
from maskmatch_med.cli.listed import numbers
from maskmatch_med.evaluation.calibration import Calibration
from maskmatch_med.io.atomic import write_text


def main(words: Sequence[str] | None = None) -> None:
    """Calibrate, predict, measure, print and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("data", type=Path, help="data set with scans and labels")
    parser.add_argument("--splits", type=Path, required=True, help="JSON with label_order and test")
    parser.add_argument("--held-out", type=int, default=30, help="the last so many of label_order calibrate")
    parser.add_argument("--out", type=Path, default=Path("uncertainty"), help="a folder for what is written")
    parser.add_argument("--device", default="auto")
    add_scales(parser)
    given = parser.parse_args(words)
    scales = numbers(given.scales)
    held_out = service.names_in_splits(given.splits, "label_order", last=given.held_out)
    request = service.PredictRequest(only=held_out, device=given.device, scales=scales, notice=print)
    found = service.calibrate(given.model, given.data, given.data, request)
    request = replace(request, only=service.names_in_splits(given.splits, "test"), probabilities=True)
    measured = {"calibration": found.model_dump(), **measure(given.model, given.data, given.out, request)}
    write_text(given.out / "uncertainty.json", json.dumps(measured, indent=1) + "\n")
    print(table(measured))


def measure(model: Path, data: Path, out: Path, request: service.PredictRequest) -> dict[str, Any]:
    """Numbers on scans that neither trained nor calibrated the model, which the request names."""
    errors = {}
    for folder, calibrated in (("plain", False), ("calibrated", True)):
        service.predict(model, data, out / folder, replace(request, calibrated=calibrated))
        counted = service.measure_confidence(out / folder, data)
        if counted is None:
            raise SystemExit(f"{out / folder} holds no probabilities")
        errors[folder] = _errors(counted)
    true = service.evaluate(out / "calibrated", data).case_dice()
    with (out / "calibrated" / "summary.csv").open(newline="", encoding="utf-8") as stream:
        rows = [row for row in csv.DictReader(stream) if not math.isnan(true[row["case"]])]
    return {"test": {"scans": len(request.only or ()), "confidence": errors, **_dice(rows, true)}}


def _errors(counted: Calibration) -> dict[str, float]:
    return {"around": counted.ece, "structures": counted.called.ece, "overconfidence": counted.called.overconfidence}


def _dice(rows: Sequence[dict[str, str]], true: dict[str, float]) -> dict[str, Any]:
    """Expected against true Dice; coverage and width where there is an interval."""
    expected = np.array([float(row["dice_expected"]) for row in rows])
    found = np.array([true[row["case"]] for row in rows])
    measured: dict[str, Any] = {
        "mean_dice": float(found.mean()),
        "spearman": float(stats.spearmanr(expected, found).statistic),
        "pearson": float(stats.pearsonr(expected, found).statistic),
        "mean_absolute_error": float(np.abs(expected - found).mean()),
        "cases": {row["case"]: {**row, "dice": true[row["case"]]} for row in rows},
    }
    if "dice_low" not in rows[0]:
        return measured
    low, high = (np.array([float(row[key]) for row in rows]) for key in ("dice_low", "dice_high"))
    inside = (low <= found) & (found <= high)
    limits = stats.binomtest(int(inside.sum()), inside.size).proportion_ci(0.95)
    coverage = {"share": float(inside.mean()), "ci95": [float(limits.low), float(limits.high)]}
    return {**measured, "coverage": coverage, "width": float((high - low).mean())}


def table(measured: dict[str, Any]) -> str:
    """The numbers as a Markdown table, one row a quantity."""
    calibration, test = measured["calibration"], measured["test"]
    plain, scaled = test["confidence"]["plain"], test["confidence"]["calibrated"]
    rows = [
        ("held-out scans, test scans", f"{calibration['scans']}, {test['scans']}"),
        ("temperature", f"{calibration['temperature']:.3f}"),
        ("ECE around the structures, before → after", f"{plain['around']:.4f} → {scaled['around']:.4f}"),
        ("ECE of voxels called a structure, before → after", f"{plain['structures']:.4f} → {scaled['structures']:.4f}"),
        ("mean true Dice", f"{test['mean_dice']:.3f}"),
        ("expected and true Dice: Spearman, Pearson", f"{test['spearman']:.2f}, {test['pearson']:.2f}"),
        ("mean absolute error of the expected Dice", f"{test['mean_absolute_error']:.3f}"),
    ]
    if "coverage" in test:
        low, high = test["coverage"]["ci95"]
        told = f"{test['coverage']['share']:.0%} ({low:.0%} to {high:.0%})"
        rows += [("coverage of the 90 % interval (95 % CI)", told), ("its mean width", f"{test['width']:.3f}")]
    else:
        rows.append(("90 % interval", "none: fewer than 10 held-out scans, ranking only"))
    return "\n".join(["| on the test part | |", "| --- | --- |", *(f"| {name} | {told} |" for name, told in rows)])


if __name__ == "__main__":
    main()
