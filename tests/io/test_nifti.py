"""NIfTI in and out, held against nibabel and SimpleITK."""

from __future__ import annotations

import gzip
import struct
import tempfile
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from maskmatch_med.errors import InputError
from maskmatch_med.io import nifti, read_labels, read_volume, write_map, write_segmentation
from maskmatch_med.io.formats import ReadOptions
from maskmatch_med.volume import Geometry

AFFINE = np.array([[0.0, -1.5, 0.0, 10.0], [0.8, 0.0, 0.0, -20.0], [0.0, 0.0, 3.0, 5.0], [0.0, 0.0, 0.0, 1.0]])


@st.composite
def grids(draw):
    seed = draw(st.integers(0, 10_000))
    rotation = Rotation.random(rng=seed).as_matrix() if draw(st.booleans()) else np.eye(3)
    signs = np.array(draw(st.tuples(*[st.sampled_from([-1.0, 1.0])] * 3)))
    spacing = np.array(draw(st.tuples(*[st.floats(0.25, 6.0)] * 3)))
    affine = np.eye(4)
    affine[:3, :3] = (rotation * signs)[:, draw(st.permutations(range(3)))] * spacing
    affine[:3, 3] = draw(st.tuples(*[st.floats(-300, 300)] * 3))
    shape = draw(st.tuples(st.integers(1, 5), st.integers(1, 5), st.integers(1, 4)))
    return Geometry(shape, affine)


@settings(max_examples=60, deadline=None)
@given(grids(), st.integers(0, 1000))
def test_a_written_label_lies_where_nibabel_and_simpleitk_read_it(geometry, seed):
    labels = np.random.default_rng(seed).integers(0, 255, geometry.shape, dtype=np.uint8)
    corner = np.array(geometry.shape) - 1
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "label.nii.gz"
        write_segmentation(path, labels, geometry)
        by_nibabel = nib.load(path)
        by_itk = sitk.ReadImage(str(path))
        np.testing.assert_array_equal(np.asarray(by_nibabel.dataobj), labels)
        np.testing.assert_array_equal(sitk.GetArrayFromImage(by_itk).transpose(2, 1, 0), labels)
        again = read_labels(path)
    for voxel in ([0, 0, 0], corner.tolist()):
        world = geometry.affine @ [*voxel, 1.0]
        np.testing.assert_allclose(by_nibabel.affine @ [*voxel, 1.0], world, atol=1e-3)
        np.testing.assert_allclose(by_nibabel.get_qform() @ [*voxel, 1.0], world, atol=1e-3)
        lps = by_itk.TransformContinuousIndexToPhysicalPoint([float(v) for v in voxel])
        np.testing.assert_allclose(np.array(lps) * [-1, -1, 1], world[:3], atol=1e-3)
    np.testing.assert_array_equal(again.array, labels)
    assert again.geometry.same_grid(geometry)
    assert by_nibabel.get_data_dtype() == np.uint8
    assert int(by_nibabel.header["sform_code"]) > 0
    assert int(by_nibabel.header["qform_code"]) > 0


def test_the_affine_of_the_source_survives_exactly(tmp_path):
    rng = np.random.default_rng(0)
    affine = np.eye(4)
    affine[:3] = rng.normal(size=(3, 4)).astype(np.float32)
    nib.save(nib.Nifti1Image(np.zeros((3, 4, 5), np.int16), affine), tmp_path / "scan.nii.gz")
    geometry = read_volume(tmp_path / "scan.nii.gz").geometry
    write_segmentation(tmp_path / "label.nii.gz", np.zeros((3, 4, 5), np.uint8), geometry)
    np.testing.assert_array_equal(nib.load(tmp_path / "label.nii.gz").affine, affine)


def test_the_same_label_gives_the_same_bytes(tmp_path):
    geometry, labels = Geometry((4, 4, 4), AFFINE), np.ones((4, 4, 4), np.uint8)
    write_segmentation(tmp_path / "a.nii.gz", labels, geometry)
    write_segmentation(tmp_path / "b.nii.gz", labels, geometry)
    content = (tmp_path / "a.nii.gz").read_bytes()
    assert content == (tmp_path / "b.nii.gz").read_bytes()
    assert content[4:8] == b"\0\0\0\0"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.nii.gz", "b.nii.gz"]


