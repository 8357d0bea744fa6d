"""How large each structure is in each scan, from the labels or from a model's predictions."""

from __future__ import annotations

import csv
import io
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from maskmatch_med.io import nifti
from maskmatch_med.progress import Progress, silent
from maskmatch_med.service.display import cache_of
from maskmatch_med.service.label import predicted_labels
from maskmatch_med.service.tallies import Tallies, naming, prediction_of, stamp, structures_of
from maskmatch_med.study import Case, Study
from maskmatch_med.study.checking.outliers import outliers

_FAR = 1.5
"""The smallest factor to the median at which a volume is called an outlier."""


@dataclass(frozen=True)
class ScanVolume:
    """How large one structure is in one scan.

    Args:
        case: the scan.
        structure: its name.
        amount: in ``unit``.
        unit: ``ml``; ``px``, the area of a picture, whose pixels have no size.
        model: whose prediction it is; None where it is the label.
        version: of the label; empty for a prediction.
        complete: whether every voxel of the scan is judged; else there may be more of the structure.
        outlier: whether it lies far from the other scans.
    """

    case: str
    structure: str
    amount: float
    unit: Literal["ml", "px"]
    model: str | None
    version: str
    complete: bool
    outlier: bool = False


def volumes(study: Study | Path | str, model: str | None = None, progress: Progress = silent) -> list[ScanVolume]:
    """The volume of each structure in each scan, from the labels of now or from the predictions of a model.

    What was counted before is not read again. Outliers are found among scans judged in full, by the rule of
    :mod:`maskmatch_med.study.checking.outliers`.

    Raises:
        StudyError: there is no such study.
        InputError: a label or prediction cannot be read.
    """
    opened = _opened(study)
    tallies = Tallies(cache_of(opened) / "results" / "volumes.json")
    cases = [case for case in opened.cases() if (case.label if model is None else prediction_of(opened, model, case))]
    found = []
    for done, case in enumerate(cases):
        progress(done, len(cases), case.name)
        found += _volumes_of(opened, case, model, tallies)
    tallies.save()
    progress(len(cases), len(cases), "")
    return _marked(found)


def volumes_table(study: Study | Path | str, model: str | None, scans: Collection[str]) -> str:
    """The volumes as CSV: those of the labels, and of a model's predictions where a scan has no label."""
    own = volumes(study)
    labelled = {one.case for one in own}
    found = own + ([one for one in volumes(study, model) if one.case not in labelled] if model else [])
    stream = io.StringIO()
    rows = csv.writer(stream, lineterminator="\n")
    rows.writerow(["case", "structure", "amount", "unit", "from", "label_version", "judged", "outlier"])
    for one in sorted(found, key=lambda one: one.case):
        if one.case in scans:
            made_by, judged = one.model or "label", "every voxel" if one.complete else "in part"
            rows.writerow(
                [one.case, one.structure, f"{one.amount:.6g}", one.unit, made_by, one.version, judged, int(one.outlier)]
            )
    return stream.getvalue()


def _volumes_of(study: Study, case: Case, model: str | None, tallies: Tallies) -> list[ScanVolume]:
    path = None if model is None else prediction_of(study, model, case)
    what = stamp(path) if path else case.label.sha256 if case.label else ""
    counted = tallies.of(f"{case.name} {model} {what} {naming(study)}", lambda: _counted(study, case, model))
    complete = model is not None or (case.label is not None and case.label.complete)
    version = case.label.version if model is None and case.label else ""
    found = []
    for name, value in structures_of(study).items():
        voxels = int(counted["voxels"].get(str(value), 0))
        amount = float(voxels) if case.is_raster else voxels * counted["voxel_mm3"] / 1000
        found.append(ScanVolume(case.name, name, amount, "px" if case.is_raster else "ml", model, version, complete))
    return found


def _counted(study: Study, case: Case, model: str | None) -> dict[str, Any]:
    if model is None:
        label = case.read_label()
        array = np.zeros((1, 1, 1), np.uint8) if label is None else label.array
    else:
        array = predicted_labels(study, case.name, model)
    counts = np.zeros(256, np.int64)
    for plane in array:
        counts += np.bincount(plane.ravel(), minlength=256)
    voxels = {str(value): int(counts[value]) for value in np.flatnonzero(counts).tolist() if value}
    return {"voxels": voxels, "voxel_mm3": nifti.read_geometry(case.image_paths[0]).voxel_mm3}


def _marked(found: list[ScanVolume]) -> list[ScanVolume]:
    far = set()
    for structure in dict.fromkeys(one.structure for one in found):
        whole = {one.case: one.amount for one in found if one.structure == structure and one.complete}
        far |= {(case, structure) for case in outliers(whole, _FAR)}
    return [ScanVolume(**{**vars(one), "outlier": True}) if (one.case, one.structure) in far else one for one in found]


def _opened(study: Study | Path | str) -> Study:
    return study if isinstance(study, Study) else Study.at(Path(study))
