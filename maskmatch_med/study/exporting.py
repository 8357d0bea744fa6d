"""Export labels, predictions or the whole data set to other programs."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from maskmatch_med.errors import InputError
from maskmatch_med.io import read_labels, write_mask_png
from maskmatch_med.io.atomic import copy_file
from maskmatch_med.io.formats import strip_extension
from maskmatch_med.io.labels import UNJUDGED
from maskmatch_med.study.case import Case
from maskmatch_med.study.settings import write_dataset_json
from maskmatch_med.study.study import Study

ExportFormat = Literal["nifti", "nnunet", "png"]


def export_study(study: Study, out: Path, format: ExportFormat) -> list[Path]:
    """Write labels and predictions, or the data set, to a new folder.

    ``nifti``: ``labels/CASE.nii.gz`` (255 = not judged) and ``predictions/MODEL/CASE.nii.gz``. ``nnunet``: a raw data
    set with images, labels and dataset.json. ``png``: as ``nifti`` but pictures, for studies of 2D scans only, named as
    the source; the axis of one voxel, whichever it is, is left out.

    Returns:
        The files written.

    Raises:
        InputError: the folder holds something, or the format does not fit the study.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out} exists and is not an empty folder; choose another place for the export")
    if format == "nnunet":
        return _nnunet(study, out)
    if format == "nifti":
        return [_copy(path, out / target) for path, target in _results(study)]
    if format != "png":
        raise InputError(f"the export format {format!r} is unknown; expected nifti, nnunet or png")
    solid = next((case for case in study.cases() if 1 not in case.shape), None)
    if solid is not None:
        raise InputError(f"{solid.name} has {solid.shape} voxels and is no single slice; export it as nifti")
    return _png(study, out)


def _results(study: Study) -> Iterable[tuple[Path, Path]]:
    """Label and prediction files, and where they go under the export folder."""
    for case in study.labelled_cases():
        if case.label is not None:
            yield case.label.path, Path("labels") / f"{case.name}.nii.gz"
    for path in sorted(study.predictions_dir.glob("*/[!.]*.nii.gz")):
        yield path, Path("predictions") / path.parent.name / path.name


def _nnunet(study: Study, out: Path) -> list[Path]:
    cases = study.cases()
    files = [path for case in cases for path in case.image_paths]
    files += [study.root / "labelsTr" / f"{case.name}.nii.gz" for case in cases if case.label]
    written = [_copy(path, out / path.relative_to(study.root)) for path in files]
    partial = any(case.judged == "partial" for case in cases)
    write_dataset_json(out, study.settings, [case.name for case in cases if case.label], ignore=partial)
    return [*written, out / "dataset.json"]


def _png(study: Study, out: Path) -> list[Path]:
    names = _picture_names(study.cases())
    written = []
    for path, target in _results(study):
        name = target.name.removesuffix(".nii.gz")
        if name in names:
            place = out / target.parent / f"{names[name]}.png"
            labels = read_labels(path, unjudged=UNJUDGED)
            write_mask_png(place, _as_slice(labels.array), classes=len(study.label_names))
            written.append(place)
    return written


def _as_slice(labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Labels with one axis of a single voxel, as (A, B, 1); of several such axes the last goes to the end."""
    axis = max(axis for axis in range(3) if labels.shape[axis] == 1)
    return np.moveaxis(labels, axis, 2)


def _picture_names(cases: Iterable[Case]) -> dict[str, str]:
    """File name without extension of each case: that of its source, or of the case where two sources share one."""
    cases = list(cases)
    stems = [strip_extension(Path(case.source_name)) if case.is_raster else case.name for case in cases]
    return {c.name: s if stems.count(s) == 1 else c.name for c, s in zip(cases, stems, strict=True)}


def _copy(source: Path, target: Path) -> Path:
    copy_file(source, target)
    return target
