"""Score a folder of predictions against the references of a folder, a study or a dataset."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maskmatch_med.errors import InputError, named
from maskmatch_med.evaluation.results import FIGURE, OUTPUTS, Evaluation
from maskmatch_med.evaluation.score import EvaluateOptions, Row, score_case
from maskmatch_med.evaluation.units import FLAT, SOLID, Units
from maskmatch_med.io import LabelMap, MaskCode, read_labels
from maskmatch_med.io.cases import LABEL_FOLDERS, files_in, without_label_ending
from maskmatch_med.io.formats import strip_extension
from maskmatch_med.io.labels import UNJUDGED
from maskmatch_med.io.rasters import is_raster
from maskmatch_med.study.alignment import lies_on, on_grid

_SIDE_PRODUCTS = ("_uncertainty", "_probabilities")
_NO_CLASS = 254


def evaluate(pred: Path, ref: Path, options: EvaluateOptions | None = None) -> Evaluation:
    """Score every prediction against the reference of the same name.

    Args:
        pred: a folder of ``CASE.nii.gz`` or mask pictures, or one such file. Uncertainty and probability maps are
            left out, pictures beside a NIfTI of the same case, and the figure that an earlier evaluation wrote there.
        ref: a folder of label files; a study, nnU-Net or MSD dataset (its ``labelsTr`` and the label names of its
            ``dataset.json``); or one file where ``pred`` is one. What the colours or grey levels of mask pictures
            mean is read from all masks of the folder, with or without a prediction.
        options: tolerance, mode and label names.

    Raises:
        InputError: nothing to score, a prediction without reference, a label outside the declared ones, or grids that
            differ, or predictions use more classes than the mask pictures show; the message names the files.
    """
    options = options or EvaluateOptions()
    return evaluate_pairs(pair_up(pred, ref, options.label_names), options)


def evaluate_pairs(pairs: Pairs, options: EvaluateOptions) -> Evaluation:
    """Score every case that was paired up, one in memory at a time."""
    rows: list[Row] = []
    for name in pairs.predictions:
        found, truth = pairs.read(name)
        spacing = (truth if is_raster(pairs.predictions[name]) else found).geometry.spacing_mm
        rows += score_case(found.array, truth.array, spacing, pairs.classes, options, case=name)
    return Evaluation(tuple(rows), pairs.classes, options, pairs.without_prediction, pairs.units)


def predicted_files(pred: Path) -> dict[str, Path]:
    """The label file of each predicted case of a folder; maps and figures are left out.

    Raises:
        InputError: there is no such folder, it holds no prediction, or two of one case.
    """
    return _predictions(pred)


def pair_up(
    pred: Path, ref: Path, label_names: Mapping[str, int] | None = None, *, leave_out_others: bool = False
) -> Pairs:
    """Find the reference of every prediction; takes and refuses what :func:`evaluate` does.

    Args:
        pred: predictions.
        ref: references.
        label_names: name to value in the predictions, and in the references where those do not declare them.
        leave_out_others: leave out predictions without a reference instead of refusing them, if any has one.
    """
    return pair_files(_predictions(pred), ref, label_names, leave_out_others=leave_out_others)


def pair_files(
    predictions: Mapping[str, Path],
    ref: Path,
    label_names: Mapping[str, int] | None = None,
    *,
    leave_out_others: bool = False,
) -> Pairs:
    """The same for files by case; NIfTI files need not exist before they are read, where ``label_names`` are given.

    References that give other values to these names than the predictions do are read in the values of the predictions.
    """
    references, declared = _references(ref, predictions)
    if label_names and set(label_names) <= set(declared):
        references = replace(references, renumbered=renumbering(declared, label_names))
    if leave_out_others:
        predictions = {n: p for n, p in predictions.items() if n in references.paths} or predictions
    missing = [name for name in predictions if name not in references.paths]
    if missing:
        raise InputError(
            f"no reference for {_some(missing)} in {ref}: expected a label file of the same name, "
            f"found {_some(sorted(references.paths))}"
        )
    names = label_names or declared
    loaded = references.with_code()
    code = _code_of_predictions(predictions.values(), loaded.code)
    classes = dict(names) if names else _values_met(predictions, code, loaded, ref)
    return Pairs(predictions, classes, bool(names), loaded, code)


@dataclass(frozen=True)
class Pairs:
    """Predictions and their references.

    Args:
        predictions: the file of each case, in order.
        classes: name to value, background left out.
        declared: whether the names were given; values outside of them are then refused.
        references: where the references lie.
        code: what the pixels of predicted mask pictures mean.
    """

    predictions: Mapping[str, Path]
    classes: Mapping[str, int]
    declared: bool
    references: _References
    code: MaskCode | None

    @property
    def without_prediction(self) -> tuple[str, ...]:
        """Names of references that nothing was predicted for."""
        return tuple(sorted(set(self.references.names) - set(self.predictions)))

    @property
    def units(self) -> Units:
        """Pixels where all predictions, or all references of them, are pictures."""
        sides = (self.predictions.values(), [self.references.paths[name] for name in self.predictions])
        return FLAT if any(all(is_raster(path) for path in side) for side in sides) else SOLID

    def read(self, name: str) -> tuple[LabelMap, LabelMap]:
        """Prediction and reference of one case, on one grid.

        Raises:
            InputError: grids that differ, or a label outside the declared ones.
        """
        path, reference = self.predictions[name], self.references.paths[name]
        found, truth = read_labels(path, unjudged=None, code=self.code), self.references.read(name)
        truth = _on_grid(found, truth, path, reference)
        _check_code(found, path, self.references, name)
        if self.declared:
            _check_values(found, path, self.classes)
            _check_values(truth, reference, self.classes)
        return found, truth


@dataclass(frozen=True)
class _References:
    """Where the reference of each case lies; a file may be known by two names, with and without its ``_mask``."""

    paths: Mapping[str, Path]
    names: tuple[str, ...]
    unjudged: int
    code: MaskCode | None = None
    renumbered: NDArray[np.uint8] | None = None

    def with_code(self) -> _References:
        return replace(self, code=_code_of(self.paths.values()))

    def read(self, name: str) -> LabelMap:
        found = read_labels(self.paths[name], unjudged=self.unjudged, code=self.code)
        return found if self.renumbered is None else LabelMap(self.renumbered[found.array], found.geometry)


def renumbering(old: Mapping[str, int], new: Mapping[str, int]) -> NDArray[np.uint8] | None:
    """(256,) the new value of each old one, by the names of the classes; None where none changes.

    Values without a name in ``new`` stay as they are where no class of ``new`` has them, and become 254 otherwise.
    """
    table = np.arange(UNJUDGED + 1, dtype=np.uint8)
    table[list(set(new.values()) - {0})] = _NO_CLASS
    for name, value in old.items():
        if name in new:
            table[value] = new[name]
    changed = any(table[value] != value for value in old.values())
    return table if changed else None


def _predictions(pred: Path) -> dict[str, Path]:
    if pred.is_file():
        return {strip_extension(pred): pred}
    if not pred.is_dir():
        raise InputError(f"there is no folder of predictions at {pred}")
    found: dict[str, Path] = {}
    own = {FIGURE} if all((pred / name).is_file() for name in OUTPUTS) else set()
    for path in (path for path in files_in(pred) if path.name not in own):
        name = strip_extension(path)
        if any(name.endswith(end) or f"{end}_" in name for end in _SIDE_PRODUCTS):
            continue
        if name in found and is_raster(path):
            continue
        if name in found and not is_raster(found[name]):
            raise InputError(f"two predictions of one case: {found[name]} and {path}; keep one of them")
        found[name] = path
    if not found:
        raise InputError(f"{pred} holds no prediction: expected files such as CASE.nii.gz or CASE.png")
    return dict(sorted(found.items()))


def _references(ref: Path, predictions: Mapping[str, Path]) -> tuple[_References, dict[str, int]]:
    if ref.is_file():
        if len(predictions) != 1:
            raise InputError(f"{ref} is one file, but there are {len(predictions)} predictions; give a folder")
        name = next(iter(predictions))
        return _References({name: ref}, (name,), UNJUDGED), {}
    if not ref.is_dir():
        raise InputError(f"there is no folder of references at {ref}")
    folders = [ref / name for name in (*LABEL_FOLDERS, "labelsTs") if (ref / name).is_dir()] or [ref]
    record = next((p for p in (ref / "dataset.json", ref.parent / "dataset.json") if p.is_file()), None)
    if record is not None and record.parent != ref and ref.name not in {"labelsTr", "labelsTs"}:
        record = None
    declared, unjudged = _declared(record) if record else ({}, UNJUDGED)
    paths: dict[str, Path] = {}
    for path in (path for folder in folders for path in files_in(folder)):
        paths.setdefault(strip_extension(path), path)
    scans = {without_label_ending(name) for name in paths if without_label_ending(name) != name}
    paths = {name: path for name, path in paths.items() if name not in scans}
    names = tuple(without_label_ending(name) if name not in predictions else name for name in paths)
    for name, path in list(paths.items()):
        paths.setdefault(without_label_ending(name), path)
    return _References(paths, names, unjudged), declared


def _declared(record: Path) -> tuple[dict[str, int], int]:
    """Label names of nnU-Net's or the MSD's dataset.json, and the value that means "not judged"."""
    try:
        labels = json.loads(record.read_text(encoding="utf-8"))["labels"]
        by_value = bool(labels) and all(str(k).isdigit() for k in labels)
        names = {str(v): _number(k) for k, v in labels.items()} if by_value else None
        names = names or {str(k): _number(v) for k, v in labels.items()}
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, AttributeError, TypeError) as error:
        raise InputError(
            f"cannot read the labels in {record}: {error!r}; expected a map of names and values"
        ) from error
    ignore = names.pop("ignore", UNJUDGED)
    return {name: number for name, number in names.items() if number != 0}, ignore


def _number(value: Any) -> int:
    if isinstance(value, list):
        raise InputError(f"label regions such as {value} are not scored; give the names and values of single labels")
    if not str(value).isdigit() or int(value) > UNJUDGED:
        raise InputError(f"a label in dataset.json has the value {value!r}, expected a whole number up to {UNJUDGED}")
    return int(value)


def _code_of(paths: Iterable[Path]) -> MaskCode | None:
    """The common code of all mask pictures, so that one without foreground means the same as the others."""
    rasters = [path for path in dict.fromkeys(paths) if is_raster(path)]
    return MaskCode.of(rasters) if rasters else None


def _code_of_predictions(paths: Iterable[Path], of_references: MaskCode | None) -> MaskCode | None:
    """The code of the predictions: that of the references where the predictions use the same colours or levels."""
    code = _code_of(paths)
    if code is None or of_references is None or code.kind == "index" or code.kind != of_references.kind:
        return code
    shared = set(code.levels) <= set(of_references.levels) and set(code.colours) <= set(of_references.colours)
    return of_references if shared else code


def _values_met(
    predictions: Mapping[str, Path], code: MaskCode | None, references: _References, ref: Path
) -> dict[str, int]:
    in_references: set[int] = set()
    met: set[int] = set()
    for name, path in predictions.items():
        in_references |= set(references.read(name).values)
        met |= set(read_labels(path, unjudged=None, code=code).values)
    if UNJUDGED in in_references and not in_references - {0, UNJUDGED}:
        raise InputError(
            f"the references in {ref} hold the values 0 and 255 only, and 255 is kept for voxels not judged; "
            "save the foreground as 1"
        )
    values = sorted((in_references | met) - {0, UNJUDGED})
    if not values:
        raise InputError(f"neither the predictions nor the references in {ref} hold any label above 0")
    return {f"label {v}": v for v in values}


def _on_grid(found: LabelMap, truth: LabelMap, pred: Path, ref: Path) -> LabelMap:
    """The reference on the prediction's grid; axes that it is stored with in another order are turned, as at import."""
    if is_raster(pred) or is_raster(ref):
        if found.geometry.shape == truth.geometry.shape:
            return truth
    elif lies_on(truth.geometry, found.geometry):
        return on_grid(truth, found.geometry, ref)[0]
    if found.geometry.shape != truth.geometry.shape:
        detail = f"{found.geometry.shape} voxels against {truth.geometry.shape}"
    else:
        detail = f"affine {found.geometry.affine.round(4).tolist()} against {truth.geometry.affine.round(4).tolist()}"
    raise InputError(f"{pred} does not lie on the grid of its reference {ref}: {detail}; predict on the source's grid")


def _check_code(found: LabelMap, path: Path, references: _References, name: str) -> None:
    """Refuse a class that the reference's colours cannot stand for: which colour is which class is then unknown."""
    ref, code = references.paths[name], references.code
    if code is None or code.classes is None or not is_raster(ref):
        return
    highest = max((value for value in found.values if value != UNJUDGED), default=0)
    if highest >= code.classes:
        raise InputError(
            f"{path} holds the label {highest}, but the mask pictures beside {ref} show only {code.classes} "
            "colours or grey levels, background included; give a folder whose masks show every class, or save the "
            "references with class numbers"
        )


def _check_values(labels: LabelMap, path: Path, classes: Mapping[str, int]) -> None:
    unknown = set(labels.values) - {0, UNJUDGED, *classes.values()}
    if unknown:
        known = ", ".join(f"{value} ({name})" for name, value in classes.items())
        raise InputError(f"label {min(unknown)} is not among 0 and {known}: {path}")


def _some(names: list[str]) -> str:
    return named(names, 3) or "nothing"
