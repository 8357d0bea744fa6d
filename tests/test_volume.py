"""Geometry and Volume: exact turns, and errors that say what arrived."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.spatial.transform import Rotation

from maskmatch_med.errors import InputError
from maskmatch_med.volume import Geometry, Volume

shapes = st.tuples(*[st.integers(1, 5)] * 3)


@st.composite
def affines(draw):
    """A rotation times spacing times flips times a permutation, and an origin."""
    rotation = Rotation.random(rng=draw(st.integers(0, 10_000))).as_matrix()
    if draw(st.booleans()):
        rotation = np.eye(3)
    order = draw(st.permutations(range(3)))
    signs = np.array(draw(st.tuples(*[st.sampled_from([-1.0, 1.0])] * 3)))
    spacing = np.array(draw(st.tuples(*[st.floats(0.25, 6.0)] * 3)))
    affine = np.eye(4)
    affine[:3, :3] = (rotation * signs * spacing)[:, order]
    affine[:3, 3] = draw(arrays(float, 3, elements=st.floats(-300, 300)))
    return affine


@given(shapes, affines())
def test_turning_to_canonical_and_back_changes_nothing(shape, affine):
    geometry = Geometry(shape, affine)
    array = np.arange(2 * np.prod(shape)).reshape(2, *shape)
    turn = geometry.to_canonical()
    turned = turn.apply(array)
    assert turned.shape[1:] == turn.target.shape
    np.testing.assert_array_equal(turn.invert(turned), array)


@given(shapes, affines())
def test_canonical_agrees_with_nibabel(shape, affine):
    array = np.arange(np.prod(shape), dtype=np.int16).reshape(shape)
    expected = nib.as_closest_canonical(nib.Nifti1Image(array, affine))
    turn = Geometry(shape, affine).to_canonical()
    np.testing.assert_array_equal(turn.apply(array), np.asarray(expected.dataobj))
    np.testing.assert_allclose(turn.target.affine, expected.affine, atol=1e-9)


@given(shapes, affines())
def test_spacing_and_voxel_volume_are_those_of_the_affine(shape, affine):
    geometry = Geometry(shape, affine)
    np.testing.assert_allclose(geometry.spacing_mm, nib.affines.voxel_sizes(affine))
    assert geometry.voxel_mm3 == pytest.approx(np.prod(geometry.spacing_mm))


def test_same_grid_looks_at_the_far_corner():
    near, far = np.eye(4), np.eye(4)
    far[0, 0] = 1.001
    assert Geometry((5, 1, 1), near).same_grid(Geometry((5, 1, 1), far))
    assert not Geometry((500, 1, 1), near).same_grid(Geometry((500, 1, 1), far))
    assert not Geometry((5, 1, 1), near).same_grid(Geometry((1, 5, 1), near))


@pytest.mark.parametrize(
    ("shape", "affine", "message"),
    [
        ((3, 3), np.eye(4), "three axes"),
        ((3, 0, 3), np.eye(4), "at least one voxel"),
        ((3, 3, 3), np.diag([1.0, 0.0, 1.0, 1.0]), "singular"),
        ((3, 3, 3), np.diag([1.0, np.nan, 1.0, 1.0]), "finite"),
    ],
)
def test_impossible_geometry_is_refused(shape, affine, message):
    with pytest.raises(InputError, match=message):
        Geometry(shape, affine)


def test_volume_refuses_an_array_of_another_shape():
    with pytest.raises(InputError, match=r"\(C, X, Y, Z\)"):
        Volume(np.zeros((1, 2, 2, 3), np.float32), Geometry((2, 2, 2), np.eye(4)))


@pytest.mark.parametrize("values", [[np.nan], [np.inf], [np.inf, -np.inf], [-np.inf, np.nan, np.inf]])
def test_a_volume_tells_of_voxels_that_are_not_finite(values):
    array = np.full((2, 3, 4, 5), 3e38, np.float32)
    geometry = Geometry((3, 4, 5), np.eye(4))
    assert Volume(array, geometry).is_finite
    array[1].flat[: len(values)] = values
    assert not Volume(array, geometry).is_finite
