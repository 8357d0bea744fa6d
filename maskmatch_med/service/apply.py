"""Predict and evaluate."""

from __future__ import annotations

import csv
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from maskmatch_med.errors import InputError
from maskmatch_med.evaluation import EvaluateOptions, Evaluation
from maskmatch_med.evaluation import evaluate as score_folder
from maskmatch_med.inference import Prediction, PredictOptions, Predictor
from maskmatch_med.io import CaseFiles, find_scans, write_map, write_mask_png, write_segmentation
from maskmatch_med.nets import ModelFolder
from maskmatch_med.planning import Plan
from maskmatch_med.service.devices import memory_explained, resolve_device
from maskmatch_med.volume import Volume

Progress = Callable[[int, int, str], None]


def _silent(done: int, total: int, name: str) -> None:
    """Show nothing."""


@dataclass
class PredictRequest:
    """How to predict; ``None`` leaves a choice to the model.

    Args:
        scales: scales to average over; by default what the model's preset found best, which metrics.json keeps.
        mirror: average over mirror images along the plan's ``mirror_axes``, at 2 to 8 times the cost; by default what
            the model's preset found best.
        uncertainty: also write ``CASE_uncertainty.nii.gz``.
        probabilities: also write ``CASE_probabilities_LABEL.nii.gz``, one a label, the background's ``_00``.
        overlap: share of a window's edge that neighbours have in common.
        only: names of the cases to predict; the others are left out.
        device: where to predict.
        progress: called with (done, total, case name).
        notice: called with what the user should know, a sentence at a time: what of the inputs was passed over.
    """

    scales: tuple[float, ...] | None = None
    mirror: bool | None = None
    uncertainty: bool = False
    probabilities: bool = False
    overlap: float = 0.5
    only: Sequence[str] | None = None
    device: str = "auto"
    progress: Progress = _silent
    notice: Callable[[str], None] = lambda sentence: None


def predict(
    model: ModelFolder | Path | str,
    inputs: Sequence[Path | str] | Path | str,
    out: Path | str,
    request: PredictRequest | None = None,
) -> list[Path]:
    """Segment scans: ``OUT/CASE.nii.gz`` on each scan's own grid, and ``CASE.png`` beside it for 2D pictures.

    Args:
        model: a model folder.
        inputs: files or folders in any format that import reads.
        out: a folder, made where needed.
        request: how to predict.

    Returns:
        The label files, one a scan. ``OUT/summary.csv`` lists volumes in ml.

    Raises:
        StudyError: there is no finished model.
        InputError: nothing was found, or some inputs cannot be read or do not fit the model; the others are written.
        TrainingError: the device's memory does not hold the scan.
    """
    request = request or PredictRequest()
    folder = model if isinstance(model, ModelFolder) else ModelFolder(Path(model))
    device = resolve_device(request.device)
    plan, network = folder.load(device)
    sources = [Path(inputs)] if isinstance(inputs, Path | str) else [Path(path) for path in inputs]
    found = find_scans(sources, channels=plan.channel_names)
    for sentence in found.notes:
        request.notice(sentence)
    cases = _selected(found.cases, request.only)
    _refuse_to_overwrite(cases, Path(out))
    predictor = Predictor(network, plan, _options(request, folder.metrics().get("inference", {})), device)
    Path(out).mkdir(parents=True, exist_ok=True)
    written, refused = _predict_each(predictor, cases, Path(out), request.progress)
    if refused:
        raise _refusal(refused, len(written))
    return written


def _options(request: PredictRequest, found_best: Mapping[str, Any]) -> PredictOptions:
    return PredictOptions(
        scales=tuple(request.scales or found_best.get("scales") or (1.0,)),
        overlap=request.overlap,
        mirror=bool(found_best.get("mirror")) if request.mirror is None else request.mirror,
        uncertainty=request.uncertainty,
        probabilities=request.probabilities,
    )


