"""Evaluate."""

from __future__ import annotations

from pathlib import Path

from maskmatch_med.evaluation import EvaluateOptions, Evaluation
from maskmatch_med.evaluation import evaluate as score_folder


def evaluate(
    predictions: Path | str, references: Path | str, options: EvaluateOptions | None = None, out: Path | None = None
) -> Evaluation:
    """Score predictions against references, see :func:`maskmatch_med.evaluation.evaluate`.

    Args:
        predictions: a folder of label files.
        references: a folder of label files, or a data set or study.
        options: tolerance and mode.
        out: where to write cases.csv, summary.json and a figure; nowhere by default.
    """
    evaluation = score_folder(Path(predictions), Path(references), options)
    if out is not None:
        evaluation.write(out)
    return evaluation