@pytest.mark.parametrize(("code_s", "code_q", "expected"), [(2, 1, "s"), (0, 1, "q"), (0, 0, "pixdim")])
def test_the_affine_is_chosen_as_nibabel_chooses(tmp_path, code_s, code_q, expected):
    sform, qform = np.diag([2.0, 2.0, 2.0, 1.0]), np.diag([-3.0, 3.0, 3.0, 1.0])
    image = nib.Nifti1Image(np.zeros((3, 4, 5), np.uint8), None)
    image.header.set_zooms((4.0, 5.0, 6.0))
    if code_q:
        image.set_qform(qform, code_q)
    if code_s:
        image.set_sform(sform, code_s)
    nib.save(image, tmp_path / "x.nii")
    geometry = read_volume(tmp_path / "x.nii").geometry
    spacing = {"s": (2, 2, 2), "q": (3, 3, 3), "pixdim": (4, 5, 6)}[expected]
    np.testing.assert_allclose(geometry.spacing_mm, spacing)
    np.testing.assert_allclose(geometry.affine, nib.load(tmp_path / "x.nii").affine)


@pytest.mark.parametrize(("code_s", "code_q", "space"), [(4, 1, 4), (0, 2, 2), (0, 0, 1), (9, 3, 3), (9, 0, 1)])
def test_a_segmentation_lies_in_the_space_of_its_scan(tmp_path, code_s, code_q, space):
    nib.save(nib.Nifti1Image(np.zeros((3, 4, 5), np.uint8), AFFINE), tmp_path / "x.nii")
    content = bytearray((tmp_path / "x.nii").read_bytes())
    content[252:256] = struct.pack("<hh", code_q, code_s)
    (tmp_path / "x.nii").write_bytes(content)
    geometry = read_volume(tmp_path / "x.nii").geometry
    assert (geometry.space, geometry.to_canonical().target.space) == (space, space)
    write_segmentation(tmp_path / "label.nii.gz", np.zeros((3, 4, 5), np.uint8), geometry)
    header = nib.load(tmp_path / "label.nii.gz").header
    assert (int(header["sform_code"]), int(header["qform_code"])) == (space, space)


@pytest.mark.parametrize("ending", ["nii", "nii.gz"])
@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.float32])
def test_a_part_is_what_reading_all_gives_there(tmp_path, ending, kind):
    values = np.random.default_rng(0).integers(0, 200, (7, 8, 9)).astype(kind)
    image = nib.Nifti1Image(values, np.eye(4))
    image.header.set_slope_inter(0.5, 3)
    path = tmp_path / f"a.{ending}"
    nib.save(image, path)
    place = (slice(2, 6), slice(0, 3), slice(4, 9))
    part, whole = nifti.read_part(path, place), nifti.read(path).array[0]
    assert part.dtype == whole.dtype
    np.testing.assert_array_equal(part, whole[place])
    path.write_bytes(path.read_bytes()[:120])
    with pytest.raises(InputError, match="cut off"):
        nifti.read_part(path, place)


def test_micrometres_become_millimetres(tmp_path):
    image = nib.Nifti1Image(np.zeros((3, 4, 5), np.uint8), np.diag([500.0, 250.0, 1000.0, 1.0]))
    image.header.set_xyzt_units("micron")
    nib.save(image, tmp_path / "x.nii")
    assert read_volume(tmp_path / "x.nii").geometry.spacing_mm == (0.5, 0.25, 1.0)
    nib.load(tmp_path / "x.nii")
    itk = sitk.ReadImage(str(tmp_path / "x.nii")).GetSpacing()
    np.testing.assert_allclose(itk, (0.5, 0.25, 1.0))


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_scaled_integers_and_wide_types(tmp_path, suffix):
    stored = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    scaled = nib.Nifti1Image(stored, np.eye(4))
    scaled.header.set_slope_inter(0.5, -100)
    scaled.to_filename(tmp_path / f"scaled{suffix}")
    array = read_volume(tmp_path / f"scaled{suffix}").array
    np.testing.assert_allclose(array[0], np.asarray(nib.load(tmp_path / f"scaled{suffix}").dataobj), rtol=1e-6)
    assert array.max() - array.min() > 0
    for dtype in (np.int64, np.float64, np.uint16, np.int32):
        nib.Nifti1Image(stored.astype(dtype), np.eye(4), dtype=dtype).to_filename(tmp_path / f"wide{suffix}")
        np.testing.assert_array_equal(read_volume(tmp_path / f"wide{suffix}").array[0], stored)


