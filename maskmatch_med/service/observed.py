"""What is known of scans, labels and predictions in numbers, computed once and kept in the study's cache.

Each record names the sizes and times of the files that it was made from, so a changed file is looked at anew.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from maskmatch_med.errors import MaskMatchError
from maskmatch_med.io import nifti, read_volume
from maskmatch_med.io.atomic import write_text
from maskmatch_med.ranking import StructureShape, agreement, scan_features, structure_shapes, uncertainty_near
from maskmatch_med.service.display import cache_of
from maskmatch_med.service.label import predicted_labels
from maskmatch_med.study import Case, Study
from maskmatch_med.study.verdicts import PREDICTION_ENDING

_UNCERTAINTY_ENDING = "_uncertainty.nii.gz"
_FORMAT = 1
"""To be raised when the numbers change their meaning."""


class _Kept(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    key: str


class ScanFacts(_Kept):
    """What a scan is like; see :func:`maskmatch_med.ranking.scan_features`."""

    features: tuple[float, ...]


class LabelFacts(_Kept):
    """The structures of a complete label."""

    shapes: dict[str, StructureShape]


class PredictionFacts(_Kept):
    """What a prediction is like.

    Args:
        shapes: of its structures.
        uncertainty: mean in and around what is segmented; None where the model told none.
        previous: Dice with the prediction before it, by structure; None where there is none.
        problem: why it cannot be used; empty where it can.
    """

    shapes: dict[str, StructureShape] = {}
    uncertainty: float | None = None
    previous: dict[str, float] | None = None
    problem: str = ""


_F = TypeVar("_F", bound=_Kept)


class Looking:
    """Time to look at files that are not known yet; what is known is always given.

    Args:
        seconds: how long; None for as long as it takes.
    """

    def __init__(self, seconds: float | None = None) -> None:
        self._end = None if seconds is None else time.monotonic() + seconds

    @property
    def is_over(self) -> bool:
        """Whether the time is spent."""
        return self._end is not None and time.monotonic() >= self._end

    def kept(self, path: Path, key: str, kind: type[_F], make: Callable[[], _F]) -> _F | None:
        """The record at a path, made where it is missing or out of date; None where no time is left for that."""
        try:
            found = kind.model_validate_json(path.read_bytes())
        except (OSError, ValidationError):
            found = None
        if found is not None and found.key == key:
            return found
        if self.is_over:
            return None
        made = make()
        write_text(path, made.model_dump_json() + "\n")
        return made


def scan_facts(study: Study, case: Case, looking: Looking) -> ScanFacts | None:
    """What a scan is like; None where no time is left to look.

    Raises:
        InputError: the scan cannot be read.
    """
    key = _key(case.image_paths)

    def make() -> ScanFacts:
        scan = case.read_image()
        orientation = scan.geometry.to_canonical()
        features = scan_features(orientation.apply(scan.array), orientation.target.spacing_mm)
        return ScanFacts(key=key, features=tuple(round(float(one), 5) for one in features))

    return looking.kept(cache_of(study) / "ranking" / f"{case.name}.json", key, ScanFacts, make)


def label_facts(study: Study, case: Case, looking: Looking) -> LabelFacts | None:
    """The structures of a scan's complete label; None where it has none, or no time is left to look.

    Raises:
        InputError: the label cannot be read.
    """
    label = case.label
    if label is None or not label.complete:
        return None
    key = _key([], label.sha256, label.label_names)

    def make() -> LabelFacts:
        read = label.read()
        return LabelFacts(key=key, shapes=structure_shapes(read.array, read.geometry.affine, label.label_names))

    return looking.kept(cache_of(study) / "review" / f"{case.name}.label.json", key, LabelFacts, make)


def prediction_facts(
    study: Study, case: Case, model: str, previous: str | None, looking: Looking
) -> PredictionFacts | None:
    """What a prediction is like; None where no time is left to look.

    Args:
        study: the study.
        case: the scan.
        model: whose prediction it is.
        previous: the model of the prediction before it; None where there is none.
        looking: time to look.
    """
    path = study.predictions_dir / model / f"{case.name}{PREDICTION_ENDING}"
    unsure = path.with_name(case.name + _UNCERTAINTY_ENDING)
    files = [path, unsure] + ([study.predictions_dir / previous / path.name] if previous else [])
    key = _key(files, previous, study.label_names)

    def make() -> PredictionFacts:
        try:
            return _look(study, case, model, previous, key)
        except MaskMatchError as error:
            return PredictionFacts(key=key, problem=str(error).replace(str(path), path.name))

    return looking.kept(cache_of(study) / "review" / model / f"{case.name}.json", key, PredictionFacts, make)


def _look(study: Study, case: Case, model: str, previous: str | None, key: str) -> PredictionFacts:
    labels = predicted_labels(study, case.name, model)
    unsure = study.predictions_dir / model / f"{case.name}{_UNCERTAINTY_ENDING}"
    uncertainty = None
    if unsure.is_file():
        values = read_volume(unsure).array[0]
        if values.shape == labels.shape:
            uncertainty = round(uncertainty_near(np.nan_to_num(values), labels), 5)
    agreed = None
    if previous is not None:
        with suppress(MaskMatchError):  # an older one that fits no more says nothing against the newer
            agreed = agreement(labels, predicted_labels(study, case.name, previous), study.label_names)
    affine = nifti.read_geometry(case.image_paths[0]).affine
    shapes = structure_shapes(labels, affine, study.label_names)
    return PredictionFacts(key=key, shapes=shapes, uncertainty=uncertainty, previous=agreed)


def _key(files: Sequence[Path], *more: object) -> str:
    stamps = []
    for path in files:
        try:
            stat = path.stat()
            stamps.append((stat.st_size, stat.st_mtime_ns))
        except FileNotFoundError:
            stamps.append((-1, -1))
    return json.dumps([_FORMAT, stamps, *more])
