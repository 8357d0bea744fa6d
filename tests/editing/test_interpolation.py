"""Interpolation between painted slices: shapes that one can draw by hand, and real organs with slices left out."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from maskmatch_med.editing import interpolate
from maskmatch_med.errors import InputError

MM = (1.0, 1.0, 1.0)
NOTHING = np.zeros((21, 22, 23), bool)


def disc(shape: tuple[int, int], centre: tuple[float, float], radius: float) -> np.ndarray:
    x, y = np.ogrid[: shape[0], : shape[1]]
    return (x - centre[0]) ** 2 + (y - centre[1]) ** 2 <= radius**2


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_cone_is_made_from_its_ends(axis: int) -> None:
    """Radii between those of two discs lie on a line."""
    painted = NOTHING.copy()
    turned = np.moveaxis(painted, axis, 0)
    turned[2], turned[12] = disc(turned.shape[1:], (10, 10), 3), disc(turned.shape[1:], (10, 10), 8)
    whole = np.moveaxis(painted | interpolate(painted, NOTHING, MM, axis), axis, 0)
    for step in range(3, 12):
        radius = 3 + 5 * (step - 2) / 10
        assert abs(np.sqrt(whole[step].sum() / np.pi) - radius) < 0.5
    assert not whole[:2].any()
    assert not whole[13:].any()


def test_discs_apart_are_joined_along_a_line() -> None:
    painted = NOTHING.copy()
    painted[:, :, 2], painted[:, :, 10] = disc((21, 22), (5, 5), 3), disc((21, 22), (15, 15), 3)
    found = interpolate(painted, NOTHING, MM)
    middle = np.argwhere(found[:, :, 6])
    np.testing.assert_allclose(middle.mean(axis=0), (10, 10), atol=0.5)
    assert abs(len(middle) - painted[:, :, 2].sum()) <= 4


def test_nothing_that_is_something_else_is_taken_and_nothing_painted_is_given_again() -> None:
    painted, barred = NOTHING.copy(), NOTHING.copy()
    painted[5:15, 5:15, 3] = painted[5:15, 5:15, 9] = True
    barred[8, :, :] = True
    barred[8, :, 3] = barred[8, :, 9] = False
    found = interpolate(painted, barred, MM, 2)
    assert not (found & barred).any()
    assert not (found & painted).any()
    assert found[9, 10, 6]


def test_where_no_axis_is_named_the_one_with_gaps_is_taken() -> None:
    painted = NOTHING.copy()
    painted[4:17, 3, 5:15] = painted[4:17, 11, 5:15] = True
    found = interpolate(painted, NOTHING, MM)
    np.testing.assert_array_equal(found[4:17, 4:11, 5:15], True)
    assert found.sum() == 13 * 7 * 10


def test_a_picture_is_filled_between_its_rows() -> None:
    painted = np.zeros((20, 16, 1), bool)
    painted[5:11, 2, 0] = painted[5:11, 8, 0] = True
    found = interpolate(painted, painted & False, MM, 1)
    np.testing.assert_array_equal(found[5:11, 3:8, 0], True)
    assert found.sum() == 30


@pytest.mark.parametrize(
    ("slices", "axis", "told"),
    [
        ([4], 2, "nothing lies between"),
        ([4, 5], 2, "nothing lies"),
        ([], None, "nothing lies"),
        ([2, 9], 3, "no axis 3"),
    ],
)
def test_what_cannot_be_filled_is_told(slices: list[int], axis: int | None, told: str) -> None:
    painted = NOTHING.copy()
    painted[5:9, 5:9, slices] = True
    with pytest.raises(InputError, match=told):
        interpolate(painted, NOTHING, MM, axis)


@pytest.mark.parametrize(
    ("folder", "gap", "least"), [("Task04_Hippocampus", 3, 0.87), ("Dataset101_LeftAtriumHalf", 5, 0.88)]
)
def test_slices_left_out_of_an_organ_come_back(shared_data: Path, folder: str, gap: int, least: float) -> None:
    scores = []
    for path in sorted((shared_data / folder / "labelsTr").glob("[!.]*.nii.gz"))[:4]:
        image = nib.load(path)
        label = np.asarray(image.dataobj) > 0
        slices = np.flatnonzero(label.any(axis=(0, 1)))
        left_out = np.setdiff1d(slices, [*slices[::gap], slices[-1]])
        painted = label.copy()
        painted[:, :, left_out] = False
        spacing_mm = tuple(float(mm) for mm in image.header.get_zooms()[:3])
        found, true = interpolate(painted, painted & False, spacing_mm, 2)[:, :, left_out], label[:, :, left_out]
        scores.append(2 * (found & true).sum() / (found.sum() + true.sum()))
    assert np.mean(scores) > least, scores
