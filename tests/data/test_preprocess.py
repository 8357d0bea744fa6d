from __future__ import annotations

from itertools import permutations, product
from typing import Any

import numpy as np
import pytest
import torch
from scipy.ndimage import zoom

from maskmatch_med.data.preprocess import normalise_channel, preprocess, preprocess_labels
from maskmatch_med.data.resample import axis_orders, nearest_index, resample, resample_labels, resampled_shape
from maskmatch_med.errors import InputError
from maskmatch_med.io.labels import LabelMap
from maskmatch_med.planning.plan import ChannelNormalisation, NetworkPlan, Plan
from maskmatch_med.volume import Geometry, Volume

RNG = np.random.default_rng(5)


def make_plan(spacing: tuple[float, ...], scheme: str = "zscore", **changes: Any) -> Plan:
    dims = len(spacing)
    network = NetworkPlan(
        features=(4, 8, 8),
        kernels=((3,) * dims,) * 3,
        strides=((1,) * dims, (2,) * dims, (1,) * dims),
        deep_supervision=False,
    )
    values: dict[str, Any] = {
        "spatial_dims": dims,
        "channel_names": ("MR",),
        "label_names": {"background": 0, "organ": 1, "lesion": 2},
        "spacing_mm": spacing,
        "patch_vox": (8,) * dims,
        "batch_size": 2,
        "normalisation": (ChannelNormalisation.model_validate({"scheme": scheme}),),
        "network": network,
        "median_shape_vox": (8,) * dims,
    }
    return Plan(**(values | changes))


def grid(shape: tuple[int, int, int], spacing: tuple[float, ...]) -> Geometry:
    return Geometry(shape, np.diag([*spacing, 1.0]))


@pytest.mark.parametrize("order", [1, 3])
@pytest.mark.parametrize("shape", [(9, 14, 6), (20, 7, 13), (5, 5, 30)])
def test_resample_equals_scipy(order: int, shape: tuple[int, int, int]) -> None:
    image = RNG.normal(size=(12, 10, 9))
    expected = zoom(image, np.divide(shape, image.shape), order=order, mode="nearest", grid_mode=True)
    found = resample(image[None], shape, (order,) * 3)[0]
    np.testing.assert_allclose(found, expected, atol=2e-5)


def test_linear_resampling_is_torch_without_aligned_corners() -> None:
    image = RNG.normal(size=(2, 12, 10, 9)).astype(np.float32)
    expected = torch.nn.functional.interpolate(
        torch.from_numpy(image)[None], size=(17, 6, 9), mode="trilinear", align_corners=False
    )[0]
    np.testing.assert_allclose(resample(image, (17, 6, 9), (1, 1, 1)), expected.numpy(), atol=2e-5)


def test_a_ramp_in_millimetres_stays_a_ramp() -> None:
    """Intensity = world position; resampled, each inner voxel must hold its own new position (half-voxel centres)."""
    ramp = (np.arange(24) + 0.5) * 0.8
    shape = resampled_shape((24,), (0.8,), (1.5,))
    assert shape == (13,)
    found = resample(ramp[None], shape, (1,))[0]
    np.testing.assert_allclose(found, (np.arange(13) + 0.5) * (24 * 0.8 / 13), atol=1e-5)


def test_nearest_index_takes_the_voxel_whose_cell_holds_the_centre() -> None:
    assert nearest_index(3, 6).tolist() == [0, 0, 1, 1, 2, 2]
    assert nearest_index(6, 2).tolist() == [1, 4]
    assert nearest_index(1, 3).tolist() == [0, 0, 0]


def test_coarse_axis_is_handled_apart() -> None:
    assert axis_orders((0.7, 0.7, 5.0), (0.8, 0.8, 5.0), 3) == (3, 3, 0)
    assert axis_orders((1.0, 1.0, 1.0), (1.0, 4.0, 1.0), 3) == (3, 0, 3)
    assert axis_orders((1.0, 1.0, 2.5), (1.0, 1.0, 2.5), 3) == (3, 3, 3)
    slices = RNG.normal(size=(1, 10, 10, 4)).astype(np.float32)
    plan = make_plan((0.5, 0.5, 2.5))
    out = preprocess(Volume(slices, grid((10, 10, 4), (0.5, 0.5, 5.0))), plan).image
    assert out.shape == (1, 10, 10, 8)
    np.testing.assert_array_equal(out[..., 0::2], out[..., 1::2])


