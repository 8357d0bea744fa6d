"""What a reviewer lays over a scan beside the prediction: where the model is unsure, and what has changed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from maskmatch_med.errors import InputError
from maskmatch_med.io import nifti, read_volume
from maskmatch_med.service.label import predicted_labels
from maskmatch_med.service.viewing import display_map
from maskmatch_med.study import Study
from maskmatch_med.study.verdicts import PREDICTION_ENDING, prediction_path
from maskmatch_med.volume import Geometry

ONLY_NEW, ONLY_OTHER = 1, 2
"""Values of a difference: labelled, or labelled otherwise, by the new one; labelled by the other alone."""


def display_uncertainty(root: Path, name: str, model: str) -> Path:
    """A model's uncertainty of a scan as .nii.gz of 0 to 255, on the grid of its copy for display.

    Raises:
        StudyError: there is no such scan.
        InputError: the model told none, or the file cannot be read.
    """
    study = Study.at(root)
    prediction = prediction_path(study, name, model)
    source = prediction.with_name(f"{name}_uncertainty{PREDICTION_ENDING}")
    if not source.is_file():
        raise InputError(f"{model} has not told where it is unsure of {name}")

    def read() -> tuple[NDArray[np.uint8], Geometry]:
        found = read_volume(source)
        values = np.clip(np.nan_to_num(found.array[0]), 0.0, 1.0)
        return np.rint(255 * values).astype(np.uint8), found.geometry

    return display_map(study, f"{name}.uncertainty.{model}", source, read)


def display_difference(root: Path, name: str, model: str, other: str) -> Path:
    """Where two predictions of a scan differ as .nii.gz, on the grid of its copy for display.

    A voxel is 0 where both agree, 1 where ``model`` labels it, or labels it otherwise, and 2 where only ``other`` does.

    Raises:
        StudyError: there is no such scan.
        InputError: one of them has not segmented it, or does not fit the scan or the classes.
    """
    study = Study.at(root)
    new, old = prediction_path(study, name, model), prediction_path(study, name, other)

    def read() -> tuple[NDArray[np.uint8], Geometry]:
        one, two = predicted_labels(study, name, model), predicted_labels(study, name, other)
        differs = np.where(one > 0, ONLY_NEW, ONLY_OTHER).astype(np.uint8)
        geometry = nifti.read_geometry(study.case(name).image_paths[0])
        return np.where(one == two, np.uint8(0), differs), geometry

    return display_map(study, f"{name}.difference.{model}.{other}", new, read, old)