def _predict_each(
    predictor: Predictor, cases: Sequence[CaseFiles], target: Path, progress: Progress
) -> tuple[list[Path], list[InputError]]:
    """Predict scan after scan; what is wrong with one does not keep the others from being predicted."""
    plan = predictor.plan
    written, rows, refused = list[Path](), list[dict[str, Any]](), list[InputError]()
    try:
        for index, case in enumerate(cases):
            progress(index, len(cases), case.name)
            began = time.monotonic()
            try:
                volume = _fitting_volume(case, plan)
                prediction = _predicted(predictor, case, volume)
            except InputError as error:
                refused.append(error)
                continue
            written.append(_write_prediction(target, case, volume, prediction, plan.classes))
            rows.append(_summary_row(case.name, volume, prediction, plan, time.monotonic() - began))
    finally:
        if rows:
            _write_csv(target / "summary.csv", rows)
    progress(len(cases), len(cases), "")
    return written, refused


def _refusal(refused: Sequence[InputError], written: int) -> InputError:
    if len(refused) == 1 and not written:
        return refused[0]
    names = "\n".join(str(error) for error in refused)
    return InputError(
        f"{len(refused)} of {len(refused) + written} scans were refused, the others are written:\n{names}"
    )


def _refuse_to_overwrite(cases: Sequence[CaseFiles], out: Path) -> None:
    """Predictions are named like their scans, so they must not land in the scans' own folder."""
    sources = {path.resolve() for case in cases for path in case.channels}
    for case in cases:
        for target in (out / f"{case.name}.nii.gz", out / f"{case.name}.png"):
            if target.resolve() in sources:
                raise InputError(f"the prediction {target} would replace the scan of that name; choose another -o")


def _selected(cases: Sequence[CaseFiles], only: Sequence[str] | None) -> list[CaseFiles]:
    if only is None:
        return list(cases)
    if not only:
        raise InputError("the part of the splits to predict lists no case; choose another --part")
    by_name = {case.name: case for case in cases}
    if missing := [name for name in only if name not in by_name]:
        raise InputError(f"no scan for {', '.join(missing[:5])} ({len(missing)} of {len(only)}) among the inputs")
    return [by_name[name] for name in only]


def _fitting_volume(case: CaseFiles, plan: Plan) -> Volume:
    volume = case.read(channels=len(plan.channel_names))
    if volume.channels != len(plan.channel_names):
        raise InputError(
            f"{case.channels[0]} has {volume.channels} channels, the model was trained on "
            f"{len(plan.channel_names)}: {', '.join(plan.channel_names)}"
        )
    return volume


def _predicted(predictor: Predictor, case: CaseFiles, volume: Volume) -> Prediction:
    try:
        with memory_explained(f"{case.channels[0]}", "predict with fewer scales, without --mirror, or --device cpu"):
            return predictor.predict(volume)
    except InputError as error:
        raise InputError(f"{case.channels[0]}: {error}") from error


def _write_prediction(target: Path, case: CaseFiles, volume: Volume, prediction: Prediction, classes: int) -> Path:
    path = target / f"{case.name}.nii.gz"
    write_segmentation(path, prediction.labels, volume.geometry)
    if case.is_raster:
        write_mask_png(target / f"{case.name}.png", prediction.labels, classes=classes)
    if prediction.uncertainty is not None:
        write_map(target / f"{case.name}_uncertainty.nii.gz", prediction.uncertainty, volume.geometry)
    if prediction.probabilities is not None:
        for label, probability in enumerate(prediction.probabilities):
            write_map(target / f"{case.name}_probabilities_{label:02d}.nii.gz", probability, volume.geometry)
    return path


def _summary_row(name: str, volume: Volume, prediction: Prediction, plan: Plan, seconds: float) -> dict[str, Any]:
    row: dict[str, Any] = {"case": name}
    for label, value in plan.label_names.items():
        if value:
            voxels = int((prediction.labels == value).sum())
            row[f"{label}_ml"] = round(voxels * volume.geometry.voxel_mm3 / 1000, 4)
    if prediction.uncertainty is not None:
        row["mean_uncertainty"] = round(float(prediction.uncertainty.mean()), 5)
    row["seconds"] = round(seconds, 2)
    return row


def _write_csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def names_in_splits(path: Path, part: str) -> list[str]:
    """The names that a splits file lists under one part (``test``, ``label_order``).

    Raises:
        InputError: the file cannot be read or has no such part.
    """
    try:
        splits = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read the splits {path}: {error}") from error
    named = splits.items() if isinstance(splits, dict) else []
    parts = {name: cases for name, cases in named if isinstance(cases, list)}
    if part not in parts:
        raise InputError(f"{path} has no list of cases {part!r}; it has {', '.join(parts) or 'none'}")
    return [str(name) for name in parts[part]]


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
