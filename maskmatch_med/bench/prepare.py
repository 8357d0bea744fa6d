"""The studies of a benchmark: one a label count, with the plan that all its trainings obey."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from maskmatch_med import service
from maskmatch_med.bench.design import Design, LabelBudget
from maskmatch_med.io.labels import UNJUDGED
from maskmatch_med.io.nifti import read_geometry
from maskmatch_med.progress import Progress
from maskmatch_med.study import Study

READY = "ready"


def study_of(root: Path, labelled: LabelBudget) -> Path:
    """Where the study of one label count lies."""
    return root / "studies" / str(labelled)


def prepare_study(root: Path, design: Design, labelled: LabelBudget, progress: Progress) -> Path:
    """Make the study of one label count; one that a kill left half made is finished, a ready one left as it is.

    Raises:
        InputError: the data cannot be imported.
    """
    path = study_of(root, labelled)
    if (path / READY).exists():
        return path
    options = service.ImportOptions(splits=design.splits, labelled=labelled.scans, link=True)
    service.import_scans(design.data, path, options, progress)
    if labelled.slices is not None:
        _keep_slices(Study.open(path), labelled.slices, labelled.empty)
    service.plan_study(path, design.preset, "auto", design.plan)
    (path / READY).touch()
    return path


def _keep_slices(study: Study, count: int, empty: int) -> None:
    """Leave a few slices of each label judged, as somebody would who painted only those."""
    for case in study.labelled_cases():
        label = case.read_label()
        if label is not None and case.judged == "complete":
            spacing = read_geometry(case.image_paths[0]).spacing_mm
            study.add_label(
                case.name, painted_slices(np.asarray(label.array), count, spacing, empty=empty), source="import"
            )


def painted_slices(
    labels: NDArray[np.uint8], count: int, spacing_mm: tuple[float, ...], *, empty: int = 0
) -> NDArray[np.uint8]:
    """The same label with only ``count`` slices judged, evenly among those that show a structure.

    Args:
        labels: (X, Y, Z) complete.
        count: how many.
        spacing_mm: slices lie across the coarsest axis, the last of equals.
        empty: how many more, evenly among those that show none.

    Returns:
        (X, Y, Z); 255 outside the slices. Of fewer slices than asked for every one stays.
    """
    axis = max(range(3), key=lambda a: (round(spacing_mm[a], 3), a))
    shows = (labels > 0).any(tuple(a for a in range(3) if a != axis))
    chosen = np.concatenate([_evenly(np.flatnonzero(shows), count), _evenly(np.flatnonzero(~shows), empty)])
    out = np.full_like(labels, UNJUDGED)
    where: list[slice | NDArray[np.intp]] = [slice(None)] * 3
    where[axis] = chosen
    out[tuple(where)] = labels[tuple(where)]
    return out


def _evenly(slices: NDArray[np.intp], count: int) -> NDArray[np.intp]:
    if len(slices) <= count:
        return slices
    places = ((np.arange(count) + 0.5) * len(slices) / count).astype(int)
    return np.take(slices, places)
