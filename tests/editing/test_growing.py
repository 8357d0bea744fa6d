"""Growing from strokes: shapes whose borders are known, and real organs from a few scribbles."""

from __future__ import annotations

import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

from maskmatch_med.editing import GrowOptions, box_around, grow
from maskmatch_med.errors import InputError

MM = (1.0, 1.0, 1.0)


def dice(one: np.ndarray, other: np.ndarray) -> float:
    return float(2 * (one & other).sum() / (one.sum() + other.sum()))


def grown(image, strokes, others=None, spacing_mm=MM, options=None) -> np.ndarray:
    """Strokes and what they grow to, on the whole scan."""
    walls = np.zeros(strokes.shape, bool) if others is None else others
    place, found = grow([image], strokes, walls, spacing_mm, options or GrowOptions())
    whole = strokes.copy()
    whole[place] |= found
    return whole


def ball(shape: tuple[int, ...], centre: tuple[int, ...], radius: float) -> np.ndarray:
    return (
        sum((axis - at) ** 2 for axis, at in zip(np.ogrid[tuple(map(slice, shape))], centre, strict=True)) <= radius**2
    )


@pytest.fixture
def two_balls() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """An image with noise, and two balls of one brightness that touch nowhere."""
    one, other = ball((40, 40, 40), (14, 20, 20), 8), ball((40, 40, 40), (31, 20, 20), 6)
    noise = np.random.default_rng(0).normal(0, 8, one.shape)
    return ((one | other) * 100 + noise).astype(np.float32), one, other


@pytest.mark.parametrize("options", [GrowOptions(0.6), GrowOptions(0.6, slice_axis=2, slice_index=20)])
def test_the_box_around_the_strokes_is_all_that_is_needed(two_balls, options) -> None:
    image, one, _ = two_balls
    strokes, others = np.zeros(one.shape, bool), np.zeros(one.shape, bool)
    strokes[10:18, 20, 20], others[30, 20, 15:22] = True, True
    place, found = grow([image], strokes, others, MM, options)
    box = box_around(strokes, MM, options)
    within = replace(options, slice_index=0)
    inner, cut = grow([image[box]], strokes[box], others[box], MM, within)
    assert place == box
    assert [(s.start, s.stop) for s in inner] == [(0, n) for n in cut.shape]
    assert found.any()
    np.testing.assert_array_equal(cut, found)


def test_a_stroke_fills_its_ball_and_not_the_other(two_balls) -> None:
    image, one, other = two_balls
    strokes = np.zeros(one.shape, bool)
    strokes[9:20, 20, 20] = True
    found = grown(image, strokes)
    assert dice(found, one) > 0.85
    assert not (found & other).any()


def test_what_is_painted_as_something_else_is_never_taken(two_balls) -> None:
    image, one, _ = two_balls
    strokes, others = np.zeros(one.shape, bool), np.zeros(one.shape, bool)
    strokes[9:14, 20, 20] = True
    others[16, 12:29, 12:29] = True
    place, found = grow([image], strokes, others, MM, GrowOptions(1.0))
    assert not (found & others[place]).any()
    assert not (found & strokes[place]).any()
    assert found.any()


def test_a_wider_limit_takes_what_a_narrower_one_takes(two_balls) -> None:
    image, one, _ = two_balls
    strokes = ball(one.shape, (14, 20, 20), 2)
    sizes = [grown(image, strokes, options=GrowOptions(limit)) for limit in (0.0, 0.3, 0.6, 0.9, 1.0)]
    for narrow, wide in pairwise(sizes):
        assert (wide | ~narrow).all()
    assert sizes[0].sum() < sizes[-1].sum()


def test_growing_on_a_slice_stays_on_it(two_balls) -> None:
    image, one, _ = two_balls
    strokes = np.zeros(one.shape, bool)
    strokes[10:18, 20, 20] = True
    strokes[10:18, 20, 22] = True
    found = grown(image, strokes, options=GrowOptions(0.5, 2, 20)) & ~strokes
    assert np.flatnonzero(found.any(axis=(0, 1))).tolist() == [20]
    assert dice(found[:, :, 20] | strokes[:, :, 20], one[:, :, 20]) > 0.9


