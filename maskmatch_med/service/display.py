"""Copies of scans and labels made for looking at: small pictures, and NIfTI that any viewer shows on one grid.

A copy is one frame with one affine in sform and qform, as viewers disagree on files that state two. Copies lie in the
study's cache, or among the temporary files where the study may not be written.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path

import numpy as np

from maskmatch_med.errors import InputError
from maskmatch_med.evaluation.thumbnails import thumbnail
from maskmatch_med.io import nifti, read_labels, read_volume, write_segmentation
from maskmatch_med.io.atomic import write_bytes
from maskmatch_med.io.labels import UNJUDGED
from maskmatch_med.study import Study
from maskmatch_med.study.admission import check_name


def thumbnail_of(root: Path, name: str) -> Path:
    """A JPEG of a scan's middle slices with the outlines of its label.

    Raises:
        StudyError: there is no such scan.
        InputError: it cannot be read.
    """
    study = Study.at(root)
    case = study.case(name)
    version = case.label.version if case.label else "none"
    path = _cache(study) / "thumbnails" / f"{name}.{version}.jpg"
    if not _is_fresh(path, case.image_paths[0], study.root / "dataset.json"):
        write_bytes(path, thumbnail(case.read_image(), case.read_label(), study.label_names))
    return path


def display_scan(root: Path, name: str, channel: int = 0) -> Path:
    """One channel of a scan as .nii.gz: (X, Y, Z) in file order.

    Raises:
        StudyError: there is no such scan.
        InputError: the scan has no such channel or cannot be read.
    """
    study = Study.at(root)
    case = study.case(name)
    if not 0 <= channel < len(case.image_paths):
        raise InputError(f"{name} has {len(case.image_paths)} channels, so there is no channel {channel}")
    source = case.image_paths[channel]
    path = _cache(study) / "display" / f"{name}_{channel:04d}.nii.gz"
    if not _is_fresh(path, source):
        scan = read_volume(source)
        nifti.write_scan(path, np.nan_to_num(scan.array[0], posinf=0.0, neginf=0.0), scan.geometry)
    return path


def display_label(root: Path, name: str) -> Path:
    """The current label of a scan as .nii.gz, voxels that nobody judged as 0.

    Raises:
        StudyError: there is no such scan.
        InputError: it has no label, or the label cannot be read.
    """
    study = Study.at(root)
    case = study.case(name)
    label = case.read_label()
    if label is None or case.label is None:
        raise InputError(f"{name} has no label yet")
    path = _cache(study) / "display" / f"{name}.label.{case.label.version}.nii.gz"
    if not path.is_file():
        write_segmentation(path, np.where(label.array == UNJUDGED, 0, label.array), label.geometry)
    return path


def display_prediction(root: Path, name: str, model: str) -> Path:
    """A model's segmentation of a scan as .nii.gz.

    Raises:
        StudyError: there is no such scan.
        InputError: the model has not segmented it, or the file cannot be read.
    """
    study = Study.at(root)
    check_name(model, "model")
    source = study.predictions_dir / model / f"{study.case(name).name}.nii.gz"
    if not source.is_file():
        raise InputError(f"{model} has not segmented {name} yet")
    path = _cache(study) / "display" / f"{name}.prediction.{model}.nii.gz"
    if not _is_fresh(path, source):
        found = read_labels(source, unjudged=None)
        write_segmentation(path, found.array, found.geometry)
    return path


def _is_fresh(path: Path, *sources: Path) -> bool:
    return path.is_file() and all(path.stat().st_mtime_ns >= source.stat().st_mtime_ns for source in sources)


def _cache(study: Study) -> Path:
    if os.access(study.root, os.W_OK):
        return study.cache_dir
    key = hashlib.sha256(str(study.root.resolve()).encode()).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"maskmatch-{key}"
