"""The rules of scoring a case: empties, unjudged voxels, paper mode."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from maskmatch_med.errors import InputError
from maskmatch_med.evaluation.score import EvaluateOptions, PaperScore, score_case

CLASSES = {"liver": 1, "spleen": 2}
SPACING = (1.0, 2.0, 2.0)


def empty() -> NDArray[np.uint8]:
    return np.zeros((10, 6, 4), np.uint8)


def test_both_empty_is_excluded_and_marked():
    reference = empty()
    reference[2:4, 2:4, 1:3] = 1
    liver, spleen = score_case(reference, reference, SPACING, CLASSES, case="a")
    assert (liver.dice, liver.nsd, liver.hd95_mm, liver.assd_mm) == (1.0, 1.0, 0.0, 0.0)
    assert liver.volume_ref_ml == liver.volume_pred_ml == 8 * 4 / 1000
    assert spleen.both_empty
    assert not spleen.one_empty
    assert all(map(math.isnan, (spleen.dice, spleen.nsd, spleen.hd95_mm, spleen.assd_mm)))
    assert (liver.case, liver.class_name, liver.label) == ("a", "liver", 1)


@pytest.mark.parametrize("swapped", [False, True])
def test_one_empty_scores_zero_and_the_diagonal(swapped: bool):
    full = empty()
    full[2:4, 2:4, 1:3] = 1
    pair = (full, empty()) if swapped else (empty(), full)
    row = score_case(*pair, SPACING, {"liver": 1})[0]
    diagonal = math.sqrt(10**2 + 12**2 + 8**2)
    assert (row.dice, row.nsd) == (0.0, 0.0)
    assert row.hd95_mm == pytest.approx(diagonal)
    assert row.assd_mm == pytest.approx(diagonal)
    assert row.one_empty
    assert not row.both_empty


def test_unjudged_voxels_belong_to_no_count():
    reference, prediction = empty(), empty()
    reference[0:5, 1:5, 1:3] = 1
    reference[5:] = 255
    prediction[0:10, 1:5, 1:3] = 1  # all of its voxels beyond 5 are unjudged
    row = score_case(prediction, reference, SPACING, {"liver": 1})[0]
    assert row.dice == 1.0
    assert row.nsd == 1.0
    assert row.hd95_mm == 0.0
    assert row.volume_pred_ml == row.volume_ref_ml == 5 * 4 * 2 * 4 / 1000


def test_a_structure_predicted_only_where_nobody_judged_is_both_empty():
    reference, prediction = empty(), empty()
    reference[5:] = 255
    prediction[7] = 2
    assert score_case(prediction, reference, SPACING, {"spleen": 2})[0].both_empty


def test_tolerance_is_in_millimetres():
    reference, prediction = empty(), empty()
    reference[2, 2, 2] = 1
    prediction[2, 3, 2] = 1  # one voxel of 2 mm
    assert score_case(prediction, reference, SPACING, {"a": 1}, EvaluateOptions(nsd_mm=1.9))[0].nsd == 0
    assert score_case(prediction, reference, SPACING, {"a": 1}, EvaluateOptions(nsd_mm=2.0))[0].nsd == 1


@pytest.mark.parametrize("rounding", [-3e-7, 0.0, 3e-7])
def test_a_distance_of_just_the_tolerance_does_not_turn_on_how_a_header_rounds(rounding):
    reference, prediction = empty(), empty()
    reference[2, 2, 2] = prediction[2, 3, 2] = 1
    spacing = (SPACING[0], 2.0 + rounding, SPACING[2])
    assert score_case(prediction, reference, spacing, {"a": 1}, EvaluateOptions(nsd_mm=2.0))[0].nsd == 1


def test_paper_mode_is_in_voxels_and_scores_empty_predictions_as_published():
    reference, prediction = empty(), empty()
    reference[2, 2, 2] = 1
    prediction[2, 3, 2] = 1
    options = EvaluateOptions(paper=True)
    found = score_case(prediction, reference, SPACING, CLASSES, options)
    assert found[0].paper == PaperScore(0.0, 1.0, 1.0)
    assert found[0].hd95_mm == 2.0
    assert found[1].paper == PaperScore(0.0, 0.0, 0.0)
    assert score_case(empty(), reference, SPACING, CLASSES, options)[0].paper == PaperScore(0.0, 0.0, 0.0)
    invented = score_case(prediction, empty(), SPACING, CLASSES, options)[0].paper
    assert invented is not None
    assert math.isnan(invented.dice)
    assert math.isnan(invented.hd95_voxels)
    assert score_case(prediction, reference, SPACING, CLASSES)[0].paper is None


def test_paper_distances_are_pooled_and_one_directed():
    reference = np.zeros((40, 6, 6), np.uint8)
    reference[:20, :4, :4] = 1
    prediction = reference.copy()
    prediction[20:36, 0, 0] = 1
    row = score_case(prediction, reference, (1.0, 1.0, 1.0), {"a": 1}, EvaluateOptions(paper=True))[0]
    assert row.paper is not None
    # The tail of 16 voxels lies 1 to 16 from the reference: two of the prediction's surface voxels count with it.
    assert row.paper.hd95_voxels < row.hd95_mm
    assert row.paper.asd_voxels > row.assd_mm


def test_bad_options_and_shapes_are_refused():
    with pytest.raises(InputError, match="got -1"):
        EvaluateOptions(nsd_mm=-1)
    with pytest.raises(InputError, match="'ghost' has value 255"):
        EvaluateOptions(label_names={"ghost": 255})
    with pytest.raises(InputError, match="case_1: the prediction has shape"):
        score_case(empty(), empty()[:3], SPACING, CLASSES, case="case_1")