def test_slope_and_intercept_by_hand(tmp_path):
    image = nib.Nifti1Image(np.zeros((2, 1, 1), np.int16), np.eye(4))
    path = tmp_path / "x.nii"
    image.to_filename(path)
    raw = bytearray(path.read_bytes())
    raw[112:120] = np.array([0.5, -100.0], "<f4").tobytes()
    raw[352:356] = np.array([10, 20], "<i2").tobytes()
    path.write_bytes(raw)
    np.testing.assert_array_equal(read_volume(path).array.ravel(), [-95.0, -90.0])


def test_nan_and_infinity_are_kept(tmp_path):
    array = np.array([np.nan, np.inf, 1.0], np.float32).reshape(3, 1, 1)
    write_map(tmp_path / "x.nii.gz", array, Geometry((3, 1, 1), np.eye(4)))
    np.testing.assert_array_equal(read_volume(tmp_path / "x.nii.gz").array[0], array)


@pytest.mark.parametrize("shape", [(4, 5), (4, 5, 1), (4, 5, 1, 1, 1)])
def test_single_slices_and_trailing_axes(tmp_path, shape):
    values = np.arange(20, dtype=np.int16).reshape(shape)
    nib.save(nib.Nifti1Image(values, np.eye(4)), tmp_path / "x.nii.gz")
    volume = read_volume(tmp_path / "x.nii.gz")
    assert volume.array.shape == (1, 4, 5, 1)
    np.testing.assert_array_equal(volume.array.ravel(), values.ravel())


def test_four_axes_are_refused_with_a_way_out(tmp_path):
    nib.save(nib.Nifti1Image(np.zeros((3, 3, 3, 2), np.float32), np.eye(4)), tmp_path / "x.nii.gz")
    with pytest.raises(InputError, match=r"x\.nii\.gz has four axes.*NAME_0000"):
        read_volume(tmp_path / "x.nii.gz")


def test_a_fourth_axis_holds_the_channels_where_their_number_is_known(tmp_path):
    values = np.random.default_rng(0).normal(size=(3, 4, 5, 2)).astype(np.float32)
    nib.save(nib.Nifti1Image(values, AFFINE), tmp_path / "x.nii.gz")
    volume = read_volume([tmp_path / "x.nii.gz"], channels=2)
    np.testing.assert_array_equal(volume.array, np.moveaxis(values, -1, 0))
    np.testing.assert_allclose(volume.geometry.affine, AFFINE)
    with pytest.raises(InputError, match=r"x\.nii\.gz holds 2 channels along its fourth axis, expected 3"):
        read_volume(tmp_path / "x.nii.gz", channels=3)
    with pytest.raises(InputError, match="four axes"):
        read_volume(tmp_path / "x.nii.gz", channels=1)
    write_map(tmp_path / "y.nii.gz", values[..., 0], Geometry((3, 4, 5), AFFINE))
    assert read_volume(tmp_path / "y.nii.gz", channels=2).channels == 1


def test_channels_on_another_grid_are_resampled_to_the_first(tmp_path):
    ramp = np.arange(8, dtype=np.float32)[:, None, None] * np.ones((1, 4, 4), np.float32)
    write_map(tmp_path / "a.nii", ramp, Geometry((8, 4, 4), np.eye(4)))
    write_map(tmp_path / "b.nii", 2 * ramp[::2], Geometry((4, 4, 4), np.diag([2.0, 1.0, 1.0, 1.0])))
    array = read_volume([tmp_path / "a.nii", tmp_path / "b.nii"]).array
    np.testing.assert_allclose(array[1, :7], 2 * ramp[:7], atol=1e-5)


