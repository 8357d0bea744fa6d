"""Calibrate a model's confidence on held-out scans, and measure confidence where references exist."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import reduce
from operator import add
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from maskmatch_med.errors import InputError
from maskmatch_med.evaluation.calibration import Calibration, calibrate_case
from maskmatch_med.evaluation.calibration import calibrate as count_folder
from maskmatch_med.evaluation.held_out import ConfidenceErrors, DiceAgreement, HeldOutCalibration, HeldOutDice
from maskmatch_med.evaluation.score import mean_dice
from maskmatch_med.evaluation.scoring import Pairs, pair_files, pair_up
from maskmatch_med.evaluation.temperature import drawn_voxels, fit_temperature
from maskmatch_med.inference import Predictor
from maskmatch_med.inference.expected_dice import expected_dice
from maskmatch_med.inference.region import surroundings
from maskmatch_med.inference.temperature import tempered
from maskmatch_med.io import CaseFiles, find_scans, write_segmentation
from maskmatch_med.io.labels import UNJUDGED
from maskmatch_med.nets import ModelFolder
from maskmatch_med.service.apply import PredictRequest, predict_options, selected_cases
from maskmatch_med.service.devices import resolve_device
from maskmatch_med.service.engines import open_engine
from maskmatch_med.service.pipeline import predict_case
from maskmatch_med.study.records import file_sha256
from maskmatch_med.study.struck import is_stand_in
from maskmatch_med.training.learnt import labels_seen, read_learnt


def calibrate(
    model: ModelFolder | Path | str,
    scans: Sequence[Path | str] | Path | str,
    labels: Path | str,
    request: PredictRequest | None = None,
) -> HeldOutCalibration:
    """Fit a temperature and an interval of the expected Dice to held-out scans, and write the model's calibration.json.

    The scans are predicted once, as ``predict`` would. What lies around their structures is kept on the disk meanwhile,
    4 bytes a voxel and class.

    Args:
        model: a model folder, which must be writable.
        scans: files or folders of scans that the model has not learnt from.
        labels: a folder of their labels, or a data set or study.
        request: how to predict; which maps to write and whether to calibrate is not asked.

    Raises:
        StudyError: there is no finished model.
        InputError: the model learnt from the label of a scan, a scan or label cannot be used, or memory does not
            hold it.
    """
    request = request or PredictRequest()
    folder = model if isinstance(model, ModelFolder) else ModelFolder(Path(model))
    device = resolve_device(request.device)
    plan = folder.plan()
    sources = [Path(scans)] if isinstance(scans, Path | str) else [Path(path) for path in scans]
    found = find_scans(sources, channels=plan.channel_names)
    for sentence in found.notes:
        request.notice(sentence)
    cases = selected_cases(found.cases, request.only)
    _refuse_learnt(folder, [case.name for case in cases], request)
    asked = replace(request, uncertainty=False, probabilities=True)
    options = predict_options(asked, folder.metrics().get("inference", {}))
    structures = {name: value for name, value in plan.label_names.items() if value}
    with TemporaryDirectory(prefix=".calibrate-", dir=folder.root) as scratch:
        files = {case.name: Path(scratch) / f"{case.name}.nii.gz" for case in cases}
        pairs = pair_files(files, Path(labels), structures)
        _, engine = open_engine(folder, request.engine, device, cases, request.notice)
        predictor, kept = Predictor(engine, plan, options, notice=request.notice), list[_HeldOut]()
        for index, case in enumerate(cases):
            request.progress(index, len(cases), case.name)
            kept.append(_predicted(predictor, case, pairs, Path(scratch) / f"{index}.npz"))
        temperature = _temperature(kept)
        after, dice = _at(temperature, kept, list(structures.values()))
    known = {name for entry in read_learnt(folder.root) for name in entry.unlabelled}
    record = HeldOutCalibration(
        temperature=temperature,
        scans=len(cases),
        scans_without_label=sum(case.name in known for case in cases),
        confidence=ConfidenceErrors.of(reduce(add, [scan.before for scan in kept]), after),
        dice=DiceAgreement.of(dice),
        scales=options.scales,
        mirror=options.mirror,
        overlap=options.overlap,
        weights_sha256=file_sha256(folder.weights_path),
    )
    record.save(folder.root, dice)
    request.progress(len(cases), len(cases), "")
    return record


def held_out_names(model: ModelFolder | Path | str) -> list[str]:
    """The labelled scans that a model's training, as it was last begun, held out and the study still has.

    Raises:
        InputError: it held none out, or that is not recorded.
        StudyError: the record is damaged.
    """
    root = model.root if isinstance(model, ModelFolder) else Path(model)
    entries = read_learnt(root)
    held_out = [name for name in entries[-1].held_out if not is_stand_in(name)] if entries else []
    if not held_out:
        raise InputError(f"the training of {root} held no scan out; name scans that it has not learnt from")
    return sorted(held_out)


def measure_confidence(predictions: Path | str, references: Path | str) -> Calibration | None:
    """How far the class probabilities beside written predictions can be trusted; None where none were written.

    Raises:
        InputError: as ``evaluate``.
    """
    pairs = pair_up(Path(predictions), Path(references))
    return count_folder(pairs.predictions, list(pairs.classes.values()), lambda name: pairs.read(name)[1])


@dataclass(frozen=True)
class _HeldOut:
    """One predicted scan: its name, the file of what lies around its structures, its confidence as it is."""

    name: str
    path: Path
    before: Calibration

    def read(self) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
        """Probabilities (K, X, Y, Z) and reference (X, Y, Z) around the structures."""
        with np.load(self.path, allow_pickle=False) as held:
            return held["probabilities"], held["reference"]


def _refuse_learnt(folder: ModelFolder, names: Sequence[str], request: PredictRequest) -> None:
    seen = labels_seen(folder.root)
    if seen is None:
        request.notice(
            f"{folder.root} does not record all labels that it learnt from; make sure that none of these was"
        )
        seen = {name for entry in read_learnt(folder.root) for name in entry.labelled}
    if learnt := [name for name in names if name in seen]:
        shown = ", ".join(learnt[:3]) + (" …" if len(learnt) > 3 else "")
        raise InputError(
            f"the model learnt from the labels of {len(learnt)} of the {len(names)} scans ({shown}), on which its "
            "confidence says nothing of new scans; name others, such as by --splits FILE --part label_order --last 30"
        )


def _predicted(predictor: Predictor, case: CaseFiles, pairs: Pairs, path: Path) -> _HeldOut:
    """Predict one scan and keep what lies around its structures."""
    volume, prediction = predict_case(predictor, case)
    write_segmentation(pairs.predictions[case.name], prediction.labels, volume.geometry)
    reference = pairs.read(case.name)[1].array
    probabilities = prediction.probabilities
    if probabilities is None:
        raise ValueError("the predictor was made without probabilities")
    before = calibrate_case(probabilities, reference)
    box = surroundings((prediction.labels > 0) | ((reference > 0) & (reference != UNJUDGED)))
    np.savez(path, probabilities=probabilities[(slice(None), *box)], reference=reference[box])
    return _HeldOut(case.name, path, before)


def _temperature(kept: Sequence[_HeldOut]) -> float:
    """Fitted to voxels of all scans."""
    drawn = [drawn_voxels(*scan.read(), seed=index) for index, scan in enumerate(kept)]
    probabilities = np.concatenate([part for part, _ in drawn], axis=1)
    return round(fit_temperature(probabilities, np.concatenate([classes for _, classes in drawn])), 4)


def _at(
    temperature: float, kept: Sequence[_HeldOut], structures: Sequence[int]
) -> tuple[Calibration, list[HeldOutDice]]:
    """Confidence and expected Dice at a temperature, a scan in memory at a time."""
    counts, dice = list[Calibration](), list[HeldOutDice]()
    for scan in kept:
        probabilities, reference = scan.read()
        counts.append(calibrate_case(tempered(probabilities, temperature), reference))
        true = mean_dice(probabilities.argmax(axis=0).astype(np.uint8), reference, structures)
        dice.append(HeldOutDice(scan.name, expected_dice(probabilities, temperature), true))
    return reduce(add, counts), dice
