"""Predict."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maskmatch_med.errors import InputError, listed
from maskmatch_med.inference import PredictOptions, Predictor, keep_largest_component
from maskmatch_med.io import CaseFiles, find_scans
from maskmatch_med.nets import ModelFolder
from maskmatch_med.planning import Plan
from maskmatch_med.progress import Progress, silent
from maskmatch_med.service.devices import resolve_device
from maskmatch_med.service.engines import open_engine
from maskmatch_med.service.odd_scans import note_not_finite, note_two_positions
from maskmatch_med.service.pipeline import Writer, predict_in_turn
from maskmatch_med.service.writing import SUMMARY, doubts, maps_beside, summary_rows, volumes_ml, write_case
from maskmatch_med.study.records import file_sha256

if TYPE_CHECKING:
    from maskmatch_med.evaluation.conformal import DiceOffsets
    from maskmatch_med.evaluation.held_out import HeldOutCalibration


@dataclass
class PredictRequest:
    """How to predict; ``None`` leaves a choice to the model.

    Args:
        scales: scales to average over; by default what the model's preset found best, which metrics.json keeps.
        mirror: average over mirror images along the plan's ``mirror_axes``, at 2 to 8 times the cost; by default what
            the model's preset found best.
        uncertainty: also write ``CASE_uncertainty.nii.gz``.
        probabilities: also write ``CASE_probabilities_LABEL.nii.gz``, one a label, the background's ``_00``.
        overlap: share of a window's edge that neighbours have in common; by default half at the scale nearest to 1,
            three sixteenths at others.
        locate: look at each scan coarsely first and predict only where structures can be.
        calibrated: scale probabilities and tell the expected Dice as the model's calibration.json says, if it has one
            for these scales, mirror images and overlap.
        keep_largest: structures of which only the largest connected component stays; wrong for what may occur more than
            once, such as lesions.
        only: names of the cases to predict; the others are left out.
        resume: leave out the cases whose segmentation, with the maps asked for, lies in the folder already and is newer
            than the model and the scan.
        device: where to predict.
        engine: auto, eager, compiled or openvino, see :mod:`maskmatch_med.inference.engines`.
        progress: called with (done, total, case name).
        notice: called with what the user should know, a sentence at a time: what of the inputs was passed over.
    """

    scales: tuple[float, ...] | None = None
    mirror: bool | None = None
    uncertainty: bool = False
    probabilities: bool = False
    overlap: float | None = None
    locate: bool = False
    calibrated: bool = True
    keep_largest: Sequence[str] = ()
    only: Sequence[str] | None = None
    resume: bool = False
    device: str = "auto"
    engine: str = "auto"
    progress: Progress = silent
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
        The label files, one a scan that was predicted now. ``OUT/summary.csv`` lists volumes in ml and, of a calibrated
        model, the expected Dice, with a 90 % interval where enough held-out scans have given one.

    Raises:
        StudyError: there is no finished model.
        InputError: nothing was found, a structure is unknown to the model, or some inputs cannot be read, do not fit
            the model or need more memory than there is; the others are written.
    """
    request = request or PredictRequest()
    folder = model if isinstance(model, ModelFolder) else ModelFolder(Path(model))
    device = resolve_device(request.device)
    plan = folder.plan()
    sources = [Path(inputs)] if isinstance(inputs, Path | str) else [Path(path) for path in inputs]
    found = find_scans(sources, channels=plan.channel_names)
    for sentence in found.notes:
        request.notice(sentence)
    cases = selected_cases(found.cases, request.only)
    values_of(request.keep_largest, plan)
    _refuse_to_overwrite(cases, Path(out), request)
    if request.resume:
        cases = _not_yet(cases, Path(out), folder, plan.classes, request)
    options = predict_options(request, folder.metrics().get("inference", {}))
    note_two_positions(cases, request.notice)
    calibration = _calibration(folder, options, request)
    if calibration is not None:
        options = replace(options, temperature=calibration.temperature, expected_dice=True)
    _, engine = open_engine(folder, request.engine, device, cases, request.notice)
    predictor = Predictor(engine, plan, options, notice=request.notice)
    Path(out).mkdir(parents=True, exist_ok=True)
    offsets = None if calibration is None else calibration.dice.offsets
    written, refused = _predict_each(predictor, cases, Path(out), offsets, request)
    if refused:
        raise _refusal(refused, len(written))
    return written