def _small(path: Path) -> Path:
    values = np.random.default_rng(0).integers(0, 1000, (20, 20, 20)).astype(np.int16)
    nib.save(nib.Nifti1Image(values, np.eye(4)), path)
    return path


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("kept", [0, 100, 360, 5000])
def test_truncated_files_are_refused_in_one_sentence(tmp_path, suffix, kept):
    path = _small(tmp_path / f"cut{suffix}")
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(InputError, match="cut") as caught:
        read_volume(path)
    assert "\n" not in str(caught.value)


def test_a_flipped_byte_is_noticed_by_the_checksum(tmp_path):
    path = _small(tmp_path / "x.nii.gz")
    payload = gzip.decompress(path.read_bytes())
    raw = bytearray(gzip.compress(payload, compresslevel=0))
    raw[8000] ^= 255
    path.write_bytes(raw)
    with pytest.raises(InputError, match=r"x\.nii\.gz is cut off or damaged"):
        read_volume(path)


def test_a_header_that_promises_terabytes_is_refused_before_allocating(tmp_path):
    path = _small(tmp_path / "x.nii")
    raw = bytearray(path.read_bytes())
    raw[40:48] = np.array([3, 30000, 30000, 30000], "<i2").tobytes()
    path.write_bytes(raw)
    with pytest.raises(InputError, match="header promises"):
        read_volume(path)


def test_complex_values_are_refused_or_read_as_magnitude(tmp_path):
    values = np.array([3 + 4j, -2j, 1], np.complex64).reshape(3, 1, 1)
    nib.save(nib.Nifti1Image(values, np.eye(4)), tmp_path / "x.nii")
    with pytest.raises(InputError, match=r"x\.nii holds complex values"):
        read_volume(tmp_path / "x.nii")
    array = read_volume(tmp_path / "x.nii", options=ReadOptions(magnitude=True)).array
    np.testing.assert_array_equal(array.ravel(), [5, 2, 1])


@pytest.mark.parametrize("names", ["RGB", "RGBA"])
def test_colours_become_channels_without_alpha(tmp_path, names):
    values = np.zeros((3, 4, 2), np.dtype([(name, "u1") for name in names]))
    for number, name in enumerate(names):
        values[name] = np.arange(24).reshape(3, 4, 2) + 50 * number
    nib.save(nib.Nifti1Image(values, np.eye(4)), tmp_path / "x.nii.gz")
    array = read_volume(tmp_path / "x.nii.gz").array
    assert array.shape == (3, 3, 4, 2)
    np.testing.assert_array_equal(array, np.stack([values[name] for name in "RGB"]))
    with pytest.raises(InputError, match="colours"):
        read_labels(tmp_path / "x.nii.gz")


@pytest.mark.parametrize(
    ("value", "message"),
    [(0.5, "whole numbers, got 0.5"), (-1.0, "0 to 254, got -1"), (300.0, "to 300"), (255.0, "255"), (np.nan, "NaN")],
)
def test_values_that_are_no_classes_are_refused_by_name(tmp_path, value, message):
    array = np.zeros((3, 3, 3), np.float32)
    array[0, 0, 0] = value
    write_map(tmp_path / "label.nii.gz", array, Geometry((3, 3, 3), np.eye(4)))
    with pytest.raises(InputError, match=rf"label\.nii\.gz.*{message}"):
        read_labels(tmp_path / "label.nii.gz")


def test_whole_floats_are_classes_and_a_value_may_stand_for_unjudged(tmp_path):
    array = np.array([0, 1, 2, 3], np.float64).reshape(4, 1, 1)
    nib.save(nib.Nifti1Image(array, np.eye(4)), tmp_path / "x.nii")
    assert read_labels(tmp_path / "x.nii").values == (0, 1, 2, 3)
    assert read_labels(tmp_path / "x.nii", unjudged=3).values == (0, 1, 2, 255)


def test_missing_unknown_and_foreign_files(tmp_path):
    (tmp_path / "x.txt").write_text("hello")
    (tmp_path / "x.nii.gz").write_text("hello")
    with pytest.raises(InputError, match="there is no file"):
        read_volume(tmp_path / "none.nii.gz")
    with pytest.raises(InputError, match=r"x\.txt: expected NIfTI"):
        read_volume(tmp_path / "x.txt")
    with pytest.raises(InputError, match="not a NIfTI file"):
        read_volume(tmp_path / "x.nii.gz")


