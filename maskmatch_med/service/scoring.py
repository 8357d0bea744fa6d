"""Evaluate."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from maskmatch_med.evaluation import EvaluateOptions, Evaluation
from maskmatch_med.evaluation import evaluate as score_folder
from maskmatch_med.evaluation.units import FLAT
from maskmatch_med.service.label import classes_of_model
from maskmatch_med.service.reported import study_of


def evaluate(
    predictions: Path | str, references: Path | str, options: EvaluateOptions | None = None, out: Path | None = None
) -> Evaluation:
    """Score predictions against references, see :func:`maskmatch_med.evaluation.evaluate`.

    Args:
        predictions: a folder of label files.
        references: a folder of label files, or a data set or study.
        options: tolerance and mode.
        out: where to write cases.csv, summary.json and a figure; nowhere by default.

    Predictions of a study's model are held against its classes by their names, which may have other values by now.
    """
    options = options or EvaluateOptions()
    if options.label_names is None:
        options = replace(options, label_names=own_structures(Path(predictions)))
    evaluation = score_folder(Path(predictions), Path(references), options)
    studies = [study_of(Path(predictions)), study_of(Path(references))]
    if any(study is not None and study.is_of_pictures() for study in studies):
        evaluation = replace(evaluation, units=FLAT)
    if out is not None:
        evaluation.write(out)
    return evaluation


def own_structures(predictions: Path) -> dict[str, int] | None:
    """The structures by name and the values that a folder of predictions has for them, where those are not the study's.

    None where they are, and where no model of its study tells.
    """
    study = study_of(predictions)
    if study is None or predictions.resolve().parent != study.predictions_dir.resolve():
        return None
    own = classes_of_model(study, predictions.resolve().name)
    same = all(study.label_names.get(name, value) == value for name, value in own.items())
    return None if same else {name: value for name, value in own.items() if value}