def values_of(structures: Sequence[str], plan: Plan) -> list[int]:
    """The values that a model gives to structures.

    Raises:
        InputError: a name is none of its structures'.
    """
    known = {name: value for name, value in plan.label_names.items() if value}
    if unknown := [name for name in structures if name not in known]:
        raise InputError(f"the model knows no structure {unknown[0]!r}, it has {', '.join(known)}")
    return [known[name] for name in structures]


def predict_options(request: PredictRequest, found_best: Mapping[str, Any]) -> PredictOptions:
    """What was asked for, and what the model's preset found best where nothing was.

    Args:
        request: how to predict.
        found_best: the entry ``inference`` of the model's metrics.json.
    """
    return PredictOptions(
        scales=tuple(request.scales or found_best.get("scales") or (1.0,)),
        overlap=request.overlap,
        mirror=bool(found_best.get("mirror")) if request.mirror is None else request.mirror,
        uncertainty=request.uncertainty,
        probabilities=request.probabilities,
        locate=request.locate,
    )


def _calibration(folder: ModelFolder, options: PredictOptions, request: PredictRequest) -> HeldOutCalibration | None:
    """The model's, if it was made for these weights and this way of predicting."""
    if not request.calibrated or not folder.calibration_path.is_file():
        return None
    from maskmatch_med.evaluation.held_out import HeldOutCalibration  # noqa: PLC0415 - loads for a second

    found = HeldOutCalibration.load(folder.root)
    if found is None:
        return None
    if found.weights_sha256 != file_sha256(folder.weights_path):
        reason = "it was made for other weights"
    elif (found.scales, found.mirror, _overlaps(found)) != (options.scales, options.mirror, _overlaps(options)):
        reason = "it was made for other scales, mirror images or overlap"
    else:
        return found
    request.notice(
        f"{folder.calibration_path} is not used, because {reason}; no expected Dice is given until "
        "`maskmatch calibrate` makes it anew"
    )
    return None


def _overlaps(how: HeldOutCalibration | PredictOptions) -> list[float]:
    """Of the windows of each scale."""
    return [PredictOptions(scales=how.scales, overlap=how.overlap).overlap_at(scale) for scale in how.scales]


def _predict_each(
    predictor: Predictor,
    cases: Sequence[CaseFiles],
    target: Path,
    offsets: DiceOffsets | None,
    request: PredictRequest,
) -> tuple[list[Path], list[InputError]]:
    """Predict scan after scan; what is wrong with one does not keep the others from being predicted."""
    plan, alone = predictor.plan, values_of(request.keep_largest, predictor.plan)
    written, refused, filled = list[Path](), list[InputError](), list[str]()
    counter = _Counter(cases, request.progress)
    with Writer() as writer:
        counter.begin(0)
        for index, (case, found) in enumerate(predict_in_turn(predictor, cases, counter.within), start=1):
            seconds = counter.seconds()
            if isinstance(found, InputError):
                refused.append(found)
            else:
                volume, prediction = found
                if alone:
                    prediction = replace(prediction, labels=keep_largest_component(prediction.labels, alone))
                row = {"case": case.name, **volumes_ml(volume, prediction, plan), **doubts(prediction, offsets)}
                row["seconds"] = seconds
                writer.submit(partial(write_case, target, case, volume, prediction, plan.classes, row))
                written.append(target / f"{case.name}.nii.gz")
                filled += [case.name] * (not volume.is_finite)
            counter.begin(index)
    note_not_finite(filled, request.notice)
    return written, refused


class _Counter:
    """Tells how many scans are done, and of a scan that takes long how far it is, once a second."""

    def __init__(self, cases: Sequence[CaseFiles], progress: Progress) -> None:
        self._names, self._progress = [case.name for case in cases], progress
        self._done = 0
        self._began = self._told = time.monotonic()

    def begin(self, done: int) -> None:
        """So many are done, and the next one begins."""
        self._done = done
        self._progress(done, len(self._names), "".join(self._names[done : done + 1]))
        self._began = self._told = time.monotonic()

    def within(self, share: float) -> None:
        """So much of the scan at hand is done."""
        if time.monotonic() - self._told >= 1:
            self._progress(self._done, len(self._names), f"{self._names[self._done]}, {share:.0%}")
            self._told = time.monotonic()

    def seconds(self) -> float:
        """Since the scan at hand began."""
        return round(time.monotonic() - self._began, 2)