def test_writing_refuses_what_does_not_fit(tmp_path):
    geometry = Geometry((2, 2, 2), np.eye(4))
    with pytest.raises(InputError, match="shape"):
        write_segmentation(tmp_path / "x.nii.gz", np.zeros((2, 2, 3), np.uint8), geometry)
    with pytest.raises(InputError, match="0 to 254"):
        write_segmentation(tmp_path / "x.nii.gz", np.full((2, 2, 2), 256), geometry)
    with pytest.raises(InputError, match="shape"):
        write_map(tmp_path / "x.nii.gz", np.zeros((2, 2), np.float32), geometry)
    with pytest.raises(InputError, match="end in"):
        write_segmentation(tmp_path / "x.png", np.zeros((2, 2, 2), np.uint8), geometry)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_random_damage_is_read_or_refused_but_never_raises_otherwise(tmp_path, suffix, capfd):
    values = np.random.default_rng(1).integers(0, 9, (6, 5, 4)).astype(np.int16)
    nib.save(nib.Nifti1Image(values, np.eye(4)), tmp_path / f"x{suffix}")
    whole, rng, refused = (tmp_path / f"x{suffix}").read_bytes(), np.random.default_rng(2), 0
    for _ in range(300):
        damaged = bytearray(whole)
        for place in rng.integers(0, len(whole), 4):
            damaged[place] = rng.integers(0, 256)
        (tmp_path / f"y{suffix}").write_bytes(damaged)
        for read in (read_volume, read_labels):
            try:
                read(tmp_path / f"y{suffix}")
            except InputError:
                refused += 1
    assert refused > 100
    assert capfd.readouterr().err == ""


def test_files_of_other_writers(shared_data):
    """Real and fuzzed files of a NIfTI reader's own tests: read, or refused in one sentence."""
    folder = shared_data / "formats" / "nifti_rs" / "resources"
    read, refused = 0, []
    for path in sorted(folder.rglob("*.nii")) + sorted(folder.rglob("*.nii.gz")):
        try:
            volume = read_volume(path)
        except InputError as error:
            refused.append((path.name, str(error)))
        else:
            np.testing.assert_allclose(volume.geometry.affine, nib.load(path).affine)
            read += 1
    assert all(name in message for name, message in refused)
    assert read >= 10
    assert len(refused) >= 5


@pytest.mark.parametrize("seed", range(12))
def test_channels_stored_with_other_axes_keep_every_voxel(tmp_path: Path, seed: int) -> None:
    """Turned exactly: interpolation would leave faces out whose places come out a rounding error outside."""
    rng = np.random.default_rng(seed)
    shape = tuple(int(n) for n in rng.integers(3, 9, 3))
    affine = np.eye(4)
    affine[:3, :3] = Rotation.random(random_state=seed).as_matrix() * rng.uniform(0.3, 3, 3)
    affine[:3, 3] = rng.uniform(-200, 200, 3)
    geometry = Geometry(shape, affine)
    values = rng.uniform(1, 2, shape).astype(np.float32)
    order, flips = rng.permutation(3), rng.integers(0, 2, 3).astype(bool)
    other = np.transpose(values, order)
    matrix = np.zeros((4, 4))
    matrix[3, 3] = 1
    for axis, (source, flip) in enumerate(zip(order, flips, strict=True)):
        matrix[source, axis] = -1 if flip else 1
        matrix[source, 3] += shape[source] - 1 if flip else 0
        other = np.flip(other, axis) if flip else other
    write_map(tmp_path / "a_0000.nii.gz", values, geometry)
    write_map(tmp_path / "a_0001.nii.gz", np.ascontiguousarray(other), Geometry(other.shape, affine @ matrix))
    both = read_volume([tmp_path / "a_0000.nii.gz", tmp_path / "a_0001.nii.gz"]).array
    np.testing.assert_array_equal(both[1], both[0])


def test_an_axis_longer_than_nifti_holds_is_refused_before_writing(tmp_path: Path) -> None:
    geometry = Geometry((40_000, 1, 1), np.eye(4))
    with pytest.raises(InputError, match="40000 voxels along an axis, NIfTI holds 32767"):
        write_segmentation(tmp_path / "a.nii.gz", np.zeros(geometry.shape, np.uint8), geometry)
    assert not list(tmp_path.iterdir())