def test_spacing_equal_within_a_thousandth_is_not_interpolated() -> None:
    image = RNG.normal(size=(1, 700, 5, 4)).astype(np.float32)
    made = preprocess(Volume(image, grid((700, 5, 4), (1.0009, 1.0, 1.0))), make_plan((1.0, 1.0, 1.0)))
    assert made.grid.plan_shape == (700, 5, 4)
    np.testing.assert_array_equal(made.image, normalise_channel(image[0], ChannelNormalisation())[None])


def test_zscore_survives_a_damaged_voxel_and_nan() -> None:
    channel = RNG.normal(100, 20, size=(40, 40, 40)).astype(np.float32)
    clean = normalise_channel(channel, ChannelNormalisation())
    dirty = channel.copy()
    dirty[0, 0, 0], dirty[1, 1, 1], dirty[2, 2, 2] = 1.7e6, np.nan, -np.inf
    found = normalise_channel(dirty, ChannelNormalisation())
    assert np.isfinite(found).all()
    assert abs(float(found.mean())) < 1e-4
    assert float(found.std()) == pytest.approx(1, abs=1e-4)
    np.testing.assert_allclose(found[5:], clean[5:], atol=0.03)
    assert found[1, 1, 1] == pytest.approx(0, abs=0.05)
    assert np.isnan(dirty[1, 1, 1]), "the caller's array must not change"


def test_ct_and_rescale_against_plain_numpy() -> None:
    channel = RNG.uniform(-1000, 1000, size=(9, 9, 9)).astype(np.float32)
    how = ChannelNormalisation(scheme="ct", mean=40, std=80, low=-150, high=250)
    np.testing.assert_allclose(normalise_channel(channel, how), (np.clip(channel, -150, 250) - 40) / 80, rtol=1e-5)
    found = normalise_channel(channel, ChannelNormalisation(scheme="rescale"))
    assert found.min() == 0
    assert found.max() == 1
    constant = normalise_channel(np.full((3, 3, 3), 7, np.float32), ChannelNormalisation())
    assert not constant.any()


def test_nothing_finite_and_wrong_channels_are_refused() -> None:
    plan = make_plan((1.0, 1.0, 1.0))
    geometry = grid((4, 4, 4), (1, 1, 1))
    with pytest.raises(InputError, match=r"channel 0 \(MR\): no voxel has a finite value"):
        preprocess(Volume(np.full((1, 4, 4, 4), np.nan, np.float32), geometry), plan)
    with pytest.raises(InputError, match="2 channels, but the plan was made for 1"):
        preprocess(Volume(np.zeros((2, 4, 4, 4), np.float32), geometry), plan)
    with pytest.raises(InputError, match="no axis of one voxel"):
        preprocess(Volume(np.zeros((1, 4, 4, 4), np.float32), geometry), make_plan((1.0, 1.0)))


def all_orientations(volume: Volume) -> list[Volume]:
    """The same scan in all 48 axis orders and directions, geometry kept true by this function's own arithmetic."""
    made = []
    for order, flips in product(permutations(range(3)), product([False, True], repeat=3)):
        turn = np.zeros((4, 4))
        turn[3, 3] = 1
        shape = [volume.geometry.shape[axis] for axis in order]
        for new, old in enumerate(order):
            turn[old, new] = -1 if flips[new] else 1
            turn[old, 3] = shape[new] - 1 if flips[new] else 0
        array = volume.array.transpose(0, *[1 + axis for axis in order])
        array = array[(slice(None), *[slice(None, None, -1 if flip else 1) for flip in flips])]
        made.append(
            Volume(np.ascontiguousarray(array), Geometry((shape[0], shape[1], shape[2]), volume.geometry.affine @ turn))
        )
    return made


def test_every_orientation_gives_the_same_input_exactly() -> None:
    volume = Volume(RNG.normal(size=(1, 7, 9, 5)).astype(np.float32), grid((7, 9, 5), (1.0, 0.8, 1.3)))
    plan = make_plan((1.1, 1.1, 1.1))
    expected = preprocess(volume, plan).image
    for turned in all_orientations(volume):
        made = preprocess(turned, plan)
        np.testing.assert_array_equal(made.image, expected)
        back = made.grid.to_native(made.grid.to_canonical(turned.array))
        np.testing.assert_array_equal(back, turned.array)