def test_a_picture_of_one_slice_grows_in_its_plane() -> None:
    disc = ball((60, 50, 1), (30, 25, 0), 12)
    image = (disc * 100 + np.random.default_rng(1).normal(0, 5, disc.shape)).astype(np.float32)
    strokes = np.zeros(disc.shape, bool)
    strokes[24:36, 25, 0] = True
    assert dice(grown(image, strokes), disc) > 0.95


def test_a_large_box_is_walked_on_a_coarser_grid_in_time() -> None:
    shape = (160, 160, 88)
    body = ball(shape, (80, 80, 44), 34)
    image = (body * 100 + np.random.default_rng(2).normal(0, 10, shape)).astype(np.float32)
    strokes = np.zeros(shape, bool)
    strokes[50:110, 80, 44], strokes[80, 50:110, 44], strokes[80, 80, 15:74] = True, True, True
    others = np.zeros(shape, bool)
    others[5:155, 30, 44] = True
    began = time.perf_counter()
    found = grown(image, strokes, others)
    assert time.perf_counter() - began < 6  # about 1.3 s on an idle core
    assert dice(found, body) > 0.95


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (GrowOptions(1.5), "from 0 to 1"),
        (GrowOptions(float("nan")), "from 0 to 1"),
        (GrowOptions(0.5, 3, 0), "no slice 0 across axis 3"),
        (GrowOptions(0.5, 0, 99), "no slice 99 across axis 0"),
        (GrowOptions(0.5, 2, 0), "no stroke of this structure"),
    ],
)
def test_what_cannot_be_grown_is_told(options: GrowOptions, told: str) -> None:
    strokes = np.zeros((8, 8, 8), bool)
    strokes[4, 4, 4] = True
    with pytest.raises(InputError, match=told):
        grow([np.zeros(strokes.shape, np.float32)], strokes, strokes & False, MM, options)


def test_a_scan_of_one_value_grows_without_a_warning() -> None:
    strokes = np.zeros((12, 12, 12), bool)
    strokes[6, 6, 6] = True
    place, found = grow([np.full(strokes.shape, 7, np.int16)], strokes, strokes & False, MM, GrowOptions())
    assert found.shape == tuple(s.stop - s.start for s in place)


def scribbles(label: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """On ``count`` slices a scribble along the middle of the structure, and part of a ring around it."""
    strokes, others = np.zeros(label.shape, bool), np.zeros(label.shape, bool)
    slices = np.flatnonzero(label.any(axis=(0, 1)))
    for share in (np.arange(count) + 0.5) / count:
        z = slices[int(slices.size * share)]
        parts, _ = ndimage.label(label[:, :, z])
        largest = parts == np.argmax(np.bincount(parts.ravel())[1:]) + 1
        depth = ndimage.distance_transform_edt(label[:, :, z]) * largest
        strokes[:, :, z] = depth >= max(1, 0.7 * depth.max())
        away = ndimage.distance_transform_edt(~label[:, :, z])
        ring = np.argwhere((away >= 4) & (away < 5))
        turn = np.arctan2(*(ring - np.argwhere(largest).mean(axis=0)).T)
        others[:, :, z][tuple(ring[(turn > -2) & (turn < 1.5)].T)] = True
    return strokes, others


@pytest.mark.parametrize(
    ("folder", "image", "least"),
    [("Task04_Hippocampus", "{}.nii.gz", 0.72), ("Dataset101_LeftAtriumHalf", "{}_0000.nii.gz", 0.76)],
)
def test_three_scribbles_find_most_of_an_organ(shared_data: Path, folder: str, image: str, least: float) -> None:
    scores = []
    for path in sorted((shared_data / folder / "labelsTr").glob("[!.]*.nii.gz"))[:4]:
        scan = nib.load(shared_data / folder / "imagesTr" / image.format(path.name.removesuffix(".nii.gz")))
        label = np.asarray(nib.load(path).dataobj) > 0
        strokes, others = scribbles(label, 3)
        spacing_mm = tuple(float(mm) for mm in scan.header.get_zooms()[:3])
        scores.append(dice(grown(np.asarray(scan.dataobj, np.float32), strokes, others, spacing_mm), label))
    assert np.mean(scores) > least, scores
