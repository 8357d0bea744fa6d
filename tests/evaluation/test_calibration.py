"""Calibration counted by hand, and recovered from predictions whose calibration is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from maskmatch_med.errors import InputError
from maskmatch_med.evaluation.calibration import BINS, calibrate, calibrate_case, calibration_figure
from maskmatch_med.io import LabelMap, write_map
from maskmatch_med.volume import Geometry

SHAPE = (20, 20, 20)


def two_classes(foreground: np.ndarray) -> np.ndarray:
    return np.stack([1 - foreground, foreground]).astype(np.float32)


def test_four_voxels_by_hand():
    foreground = np.array([0.9, 0.9, 0.6, 0.2]).reshape(4, 1, 1)
    reference = np.array([1, 0, 1, 0], np.uint8).reshape(4, 1, 1)
    found = calibrate_case(two_classes(foreground), reference)
    # 0.9: one of two right; 0.6: right; 0.8 (background): right.
    assert found.voxels.sum() == 4
    assert found.right.sum() == 3
    assert found.ece == pytest.approx((2 * abs(0.5 - 0.9) + abs(1 - 0.6) + abs(1 - 0.8)) / 4, abs=1e-6)
    assert found.overconfidence == pytest.approx((0.9 + 0.9 + 0.6 + 0.8) / 4 - 0.75, abs=1e-6)
    called = found.called
    assert called.voxels.sum() == 3
    assert called.ece == pytest.approx((2 * 0.4 + 0.4) / 3, abs=1e-6)


def test_an_honest_model_has_no_error_and_a_boastful_one_has():
    rng = np.random.default_rng(0)
    foreground = rng.uniform(0, 1, (40, 40, 40))
    reference = (rng.uniform(size=foreground.shape) < foreground).astype(np.uint8)
    honest = calibrate_case(two_classes(foreground), reference)
    assert honest.ece < 0.01
    confidence, right = honest.curve
    assert np.abs(confidence - right).max() < 0.03
    sure = np.clip((foreground - 0.5) * 3 + 0.5, 0, 1)
    boastful = calibrate_case(two_classes(sure), reference)
    assert boastful.ece > 0.1
    assert boastful.overconfidence > 0.1


def test_only_the_surroundings_of_the_structures_and_judged_voxels_count():
    reference = np.zeros(SHAPE, np.uint8)
    reference[10, 10, 10] = 1
    probabilities = two_classes((reference == 1) * 1.0)
    assert calibrate_case(probabilities, reference).voxels.sum() == 11**3
    reference[9, 9, 9] = 255
    found = calibrate_case(probabilities, reference)
    assert found.voxels.sum() == 11**3 - 1
    assert found.ece == 0


def test_what_is_no_probability_is_refused():
    with pytest.raises(InputError, match="add up to 1"):
        calibrate_case(np.full((2, 4, 4, 4), 0.8, np.float32), np.ones((4, 4, 4), np.uint8))
    with pytest.raises(InputError, match="do not fit a label"):
        calibrate_case(np.full((2, 4, 4, 4), 0.5, np.float32), np.ones((4, 4, 5), np.uint8))


def test_cases_are_added_and_those_without_probabilities_left_out(tmp_path: Path):
    geometry = Geometry((4, 4, 4), np.eye(4))
    reference = np.zeros((4, 4, 4), np.uint8)
    reference[:2] = 1
    foreground = np.where(reference == 1, 0.75, 0.25)
    for case in ("a", "b"):
        for label, values in enumerate(two_classes(foreground)):
            write_map(tmp_path / f"{case}_probabilities_{label:02d}.nii.gz", values, geometry)
    files = {case: tmp_path / f"{case}.nii.gz" for case in ("a", "b", "c")}
    found = calibrate(files, [1], lambda name: LabelMap(reference, geometry))
    assert found is not None
    assert (found.cases, found.voxels.sum(), found.ece) == (2, 128, pytest.approx(0.25))
    assert np.flatnonzero(found.voxels).tolist() == [int(0.75 * BINS)]
    assert calibrate({"c": files["c"]}, [1], lambda name: LabelMap(reference, geometry)) is None
    assert len(calibration_figure({"m": found}).axes) == 2
