"""Copies of scans, labels and predictions for a viewer: NIfTI that any viewer shows on one grid.

A copy is one frame with one affine in sform and qform, as viewers disagree on files that state two. Scans too large for
a browser are reduced, and so is all that lies over them (:mod:`maskmatch_med.service.reduced`).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from maskmatch_med.errors import InputError
from maskmatch_med.io import nifti, write_segmentation
from maskmatch_med.io.atomic import write_text
from maskmatch_med.io.labels import UNJUDGED
from maskmatch_med.io.volumes import read_stored
from maskmatch_med.service.display import cache_of, is_fresh
from maskmatch_med.service.label import predicted_labels
from maskmatch_med.service.reduced import display_factors, display_geometry, reduce_labels, reduce_values
from maskmatch_med.service.tallies import naming
from maskmatch_med.study import Case, Study
from maskmatch_med.study.admission import check_name
from maskmatch_med.volume import Array, Geometry, Shape3

_COLOUR = ("R", "G", "B")
_SAMPLE = 1 << 20
"""Voxels from which the window of a scan is found."""


@dataclass(frozen=True)
class ScanView:
    """What a viewer needs to know of a scan before it asks for voxels.

    Args:
        shape: (X, Y, Z) voxels of the file.
        factors: by what each axis of the copy for display is reduced.
        spacing_mm: distance of the file's voxels along each axis, mm.
        channels: names of its channels.
        colour: whether they are the colours of a picture.
        range: lowest and highest value to show, of the first channel: all but the outermost 0.5 % at either end.
        extent: the lowest and the highest value of the first channel.
    """

    shape: Shape3
    factors: Shape3
    spacing_mm: tuple[float, float, float]
    channels: tuple[str, ...]
    colour: bool
    range: tuple[float, float]
    extent: tuple[float, float]


def describe_scan(root: Path, name: str) -> ScanView:
    """What a viewer needs to know of a scan; its copy for display is made where there is none yet.

    Raises:
        StudyError: there is no such scan.
        InputError: the scan cannot be read.
    """
    study = Study.at(root)
    case = study.case(name)
    geometry = nifti.read_geometry(case.image_paths[0])
    copy = _channel_copy(study, case, 0, geometry)
    found = json.loads(_values_of(copy).read_text(encoding="utf-8"))
    factors = display_factors(geometry)
    channels = study.channel_names
    low, high = found["range"]
    least, most = found["extent"]
    spacing_mm = geometry.spacing_mm
    return ScanView(geometry.shape, factors, spacing_mm, channels, channels == _COLOUR, (low, high), (least, most))


def display_scan(root: Path, name: str, channel: int = 0) -> Path:
    """One channel of a scan as .nii.gz: (X, Y, Z) in file order, reduced where it is too large to be shown.

    Raises:
        StudyError: there is no such scan.
        InputError: the scan has no such channel or cannot be read.
    """
    study = Study.at(root)
    case = study.case(name)
    if not 0 <= channel < len(case.image_paths):
        raise InputError(f"{name} has {len(case.image_paths)} channels, so there is no channel {channel}")
    return _channel_copy(study, case, channel, nifti.read_geometry(case.image_paths[0]))


def display_colour(root: Path, name: str) -> Path:
    """A coloured picture as .nii.gz of red, green and blue, 8 bits each.

    Raises:
        StudyError: there is no such scan.
        InputError: it is no coloured picture, or cannot be read.
    """
    study = Study.at(root)
    case = study.case(name)
    if study.channel_names != _COLOUR:
        raise InputError(f"{name} is no coloured picture; its channels are {', '.join(study.channel_names)}")
    geometry = nifti.read_geometry(case.image_paths[0])
    factors = display_factors(geometry)
    path = _copies(study) / f"{name}.colour{_suffix(factors)}.nii.gz"
    if not is_fresh(path, *case.image_paths):
        planes = [reduce_values(read_stored(source).array[0], factors) for source in case.image_paths]
        colours = np.stack([np.clip(np.nan_to_num(plane), 0, 255).astype(np.uint8) for plane in planes])
        nifti.write_colour(path, colours, display_geometry(geometry, factors))
    return path


def display_label(root: Path, name: str) -> Path:
    """The current label of a scan as .nii.gz on the grid of its copy for display, voxels that nobody judged as 0.

    Raises:
        StudyError: there is no such scan.
        InputError: it has no label, or the label cannot be read.
    """
    study = Study.at(root)
    case = study.case(name)
    if case.label is None:
        raise InputError(f"{name} has no label yet")
    label = case.label

    def judged() -> tuple[NDArray[np.uint8], Geometry]:
        found = label.read()
        return np.where(found.array == UNJUDGED, np.uint8(0), found.array), found.geometry

    return display_map(study, f"{name}.label.{label.version}", label.path, judged)


def display_prediction(root: Path, name: str, model: str) -> Path:
    """A model's segmentation of a scan in the study's classes, as .nii.gz on the grid of its copy for display.

    Raises:
        StudyError: there is no such scan.
        InputError: the model has not segmented it, or the file cannot be read or does not fit the scan or the classes.
    """
    study = Study.at(root)
    check_name(model, "model")
    case = study.case(name)
    source = study.predictions_dir / model / f"{case.name}.nii.gz"
    if not source.is_file():
        raise InputError(f"{model} has not segmented {name} yet")

    def predicted() -> tuple[NDArray[np.uint8], Geometry]:
        return predicted_labels(study, name, model), nifti.read_geometry(case.image_paths[0])

    return display_map(study, f"{name}.prediction.{model}.{naming(study)}", source, predicted)


def display_map(
    study: Study, key: str, source: Path, read: Callable[[], tuple[NDArray[np.uint8], Geometry]], *more: Path
) -> Path:
    """A copy for display of a label map or of any other one byte a voxel, reduced as its scan is.

    Args:
        study: where its copies lie.
        key: the copy's name, unique for what it shows.
        source: the file it is made from; a copy older than that is made anew.
        read: gives (X, Y, Z) uint8 and their grid, which has the scan's shape.
        more: further files it is made from.
    """
    factors = display_factors(nifti.read_geometry(source))
    path = _copies(study) / f"{key}{_suffix(factors)}.nii.gz"
    if not is_fresh(path, source, *more):
        array, geometry = read()
        write_segmentation(path, reduce_labels(array, factors), display_geometry(geometry, factors))
    return path


def _channel_copy(study: Study, case: Case, channel: int, geometry: Geometry) -> Path:
    source = case.image_paths[channel]
    factors = display_factors(geometry)
    path = _copies(study) / f"{case.name}_{channel:04d}{_suffix(factors)}.nii.gz"
    if not is_fresh(path, source) or not _values_of(path).is_file():
        array = read_stored(source).array[0]
        if array.dtype.kind == "f":
            array = np.nan_to_num(array, posinf=0.0, neginf=0.0)
        shown = reduce_values(array, factors)
        del array
        write_text(_values_of(path), json.dumps(_values(shown)))
        nifti.write_shown(path, shown, display_geometry(geometry, factors))
    return path


def _values(array: Array) -> dict[str, tuple[float, float]]:
    """The window and the extent of a scan's values, as they are told to a viewer."""
    sample = array.ravel(order="K")[:: max(1, array.size // _SAMPLE)]
    low, high = (float(value) for value in np.percentile(sample, (0.5, 99.5)))
    extent = (float(array.min()), float(array.max()))
    return {"range": (low, high) if low < high else extent, "extent": extent}


def _values_of(copy: Path) -> Path:
    return copy.with_name(f"{copy.name}.json")


def _copies(study: Study) -> Path:
    return cache_of(study) / "display"


def _suffix(factors: Shape3) -> str:
    return "" if factors == (1, 1, 1) else ".x" + "x".join(map(str, factors))
