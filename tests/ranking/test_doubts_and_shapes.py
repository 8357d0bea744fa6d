"""Numbers of small label maps and scans that a hand can count, and the doubts that follow from them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from maskmatch_med.ranking import (
    Doubt,
    LabelNorm,
    Observed,
    StructureShape,
    agreement,
    doubts_of,
    scan_features,
    structure_shapes,
    total,
    uncertainty_near,
)

NAMES = {"background": 0, "left": 1, "right": 2}
USUAL = StructureShape(volume_ml=2.0, parts=1, specks=0, at_border=0.0, right_mm=-10.0)
OTHER = replace(USUAL, right_mm=10.0)
NORM = LabelNorm([{"left": USUAL, "right": OTHER}] * 3)


def test_a_structure_in_numbers() -> None:
    labels = np.zeros((10, 10, 10), np.uint8)
    labels[0:4, 2:6, 2:6] = 1
    labels[8:, 8:, 8:] = 1
    affine = np.diag([-2.0, 1.0, 1.0, 1.0])
    affine[0, 3] = 5.0
    found = structure_shapes(labels, affine, NAMES)
    one = found["left"]
    assert (one.parts, one.specks) == (2, 0)
    assert one.volume_ml == pytest.approx((64 + 8) * 2 / 1000)
    assert one.at_border == pytest.approx((16 + 7) / 72)
    assert one.right_mm == pytest.approx(5 - 2 * (64 * 1.5 + 8 * 8.5) / 72)
    assert found["right"] == StructureShape(0.0, 0, 0, 0.0, 0.0)


def test_pieces_that_touch_by_a_corner_are_one_and_a_speck_is_no_piece() -> None:
    labels = np.zeros((20, 20, 1), np.uint8)
    labels[2:12, 2:12, 0] = 1
    labels[12, 12, 0] = 1
    labels[18, 18, 0] = 1
    one = structure_shapes(labels, np.eye(4), NAMES)["left"]
    assert (one.parts, one.specks, one.at_border) == (1, 1, 0.0)


def test_agreement_is_dice_of_what_occurs() -> None:
    a, b = np.zeros((4, 4, 4), np.uint8), np.zeros((4, 4, 4), np.uint8)
    a[0], b[:2] = 1, 1
    assert agreement(a, b, NAMES) == {"left": pytest.approx(2 * 16 / 48)}
    b[3] = 2
    assert agreement(a, b, NAMES)["right"] == 0.0


def test_uncertainty_counts_within_two_voxels_of_what_is_segmented() -> None:
    uncertainty = np.zeros((20, 20, 20), np.float32)
    labels = np.zeros((20, 20, 20), np.uint8)
    labels[10, 10, 10] = 1
    uncertainty[0, 0, 0] = 1.0
    assert uncertainty_near(uncertainty, labels) == 0.0
    uncertainty[10, 10, 12] = 1.0
    assert uncertainty_near(uncertainty, labels) == pytest.approx(1 / 25)
    assert uncertainty_near(np.full((5, 5, 5), 0.3, np.float32), np.zeros((5, 5, 5), np.uint8)) == pytest.approx(0.3)


@pytest.mark.parametrize("shape", [(1, 200, 150, 70), (2, 3, 4, 1), (1, 1, 1, 1)])
def test_features_are_as_many_for_scans_of_any_size(shape: tuple[int, ...]) -> None:
    scan = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    scan[0, 0, 0, 0] = np.nan
    found = scan_features(scan, (1.0, 1.0, 2.0))
    assert found.shape == (shape[0] * 71 + 6,)
    assert np.isfinite(found).all()


def test_features_do_not_depend_on_the_scale_of_intensities_but_on_the_place_of_what_is_bright() -> None:
    scan = np.random.default_rng(0).normal(size=(1, 16, 16, 16)).astype(np.float32)
    np.testing.assert_allclose(scan_features(scan, (1, 1, 1)), scan_features(5 * scan + 3, (1, 1, 1)), atol=1e-5)
    bright = scan.copy()
    bright[:, :8] += 4
    assert np.abs(scan_features(bright, (1, 1, 1)) - scan_features(bright[:, ::-1], (1, 1, 1))).max() > 0.3


def _doubts(seen: Observed, norm: LabelNorm = NORM) -> list[str]:
    return [doubt.reason for doubt in doubts_of(seen, norm)]


def test_what_is_as_usual_raises_no_doubt() -> None:
    assert doubts_of(Observed({"left": USUAL, "right": OTHER}), NORM) == []


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"volume_ml": 0.0}, "left is missing, which no labelled scan lacks"),
        ({"volume_ml": 6.0}, "left is 3.0 times larger than usual where labelled"),
        ({"volume_ml": 0.5}, "left is 4.0 times smaller than usual where labelled"),
        ({"parts": 3}, "left is in 3 pieces, at most 1 where labelled"),
        ({"at_border": 0.1}, "left touches the border of the scan"),
        ({"right_mm": 30.0}, "left and right lie the other way round than where labelled; left for right?"),
    ],
)
def test_what_is_unusual_is_said(changes: dict[str, float], reason: str) -> None:
    assert _doubts(Observed({"left": replace(USUAL, **changes), "right": OTHER})) == [reason]  # type: ignore[arg-type]


def test_two_labelled_scans_tell_nothing_of_what_is_usual() -> None:
    few = LabelNorm(NORM.labelled[:2])
    assert _doubts(Observed({"left": replace(USUAL, volume_ml=50.0), "right": OTHER}), few) == []
    empty = replace(USUAL, volume_ml=0.0)
    assert _doubts(Observed({"left": empty, "right": empty}), few) == ["nothing is segmented"]


def test_the_least_sure_of_a_model_weighs_most() -> None:
    norm = LabelNorm((), [0.1, 0.2, 0.3, 0.4, 0.5])
    weights = [total(doubts_of(Observed({"left": USUAL}, uncertainty=value), norm)) for value in norm.uncertainties]
    assert weights == sorted(weights)
    assert (weights[0], weights[-1]) == (0.0, pytest.approx(0.6))
    assert _doubts(Observed({"left": USUAL}, 0.5), norm) == ["the model is less sure here than in all other scans"]


def test_a_change_weighs_by_how_much_has_changed() -> None:
    same = Observed({"left": USUAL}, previous={"left": 1.0})
    changed = Observed({"left": USUAL}, previous={"left": 0.4, "right": 1.0})
    assert total(doubts_of(same, LabelNorm())) == 0.0
    assert total(doubts_of(changed, LabelNorm())) == pytest.approx(0.7 * (1 - (0.7 + 0.4) / 2))
    assert "Dice 0.40" in _doubts(changed, LabelNorm())[0]


def test_doubts_add_up_below_one() -> None:
    assert total([]) == 0.0
    assert total([Doubt(0.5, "a"), Doubt(0.5, "b")]) == pytest.approx(0.75)
    assert total([Doubt(0.9, "")] * 9) < 1.0
