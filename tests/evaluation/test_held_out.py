"""The record of a calibration: what goes into it, that it comes back whole, and the mean Dice it rests on."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from maskmatch_med.errors import StudyError
from maskmatch_med.evaluation.calibration import Calibration
from maskmatch_med.evaluation.held_out import ConfidenceErrors, DiceAgreement, HeldOutCalibration, HeldOutDice
from maskmatch_med.evaluation.results import Evaluation
from maskmatch_med.evaluation.score import EvaluateOptions, mean_dice, score_case


def counted(confidence: list[float], right: list[bool]) -> Calibration:
    return Calibration.of(np.array(confidence), np.array(right))


def record(of: list[HeldOutDice], **changes) -> HeldOutCalibration:
    errors = ConfidenceErrors.of(counted([0.9, 0.9], [True, False]), counted([0.5, 0.5], [True, False]))
    given = {"temperature": 1.5, "scans": len(of), "confidence": errors, "dice": DiceAgreement.of(of)}
    more = {"scales": (0.7, 1.0), "mirror": True, "overlap": 0.5, "weights_sha256": "ab"}
    return HeldOutCalibration(**(given | more | changes))


def scans(count: int, gap: float = 0.1) -> list[HeldOutDice]:
    return [HeldOutDice(f"scan_{n}", 0.5 + n / 100, 0.5 + n / 100 - gap) for n in range(count)]


def test_errors_and_agreement_by_hand():
    found = record([*scans(10), HeldOutDice("empty", 0.3, math.nan)])
    assert found.scans == 11
    assert (found.confidence.before, found.confidence.after) == pytest.approx((0.4, 0.0))
    assert found.dice.scans == 10
    assert found.dice.bias == pytest.approx(-0.1)
    assert found.dice.spearman == pytest.approx(1)
    assert found.dice.offsets.around(0.8) == pytest.approx((0.7, 0.7, 0.7))


def test_few_scans_are_for_ranking_only_and_none_has_no_bias():
    assert record(scans(9)).dice.offsets is None
    none = DiceAgreement.of([HeldOutDice("a", 0.3, math.nan)])
    assert (none.scans, none.bias, none.spearman, none.offsets) == (0, None, None, None)


@pytest.mark.parametrize("count", [3, 12])
def test_it_comes_back_whole_and_names_no_scan(tmp_path: Path, count):
    saved = record(scans(count))
    saved.save(tmp_path, scans(count))
    assert HeldOutCalibration.load(tmp_path) == saved
    assert "scan_" not in (tmp_path / "calibration.json").read_text()
    with (tmp_path / "calibration_scans.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert rows[2] == {"case": "scan_2", "dice_expected": "0.5200", "dice": "0.4200"}
    assert len(rows) == count


def test_without_a_file_there_is_none_and_a_damaged_one_is_named(tmp_path: Path):
    assert HeldOutCalibration.load(tmp_path) is None
    for text in ("{", "[]", record(scans(3)).model_dump_json().replace('"temperature":1.5', '"temperature":-1')):
        (tmp_path / "calibration.json").write_text(text)
        with pytest.raises(StudyError, match=r"(?s)calibration\.json.*maskmatch calibrate"):
            HeldOutCalibration.load(tmp_path)


@pytest.mark.parametrize("change", [{"temperature": 0.0}, {"temperature": math.inf}, {"scans": 0}, {"speed": 1}])
def test_impossible_values_are_refused(change):
    with pytest.raises(ValidationError):
        record(scans(3), **change)


def test_the_mean_dice_is_that_of_an_evaluation():
    rng = np.random.default_rng(0)
    classes = {"a": 1, "b": 2, "c": 3, "d": 4}
    prediction, reference = (rng.integers(0, top, (9, 8, 7)).astype(np.uint8) for top in (3, 4))
    reference[:3] = 255
    rows = score_case(prediction, reference, (1, 1, 1), classes, case="x")
    expected = Evaluation(tuple(rows), classes, EvaluateOptions()).case_dice()["x"]
    found = mean_dice(prediction, reference, classes.values())
    assert found == pytest.approx(expected)
    assert 0 < found < 0.5
    assert math.isnan(mean_dice(prediction, reference, [4]))
