"""Make the report of a study, a model or a folder of predictions: one HTML page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from maskmatch_med.errors import InputError
from maskmatch_med.evaluation import EvaluateOptions, Evaluation, Headline, NextStep, ReportData, write_report
from maskmatch_med.evaluation.overview import look_at
from maskmatch_med.evaluation.scoring import Pairs, evaluate_pairs, pair_up, predicted_files
from maskmatch_med.evaluation.units import FLAT
from maskmatch_med.nets import ModelFolder
from maskmatch_med.planning import Plan, describe
from maskmatch_med.progress import Progress, silent
from maskmatch_med.service import reported
from maskmatch_med.service.pages import is_study, refuse_as_page
from maskmatch_med.service.reported import ScoredFolder
from maskmatch_med.service.scoring import own_structures
from maskmatch_med.study import Study
from maskmatch_med.training import read_log

_MOST_MODELS = 6
_NOT_CALIBRATED = NextStep(
    "Whether the model's confidence can be trusted was not measured: that needs class probabilities beside the "
    "predictions, and references. Write them, then make the report of those predictions:",
    "maskmatch predict MODEL SCANS -o OUT --probabilities\nmaskmatch report OUT --reference REFERENCES",
)


@dataclass(frozen=True)
class ReportRequest:
    """What to hold predictions against, and how.

    Args:
        reference: a folder of label files, a data set or a study; for predictions of a study its own labels otherwise.
        images: folder of the scans, where they lie neither in the study nor in the reference's data set.
        nsd_mm: tolerance of the surface Dice.
        progress: called with (done, total, what).
    """

    reference: Path | None = None
    images: Path | None = None
    nsd_mm: float = 1.0
    progress: Progress = silent


def report(path: Path | str, out: Path | None = None, request: ReportRequest | None = None) -> Path:
    """Write the report of a study, of one model, or of a folder of predictions.

    Args:
        path: which of them is told from what lies there.
        out: the page; ``report.html`` in ``path`` by default.
        request: references and scans.

    Returns:
        Where the page lies.

    Raises:
        InputError: the path is none of them, predictions and references do not fit, there is no folder of scans where
            one was named, or the page is a folder, has not the name of a page, or lies among the data of a study.
    """
    path, request = Path(path), request or ReportRequest()
    if not path.is_dir():
        raise InputError(f"{path} is no folder; give a study, a model or a folder of predictions")
    if request.images is not None and not request.images.is_dir():
        raise InputError(f"there is no folder {request.images} with scans; name the folder they lie in")
    page = out or path / "report.html"
    refuse_as_page(page)
    if (path / "plan.json").is_file() and (path / "config.json").is_file():
        data = _of_model(ModelFolder(path), request)
    elif is_study(path):
        data = _of_study(Study.at(path), request)
    else:
        data = _of_predictions(path, request)
    page.parent.mkdir(parents=True, exist_ok=True)
    write_report(page, data)
    request.progress(1, 1, "")
    return page


def _of_study(study: Study, request: ReportRequest) -> ReportData:
    overview = look_at(study, request.progress)
    found = reported.models_of(study)
    models, older = found[-_MOST_MODELS:], found[:-_MOST_MODELS]
    folders = [study.predictions_dir / model.root.name for model in models]
    folders += sorted(p for p in study.predictions_dir.glob("*") if p not in folders)
    scored = _scored([folder for folder in folders if reported.holds_predictions(folder)], study, request)
    states = overview.states()
    facts = [
        ("Scans", str(len(overview.scans))),
        ("Labelled", f"{states['complete']} complete, {states['partial']} in part"),
        ("Models", ", ".join(model.root.name for model in found) or "none yet"),
    ]
    data = ReportData(
        title=overview.name,
        kicker="Report of a study",
        facts=facts,
        overview=overview,
        curves={model.root.name: read_log(model.log_path) for model in models},
        costs=[reported.cost(model, study.predictions_dir / model.root.name) for model in models],
        next_steps=_next_steps(study, models),
        cautions=_left_out(study, older, len(found)),
    )
    return _with_results(data, scored, study, request)


def _of_model(model: ModelFolder, request: ReportRequest) -> ReportData:
    name, study = model.root.name, reported.study_of(model.root)
    folder = study.predictions_dir / name if study else None
    scored = _scored([folder] if folder and reported.holds_predictions(folder) else [], study, request)
    metrics = model.metrics()
    facts = [*reported.learnt_from(metrics), *describe(Plan.load(model.plan_path))]
    data = ReportData(
        title=name,
        kicker="Report of a model",
        subtitle="" if metrics.get("finished") else "Its training is not finished.",
        facts=facts,
        overview=look_at(study, request.progress) if study else None,
        curves={name: read_log(model.log_path)},
        costs=[reported.cost(model, folder)],
        headlines=reported.validation_headlines(metrics),
    )
    return _with_results(data, scored, study, request)


def _of_predictions(folder: Path, request: ReportRequest) -> ReportData:
    predicted_files(folder)  # refuses what is no folder of predictions
    study = reported.study_of(folder)
    scored = _scored([folder], study, request)
    model = ModelFolder(study.models_dir / folder.name) if study else None
    known = model if model and model.config_path.is_file() else None
    data = ReportData(
        title=folder.resolve().name,
        kicker="Report of predictions",
        curves={folder.name: read_log(known.log_path)} if known else {},
        costs=[reported.cost(known, folder) if known else reported.prediction_cost(folder)],
    )
    return _with_results(data, scored, study, request)


def _scored(folders: list[Path], study: Study | None, request: ReportRequest) -> list[ScoredFolder]:
    """Score what has a reference; keep the rest with their volumes alone."""
    found: list[ScoredFolder] = []
    for folder in folders:
        own = own_structures(folder)
        pairs = _pairs(folder, own, study, request.reference)
        if pairs is None:
            found.append(ScoredFolder(folder, predicted_files(folder), None, None, own))
            continue
        request.progress(0, len(pairs.predictions), f"scoring {folder.name}")
        scores = evaluate_pairs(pairs, EvaluateOptions(nsd_mm=request.nsd_mm))
        if study is not None and study.is_of_pictures():
            scores = replace(scores, units=FLAT)
        found.append(ScoredFolder(folder, pairs.predictions, pairs, scores, own))
    return found


def _pairs(folder: Path, own: Mapping[str, int] | None, study: Study | None, reference: Path | None) -> Pairs | None:
    """Predictions with a reference: those asked for must fit, those of the study are taken where there are any."""
    if reference is not None:
        return pair_up(folder, reference, own, leave_out_others=study is not None)
    labelled = {case.name for case in study.labelled_cases()} if study else set()
    if study is None or not labelled & set(predicted_files(folder)):
        return None
    return pair_up(folder, study.root, own, leave_out_others=True)


def _with_results(
    data: ReportData, scored: list[ScoredFolder], study: Study | None, request: ReportRequest
) -> ReportData:
    """The report with what the scored folders add to it."""
    classes = reported.classes_of(scored, study)
    evaluations = {part.name: scores for part in scored if (scores := part.scores(classes)) is not None}
    calibrations = {part.name: found for part in scored if (found := part.calibration()) is not None}
    images = reported.ImageSource(study, request.images, request.reference)
    return replace(
        data,
        headlines=[*data.headlines, *_headlines(evaluations)],
        evaluations=evaluations,
        cautions=[*data.cautions, *reported.cautions(scored, study, request.reference)],
        predicted={part.name: part.volumes(classes) for part in scored if part.evaluation is None},
        pictures=reported.pictures(scored, images, classes),
        classes=classes,
        calibrations=calibrations,
        calibration_hint=None if calibrations else _NOT_CALIBRATED,
    )


def _headlines(evaluations: Mapping[str, Evaluation]) -> list[Headline]:
    return [
        Headline(name, f"{found.mean_dice:.3f}", f"mean Dice, {len(found.cases)} cases")
        for name, found in list(evaluations.items())[:4]
    ]


def _left_out(study: Study, older: list[ModelFolder], count: int) -> list[str]:
    """What the page does not show of the models, as more of them would not be told apart."""
    if not older:
        return []
    names = ", ".join(model.root.name for model in older)
    return [
        f"Learning curves and times are shown of the {count - len(older)} newest of {count} models, not of {names}: "
        f"`maskmatch report {study.root.name}/models/{older[-1].root.name}` shows one of them."
    ]


def _next_steps(study: Study, models: list[ModelFolder]) -> list[NextStep]:
    if not models:
        return [NextStep("Train on its labelled and unlabelled scans", f"maskmatch train {study.root.name}")]
    model = f"{study.root.name}/models/{models[-1].root.name}"
    return [
        NextStep("Segment new scans, with probabilities", f"maskmatch predict {model} SCANS -o OUT --probabilities"),
        NextStep("Report how well that went", "maskmatch report OUT --reference REFERENCES"),
    ]