def _refusal(refused: Sequence[InputError], written: int) -> InputError:
    if len(refused) == 1 and not written:
        return refused[0]
    others = "the others are written" if written else "nothing is written"
    told = listed([str(error) for error in refused])
    return InputError(f"{len(refused)} of {len(refused) + written} scans were refused, {others}:\n{told}")


def _refuse_to_overwrite(cases: Sequence[CaseFiles], out: Path, request: PredictRequest) -> None:
    """Predictions are named like their scans, so they must not land where scans or other people's files lie."""
    sources = {path.resolve() for case in cases for path in case.channels}
    predicted_before = (out / SUMMARY).is_file()
    for case in cases:
        segmentation = out / f"{case.name}.nii.gz"
        for target in (segmentation, out / f"{case.name}.png"):
            if target.resolve() in sources:
                raise InputError(f"the prediction {target} would replace the scan of that name; choose another -o")
            if target.is_file() and not predicted_before:
                raise InputError(
                    f"the prediction {target} would replace a file that no prediction has written (there is no "
                    "summary.csv beside it); choose another -o or move it away"
                )
        if (
            not segmentation.is_file()
            and (found := maps_beside(out, case.name))
            and (request.uncertainty or request.probabilities)
        ):
            raise InputError(f"{found[0]} was not written beside a segmentation; choose another -o or move it away")
    path = out / SUMMARY
    if path.is_file() and not path.read_bytes().startswith(b"case"):
        raise InputError(f"{path} is not a summary of predictions; choose another -o or move it away")


def _not_yet(
    cases: Sequence[CaseFiles], out: Path, folder: ModelFolder, classes: int, request: PredictRequest
) -> list[CaseFiles]:
    """The cases that an interrupted prediction with this model has left: a case's row is written after its files."""
    trained, listed_there = folder.weights_path.stat().st_mtime, {row["case"] for row in summary_rows(out)}
    maps = ["_uncertainty"] * request.uncertainty
    maps += [f"_probabilities_{label:02d}" for label in range(classes)] * request.probabilities

    def is_done(case: CaseFiles) -> bool:
        parts = [out / f"{case.name}{ending}.nii.gz" for ending in ("", *maps)]
        if case.name not in listed_there or not all(part.is_file() for part in parts):
            return False
        inputs = max(path.stat().st_mtime for path in case.channels)
        return min(part.stat().st_mtime for part in parts) > max(trained, inputs)

    left = [case for case in cases if not is_done(case)]
    if len(left) < len(cases):
        request.notice(f"{len(cases) - len(left)} of {len(cases)} scans are segmented in {out} already and left out")
    return left


def selected_cases(cases: Sequence[CaseFiles], only: Sequence[str] | None) -> list[CaseFiles]:
    """The cases of some names, in their order; all where none are given.

    Raises:
        InputError: no name is given, or a name has no scan.
    """
    if only is None:
        return list(cases)
    if not only:
        raise InputError("the part of the splits to predict lists no case; choose another --part")
    by_name = {case.name: case for case in cases}
    if missing := [name for name in only if name not in by_name]:
        raise InputError(f"no scan for {', '.join(missing[:5])} ({len(missing)} of {len(only)}) among the inputs")
    return [by_name[name] for name in only]


def names_in_splits(path: Path, part: str, *, first: int | None = None, last: int | None = None) -> list[str]:
    """The names that a splits file lists under one part (``test``, ``label_order``).

    Args:
        path: of the file.
        part: which list.
        first: only so many from its beginning.
        last: only so many from its end.

    Raises:
        InputError: the file cannot be read, has no such part, or the part not so many names.
    """
    try:
        splits = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read the splits {path}: {error}") from error
    named = splits.items() if isinstance(splits, dict) else []
    parts = {name: cases for name, cases in named if isinstance(cases, list)}
    if part not in parts:
        raise InputError(f"{path} has no list of cases {part!r}; it has {', '.join(parts) or 'none'}")
    names = [str(name) for name in parts[part]]
    if first is not None and last is not None:
        raise InputError(f"give the first or the last names of {part!r}, not both")
    count = next((n for n in (first, last) if n is not None), len(names))
    if count != len(names) and not 1 <= count <= len(names):
        raise InputError(f"{path} lists {len(names)} cases under {part!r}, so {count} of them cannot be taken")
    return names[len(names) - count :] if last is not None else names[:count]
