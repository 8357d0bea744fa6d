"""What `nnunet` and `rank` share: the test scans as a study of their own, their scores, and Markdown tables of them."""

from __future__ import annotations

import argparse
import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from maskmatch_med import service
from maskmatch_med.bench.statistics import Paired
from maskmatch_med.errors import InputError
from maskmatch_med.io.atomic import write_text
from maskmatch_med.study import Splits, Study

READY = "ready"
_OURS = {"OMP_WAIT_POLICY": "PASSIVE", "OPENBLAS_THREAD_TIMEOUT": "4"}
"""How our threads wait, which importing maskmatch_med says to this process and so to those that it starts."""


def peer_environment() -> dict[str, str]:
    """The environment of this process for a peer's, whose threads wait as its makers have them wait."""
    return {name: value for name, value in os.environ.items() if _OURS.get(name) != value}


def add_scales(parser: argparse.ArgumentParser) -> None:
    """The option ``--scales`` of what predicts with our models; :func:`maskmatch_med.cli.listed.numbers` reads it."""
    told = "that our predictions average over, separated by commas; those of the preset by default"
    parser.add_argument("--scales", help=told)


def scored_study(root: Path, data: Path, splits: Path, limit: int | None) -> Study:
    """The scans of the test part with their labels, as NIfTI files that every method predicts alike.

    Args:
        root: where it lies; made where it is not ready.
        data: the data set.
        splits: its ``splits.json``.
        limit: only the first so many of ``test``.

    Raises:
        InputError: the test part is empty, or the data cannot be imported.
    """
    names = Splits.load(splits).test[:limit]
    if not names:
        raise InputError(f"{splits} has no scan in its test part to score on")
    if not (root / READY).exists():
        service.import_scans(data, root, service.ImportOptions(only=frozenset(names), link=True))
        (root / READY).touch()
    study = Study.open(root)
    if lost := sorted(set(names) - {case.name for case in study.labelled_cases()}):
        raise InputError(f"{data} has no label of the test scan {lost[0]} ({len(lost)} such)")
    return study


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a record, whole or not at all."""
    write_text(path, json.dumps(content, indent=1) + "\n")


def read_json(path: Path) -> dict[str, Any] | None:
    """Read a record; None where it is missing or damaged."""
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def markdown_table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """The lines of a table."""
    lines = ["| " + " | ".join(heads) + " |", "| --- " * len(heads) + "|"]
    return [*lines, *("| " + " | ".join(row) + " |" for row in rows)]


def points(found: Paired) -> list[str]:
    """A paired difference of Dice as cells: mean and 95 % interval in Dice points, p, scans."""
    mean, low, high = (100 * number for number in (found.mean, found.low, found.high))
    interval = "–" if math.isnan(low) else f"{low:+.2f} to {high:+.2f}"
    return ["–" if math.isnan(mean) else f"{mean:+.2f}", interval, f"{found.p:.2g}", str(found.n)]


POINTS = ("mean", "95 % interval", "Wilcoxon p", "scans")
"""The heads over :func:`points`."""
