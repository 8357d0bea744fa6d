"""Results of a study: how well its models do where there are references that they have not learnt from."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

from maskmatch_med.errors import InputError
from maskmatch_med.evaluation import ClassSummary, EvaluateOptions, Evaluation, Row, score_case
from maskmatch_med.evaluation.scoring import Pairs, pair_up
from maskmatch_med.evaluation.units import FLAT, SOLID, Units
from maskmatch_med.io import LabelMap, nifti
from maskmatch_med.progress import Progress, silent
from maskmatch_med.service.display import cache_of
from maskmatch_med.service.label import classes_of_model, predicted_labels
from maskmatch_med.service.tallies import Tallies, naming, prediction_of, stamp, structures_of
from maskmatch_med.study import Case, Study
from maskmatch_med.training.learnt import labels_seen, read_learnt

_REPORT = "report.html"


@dataclass(frozen=True)
class ModelScores:
    """How well the predictions of one model agree with references that it has not learnt from.

    Args:
        model: its name.
        spent: how many labels it was given; None where that is not recorded.
        rows: the scores of each scan and structure.
        left_out: why scans with a prediction are not scored, and how many.
        begun: when its training began, UTC in ISO 8601; empty for predictions from elsewhere.
        units: of distances.
    """

    model: str
    spent: int | None
    rows: tuple[Row, ...]
    left_out: Mapping[str, int] = field(default_factory=dict)
    begun: str = ""
    units: Units = SOLID

    @property
    def cases(self) -> tuple[str, ...]:
        """The scored scans in order."""
        return tuple(dict.fromkeys(row.case for row in self.rows))

    def dice(self, structure: str, cases: Collection[str] | None = None) -> float:
        """Mean Dice of a structure over some scans, all by default; NaN where there is none."""
        found = [r.dice for r in self.rows if r.class_name == structure and (cases is None or r.case in cases)]
        kept = [one for one in found if not math.isnan(one)]
        return sum(kept) / len(kept) if kept else math.nan

    def summary(self) -> tuple[ClassSummary, ...]:
        """Mean, deviation and median of each metric by structure."""
        classes = {row.class_name: row.label for row in self.rows}
        return Evaluation(self.rows, classes, EvaluateOptions()).by_class()

    def heads(self) -> dict[str, str]:
        """What a table calls each metric."""
        return self.units.metric_heads(EvaluateOptions().nsd_mm)


@dataclass(frozen=True)
class Difference:
    """A structure under two models, scan by scan.

    Args:
        structure: its name.
        before: the earlier model.
        after: the later model.
        scans: how many both have scored.
        mean: of the differences in Dice, later less earlier.
        better: scans on which the later is better by more than 0.001.
        worse: scans on which it is worse by more than that.
    """

    structure: str
    before: str
    after: str
    scans: int
    mean: float
    better: int
    worse: int


@dataclass(frozen=True)
class ReportFile:
    """A report that was written into the study.

    Args:
        place: ``study``, ``models`` or ``predictions``.
        name: of the study, or of the model.
        written: when, UTC in ISO 8601.
    """

    place: Literal["study", "models", "predictions"]
    name: str
    written: str


def reports_of(study: Study | Path | str) -> list[ReportFile]:
    """The reports (``report.html``) in the study, the newest first."""
    opened = _opened(study)
    found: list[tuple[Literal["study", "models", "predictions"], str, Path]] = []
    found.append(("study", opened.name, opened.root / _REPORT))
    found += [("models", path.parent.name, path) for path in opened.models_dir.glob(f"[!.]*/{_REPORT}")]
    found += [("predictions", path.parent.name, path) for path in opened.predictions_dir.glob(f"[!.]*/{_REPORT}")]
    there = [
        ReportFile(place, name, datetime.fromtimestamp(path.stat().st_mtime, UTC).isoformat(timespec="milliseconds"))
        for place, name, path in found
        if path.is_file()
    ]
    return sorted(there, key=lambda one: one.written, reverse=True)


def report_path(study: Study | Path | str, place: str, name: str) -> Path:
    """Where a report of :func:`reports_of` lies.

    Raises:
        InputError: there is none.
    """
    opened = _opened(study)
    if (place, name) not in {(one.place, one.name) for one in reports_of(opened)}:
        raise InputError(f"there is no report of {name}; write one on the page Results")
    return opened.root / _REPORT if place == "study" else opened.root / place / name / _REPORT


def predicting_models(study: Study | Path | str) -> list[str]:
    """The models with predictions in the study, in the order of their training; those from elsewhere last."""
    opened = _opened(study)
    folders = [path for path in opened.predictions_dir.glob("[!.]*") if next(path.glob("[!.]*.nii.gz"), None)]
    return [path.name for path in sorted(folders, key=lambda path: (_begun(opened, path.name) or "~", path.name))]


def score_models(
    study: Study | Path | str, references: Path | None = None, progress: Progress = silent
) -> list[ModelScores]:
    """Score each model's predictions on scans whose labels it has not learnt from.

    A label of the study is no reference where the model, or one that it was begun with, learnt from it or from another
    scan of that patient, where it is a prediction that somebody accepted as it was, or where it was begun from that
    model's own prediction.

    Args:
        study: the study.
        references: a folder of label files, or a data set, in place of the labels of the study.
        progress: called with (done, total, scan).

    Raises:
        InputError: no reference fits a prediction, or a file cannot be used.
    """
    opened = _opened(study)
    tallies = Tallies(cache_of(opened) / "results" / "scores.json")
    plans = [_Scoring.of(opened, model, references) for model in predicting_models(opened)]
    total, done, found = sum(len(one.cases) for one in plans), 0, []
    units = FLAT if opened.is_of_pictures() else SOLID
    for plan in plans:
        rows: list[Row] = []
        for name in plan.cases:
            progress(done, total, name)
            rows += [Row(**row) for row in tallies.of(plan.key(name), partial(plan.rows, name))]
            done += 1
        spent, begun = _spent(opened, plan.model), _begun(opened, plan.model)
        found.append(ModelScores(plan.model, spent, tuple(rows), plan.left_out, begun, units))
    tallies.save()
    progress(total, total, "")
    return found


def scores_pending(study: Study | Path | str, references: Path | None = None) -> int:
    """How many predictions :func:`score_models` would have to score anew.

    Raises:
        InputError: no reference fits a prediction.
    """
    opened = _opened(study)
    tallies = Tallies(cache_of(opened) / "results" / "scores.json")
    plans = [_Scoring.of(opened, model, references) for model in predicting_models(opened)]
    return sum(not tallies.has(plan.key(name)) for plan in plans for name in plan.cases)


def common_cases(scores: Sequence[ModelScores]) -> tuple[str, ...]:
    """The scans that all models with any score have scored: what they may be compared on."""
    sets = [set(one.cases) for one in scores if one.rows]
    return tuple(sorted(set.intersection(*sets))) if sets else ()


def differences(scores: Sequence[ModelScores]) -> list[Difference]:
    """Each model against the one before it, on the scans that both have scored."""
    scored = [one for one in scores if one.rows]
    found = []
    for before, after in pairwise(scored):
        old = {(row.class_name, row.case): row.dice for row in before.rows}
        for structure in dict.fromkeys(row.class_name for row in after.rows):
            own = [
                (row.dice, old.get((structure, row.case), math.nan))
                for row in after.rows
                if row.class_name == structure
            ]
            steps = [new - was for new, was in own if not math.isnan(new) and not math.isnan(was)]
            if steps:
                better, worse = sum(step > 0.001 for step in steps), sum(step < -0.001 for step in steps)
                mean = sum(steps) / len(steps)
                found.append(Difference(structure, before.model, after.model, len(steps), mean, better, worse))
    return found


def metrics_table(study: Study | Path | str, references: Path | None = None, progress: Progress = silent) -> str:
    """The scores of :func:`score_models` as CSV; distances of pictures are in pixels."""
    opened = _opened(study)
    pictures = {case.name for case in opened.cases() if case.is_raster}
    stream = io.StringIO()
    rows = csv.writer(stream, lineterminator="\n")
    rows.writerow(["model", "case", "structure", "dice", "nsd", "hd95", "assd", "unit", "both_empty", "one_empty"])
    for scores in score_models(opened, references, progress):
        for row in scores.rows:
            numbers = ["" if math.isnan(n) else f"{n:.6g}" for n in (row.dice, row.nsd, row.hd95_mm, row.assd_mm)]
            unit = "px" if row.case in pictures else "mm"
            rows.writerow(
                [scores.model, row.case, row.class_name, *numbers, unit, int(row.both_empty), int(row.one_empty)]
            )
    return stream.getvalue()


@dataclass(frozen=True, eq=False)
class _Scoring:
    """What of one model is scored, and against what."""

    study: Study
    model: str
    classes: Mapping[str, int]
    by_name: Mapping[str, Case]
    left_out: Mapping[str, int]
    pairs: Pairs | None = None

    @property
    def cases(self) -> list[str]:
        return list(self.by_name)

    @classmethod
    def of(cls, study: Study, model: str, references: Path | None) -> _Scoring:
        predicted = {case.name: case for case in study.cases() if prediction_of(study, model, case)}
        pairs, candidates = None, predicted
        if references is not None:
            folder, classes = study.predictions_dir / model, structures_of(study)
            pairs = pair_up(folder, references, classes, leave_out_others=True)
            candidates = {name: case for name, case in predicted.items() if name in pairs.predictions}
        why = {name: _unfit(study, model, case, own=references is None) for name, case in candidates.items()}
        left_out = Counter(reason for reason in why.values() if reason)
        kept = {name: case for name, case in candidates.items() if not why[name]}
        return cls(study, model, _known_structures(study, model), kept, dict(left_out), pairs)

    def key(self, name: str) -> str:
        case = self.by_name[name]
        path = prediction_of(self.study, self.model, case)
        label = case.label.sha256 if case.label else ""
        reference = label if self.pairs is None else stamp(self.pairs.references.paths[name])
        parts = [self.model, name, stamp(path) if path else "", reference, dict(self.classes), naming(self.study)]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    def rows(self, name: str) -> list[dict[str, Any]]:
        case = self.by_name[name]
        reference = self._reference(case)
        found = predicted_labels(self.study, name, self.model)
        geometry = nifti.read_geometry(case.image_paths[0])
        rows = score_case(found, reference.array, geometry.spacing_mm, self.classes, EvaluateOptions(), case=name)
        return [asdict(row) for row in rows]

    def _reference(self, case: Case) -> LabelMap:
        label = case.read_label() if self.pairs is None else self.pairs.read(case.name)[1]
        if label is None:
            raise InputError(f"{case.name} has no label to score against")
        return label


def _unfit(study: Study, model: str, case: Case, *, own: bool) -> str:
    """Why a label cannot judge a model, in words; empty where it can."""
    return (_no_judge(model, case) if own else "") or _learnt(study, study.model_dir(model), case)


def _no_judge(model: str, case: Case) -> str:
    """What makes the study's own label no reference."""
    if case.label is None:
        return "without a label"
    if case.label.source == "model accepted":
        return "with a label that is an accepted prediction"
    return "with a label begun from its own prediction" if case.label.model == model else ""


def _learnt(study: Study, folder: Path, case: Case) -> str:
    """Whether a model knows a scan's label or that of the same patient; nothing is known of models from elsewhere."""
    if not (folder / "config.json").is_file():
        return ""
    seen = labels_seen(folder)
    if seen is None:
        return "as it is not recorded what the model learnt from"
    if case.name in seen:
        return "which the model learnt from"
    groups = {study.folder.source_or_image(name).group for name in seen if name in study.folder.names()} - {None}
    return "of patients whose other scans the model learnt from" if case.group in groups else ""


def _opened(study: Study | Path | str) -> Study:
    return study if isinstance(study, Study) else Study.at(Path(study))


def _known_structures(study: Study, model: str) -> dict[str, int]:
    """The structures that a model was taught; all for predictions from elsewhere."""
    taught = classes_of_model(study, model)
    return {name: value for name, value in structures_of(study).items() if name in taught}


def _begun(study: Study, model: str) -> str:
    entries = read_learnt(study.model_dir(model))
    return entries[0].begun if entries else ""


def _spent(study: Study, model: str) -> int | None:
    folder = study.model_dir(model)
    seen = labels_seen(folder)
    if seen is None:
        return None
    return len(seen.union(*(entry.held_out for entry in read_learnt(folder))))