def test_2d_drops_the_singleton_axis_and_brings_it_back() -> None:
    affine = np.diag([-1.0, -1.0, 1.0, 1.0])
    picture = Volume(RNG.normal(size=(1, 12, 7, 1)).astype(np.float32), Geometry((12, 7, 1), affine))
    made = preprocess(picture, make_plan((1.0, 1.0)))
    assert made.image.shape == (1, 12, 7)
    np.testing.assert_array_equal(
        made.image[0], normalise_channel(picture.array[0, ::-1, ::-1, 0], ChannelNormalisation())
    )
    np.testing.assert_array_equal(made.grid.to_native(made.grid.to_canonical(picture.array)), picture.array)


def test_labels_land_where_the_image_lands() -> None:
    """A bright ball and its label, resampled apart, must still lie on each other."""
    inside = np.linalg.norm(np.indices((30, 24, 28)) - np.array([14, 11, 13])[:, None, None, None], axis=0) < 8
    geometry = Geometry((30, 24, 28), np.array([[-0.8, 0, 0, 3], [0, 0, 1.1, 2], [0, 0.9, 0, 1], [0, 0, 0, 1]]))
    plan = make_plan((1.0, 1.0, 1.0))
    image = preprocess(Volume(inside[None].astype(np.float32), geometry), plan).image[0]
    labels = preprocess_labels(LabelMap(inside.astype(np.uint8), geometry), plan)
    bright = image > (image.min() + image.max()) / 2
    assert labels.shape == image.shape
    dice = 2 * (bright & (labels == 1)).sum() / (bright.sum() + labels.sum())
    assert dice > 0.99


def test_label_resampling_by_shares() -> None:
    labels = np.array([0, 0, 1, 1, 2, 2, 0, 0], np.uint8)
    assert resample_labels(labels, (16,), (1,)).tolist() == np.repeat(labels, 2).tolist()
    same = RNG.integers(0, 3, size=(6, 7, 8)).astype(np.uint8)
    assert resample_labels(same, (6, 7, 8), (1, 1, 1)) is same
    there = resample_labels(same, (12, 14, 16), (1, 1, 1))
    np.testing.assert_array_equal(resample_labels(there, (6, 7, 8), (0, 0, 0))[1:-1], there[1::2, 1::2, 1::2][1:-1])


def test_unjudged_voxels_go_by_the_nearest_and_give_no_share() -> None:
    labels = np.array([255, 255, 1, 1, 0, 255], np.uint8)
    found = resample_labels(labels, (12,), (1,))
    assert ((found == 255) == (np.repeat(labels, 2) == 255)).all()
    assert set(found[4:8].tolist()) == {1}
    assert resample_labels(np.full((4, 4), 255, np.uint8), (7, 3), (1, 1)).tolist() == [[255] * 3] * 7


def test_unknown_label_value_is_refused() -> None:
    bad = LabelMap(np.full((3, 3, 3), 7, np.uint8), grid((3, 3, 3), (1, 1, 1)))
    with pytest.raises(InputError, match=r"label 7 is not among the declared ones \(0 background, 1 organ, 2 lesion\)"):
        preprocess_labels(bad, make_plan((1.0, 1.0, 1.0)))


def test_round_trip_of_a_smooth_scan() -> None:
    x, y, z = np.indices((40, 36, 30)) / 12.0
    smooth = (np.sin(x) + np.cos(y) * np.sin(z + 1)).astype(np.float32)
    made = preprocess(
        Volume(smooth[None], grid((40, 36, 30), (1.0, 1.2, 0.9))), make_plan((0.8, 0.8, 0.8), scheme="rescale")
    )
    back = resample(made.image, made.grid.shape, (3, 3, 3))
    there = normalise_channel(smooth, ChannelNormalisation(scheme="rescale"))
    np.testing.assert_allclose(made.grid.to_native(back)[0][3:-3, 3:-3, 3:-3], there[3:-3, 3:-3, 3:-3], atol=0.01)
