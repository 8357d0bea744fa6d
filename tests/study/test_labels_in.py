"""Import of labels that other programs made: names, values, grids, clashes; and of scans in several channels."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk  # noqa: N813
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian

from maskmatch_med.errors import InputError, StudyError
from maskmatch_med.io import read_volume, write_map, write_segmentation
from maskmatch_med.io.cases import find_scans
from maskmatch_med.study import ImportOptions, Study, check_study, import_scans
from maskmatch_med.volume import Geometry

SHAPE = (8, 7, 6)
GEOMETRY = Geometry(SHAPE, np.array([[-1.0, 0, 0, 3], [0, -1.0, 0, 4], [0, 0, 2.0, 5], [0, 0, 0, 1.0]]))
BOX = np.zeros(SHAPE, np.uint8)
BOX[2:6, 1:5, 1:4] = 1


def _scan(path: Path, seed: int = 0, geometry: Geometry = GEOMETRY) -> Path:
    values = np.random.default_rng(seed).normal(size=geometry.shape).astype(np.float32)
    write_map(path, values, geometry)
    return path


def _slicer(path: Path, values: np.ndarray, names: dict[str, int], start: tuple[int, ...] = (0, 0, 0)) -> Path:
    """A .seg.nrrd by SimpleITK, on the part of GEOMETRY that begins at voxel ``start``."""
    image = sitk.GetImageFromArray(values.astype(np.uint8).T)
    image.SetSpacing((1.0, 1.0, 2.0))
    lps = np.diag([-1.0, -1, 1]) @ (GEOMETRY.affine[:3, :3] @ np.array(start) + GEOMETRY.affine[:3, 3])
    image.SetOrigin(lps.tolist())
    for number, (name, value) in enumerate(names.items()):
        keys = {"ID": f"S{number}", "Name": name, "LabelValue": str(value), "Layer": "0", "Color": "0 1 0"}
        for key, text in keys.items():
            image.SetMetaData(f"Segment{number}_{key}", text)
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(image, str(path))
    return path


def test_classes_follow_their_names_whatever_their_values(tmp_path):
    source = tmp_path / "scans"
    for seed, name in enumerate("ab"):
        _scan(source / f"{name}.nii.gz", seed)
    _slicer(source / "a.seg.nrrd", BOX * 1, {"liver": 1})
    _slicer(source / "b.seg.nrrd", BOX * 1 + np.roll(BOX, 3, 0) * (BOX == 0) * 2, {"spleen": 1, "liver": 2})
    summary = import_scans(source, tmp_path / "study")
    study = Study.open(tmp_path / "study")
    assert study.label_names == {"background": 0, "liver": 1, "spleen": 2}
    assert study.label_colours == {"liver": "#00ff00", "spleen": "#00ff00"}
    np.testing.assert_array_equal(study.case("a").read_label().array, BOX)
    np.testing.assert_array_equal(study.case("b").read_label().array == 2, BOX == 1)
    sentence = "renumbered by name: spleen 1 to 2, liver 2 to 1"
    assert any(sentence in note for note in summary.notes)
    assert any(sentence in note for note in study.case("b").label.notes)
    assert json.loads((tmp_path / "study/dataset.json").read_text())["label_colours"]["liver"] == "#00ff00"
    assert not [f for f in check_study(tmp_path / "study") if f.severity == "error"]


def test_a_part_of_the_grid_is_put_into_its_place_exactly(tmp_path):
    _scan(tmp_path / "s/a.nii.gz")
    _slicer(tmp_path / "s/a.seg.nrrd", BOX[2:6, 1:5, 1:4], {"liver": 1}, start=(2, 1, 1))
    summary = import_scans(tmp_path / "s", tmp_path / "study")
    np.testing.assert_array_equal(Study.open(tmp_path / "study").case("a").read_label().array, BOX)
    assert any("held a part of its scan's grid" in note for note in summary.notes)
    _slicer(tmp_path / "s/a.seg.nrrd", BOX[2:6, 1:5, 1:4], {"liver": 1}, start=(6, 1, 1))
    with pytest.raises(InputError, match=r"24 labelled voxels of .* lie outside its scan"):
        import_scans(tmp_path / "s", tmp_path / "other")


FINE = Geometry(
    (16, 14, 12), GEOMETRY.affine @ np.diag([0.5, 0.5, 0.5, 1]) + np.array([[0, 0, 0, 0.25]] * 3 + [[0] * 4])
)


def _nearest_by_sitk(labels: np.ndarray, source: Geometry, target: Geometry) -> np.ndarray:
    def image(array: np.ndarray, geometry: Geometry) -> sitk.Image:
        made = sitk.GetImageFromArray(array.T)
        lps = np.diag([-1.0, -1, 1]) @ geometry.affine[:3]
        made.SetSpacing(geometry.spacing_mm)
        made.SetDirection((lps[:, :3] / geometry.spacing_mm).ravel().tolist())
        made.SetOrigin(lps[:, 3].tolist())
        return made

    reference = image(np.zeros(target.shape, np.uint8), target)
    moved = sitk.Resample(image(labels, source), reference, sitk.Transform(), sitk.sitkNearestNeighbor, 255)
    return sitk.GetArrayFromImage(moved).T


@pytest.mark.parametrize("turn_degrees", [0, 20])
def test_labels_on_another_grid_only_with_resample(tmp_path, turn_degrees):
    angle = np.deg2rad(turn_degrees)
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    grid = Geometry(FINE.shape, turn @ FINE.affine)
    labels = np.zeros(grid.shape, np.uint8)
    labels[4:12, 3:9, 2:9] = 1
    _scan(tmp_path / "s/a.nii.gz")
    write_segmentation(tmp_path / "s/labels/a.nii.gz", labels, grid)
    with pytest.raises(InputError, match=r"a\.nii\.gz has \(16, 14, 12\) voxels, its scan .*--resample"):
        import_scans(tmp_path / "s", tmp_path / "study")
    assert not (tmp_path / "study").exists()
    summary = import_scans(tmp_path / "s", tmp_path / "study", ImportOptions(resample=True))
    version = Study.open(tmp_path / "study").case("a").label
    expected = _nearest_by_sitk(labels, grid, GEOMETRY)
    got = version.read().array
    assert (got == 1).sum() > 20
    assert (got != expected).mean() < 0.02  # where two voxels are equally near, and at the rim
    assert "by nearest neighbour, from 16×14×12 voxels" in version.notes[0]
    assert any(version.notes[0] in note for note in summary.notes)
    assert ("is not judged" in version.notes[0]) == bool((got == 255).any())


def test_resampling_labels_of_another_place_is_refused(tmp_path):
    _scan(tmp_path / "s/a.nii.gz")
    far = Geometry(SHAPE, GEOMETRY.affine + np.array([[0, 0, 0, 500.0]] + [[0] * 4] * 3))
    write_segmentation(tmp_path / "s/labels/a.nii.gz", BOX, far)
    with pytest.raises(InputError, match="not in the same space"):
        import_scans(tmp_path / "s", tmp_path / "study", ImportOptions(resample=True))


def test_itksnap_names_and_the_label_file_of_one_scan(tmp_path):
    _scan(tmp_path / "s/a.nii.gz")
    write_segmentation(tmp_path / "seg/Segmentation.nii.gz", BOX * 2, GEOMETRY)
    lines = '1 255 0 0 1 1 1 "caput"\n2 0 0 255 1 1 1 "acetabulum"\n'
    (tmp_path / "seg/labels.label").write_text(lines)
    options = ImportOptions(labels_dir=tmp_path / "seg/Segmentation.nii.gz")
    import_scans(tmp_path / "s", tmp_path / "study", options)
    study = Study.open(tmp_path / "study")
    assert study.label_names == {"background": 0, "caput": 1, "acetabulum": 2}
    assert study.case("a").read_label().values == (0, 2)
    assert study.label_colours["acetabulum"] == "#0000ff"


def _two(tmp_path: Path) -> Path:
    for seed, name in enumerate("ab"):
        _scan(tmp_path / f"s/{name}.nii.gz", seed)
    return tmp_path / "s"


def test_clashes_of_names_and_values_are_said_in_one_sentence(tmp_path):
    source = _two(tmp_path)
    _slicer(source / "a.seg.nrrd", BOX, {"liver": 1})
    _slicer(source / "b.seg.nrrd", BOX, {"Liver": 1})
    with pytest.raises(InputError, match=r"calls a class 'liver', .* 'Liver'"):
        import_scans(source, tmp_path / "study")
    _slicer(source / "a.seg.nrrd", BOX * 3, {"liver": 3})
    (source / "b.seg.nrrd").unlink()
    write_segmentation(source / "b_seg.nii.gz", BOX, GEOMETRY)
    with pytest.raises(InputError, match=r"b_seg\.nii\.gz names no classes, .*a\.seg\.nrrd"):
        import_scans(source, tmp_path / "study")
    with pytest.raises(InputError, match=r"a\.seg\.nrrd names the class 'liver', which is not among spleen"):
        import_scans(source, tmp_path / "study", ImportOptions(label_names=("spleen",)))
    assert not (tmp_path / "study").exists()


def test_plain_labels_beside_named_ones_of_the_same_values(tmp_path):
    source = _two(tmp_path)
    _slicer(source / "a.seg.nrrd", BOX, {"liver": 1})
    write_segmentation(source / "b_seg.nii.gz", BOX, GEOMETRY)
    import_scans(source, tmp_path / "study")
    study = Study.open(tmp_path / "study")
    assert study.label_names == {"background": 0, "liver": 1}
    _scan(tmp_path / "more/c.nii.gz", 9)
    _slicer(tmp_path / "more/c.seg.nrrd", BOX, {"kidney": 1})
    with pytest.raises(InputError, match="names the class 'kidney', which is not among liver"):
        import_scans(tmp_path / "more", tmp_path / "study")
    _slicer(tmp_path / "more/c.seg.nrrd", BOX * 4, {"liver": 4})
    import_scans(tmp_path / "more", tmp_path / "study")
    assert Study.open(tmp_path / "study").case("c").read_label().values == (0, 1)


def test_names_that_a_program_gave_count_as_none(tmp_path):
    source = _two(tmp_path)
    _slicer(source / "a.seg.nrrd", BOX, {"Segment_1": 1})
    import_scans(source, tmp_path / "study", ImportOptions(label_names=("tumour",)))
    assert Study.open(tmp_path / "study").label_names == {"background": 0, "tumour": 1}


def test_brats_channels_on_other_grids_are_resampled_and_recorded(tmp_path):
    for name in ("B1", "B2"):
        _scan(tmp_path / f"s/{name}/{name}_t1.nii.gz", 1)
        _scan(tmp_path / f"s/{name}/{name}_flair.nii.gz", 2, FINE if name == "B2" else GEOMETRY)
        write_segmentation(tmp_path / f"s/{name}/{name}_seg.nii.gz", BOX, GEOMETRY)
    summary = import_scans(tmp_path / "s", tmp_path / "study")
    study = Study.open(tmp_path / "study")
    assert study.channel_names == ("t1", "flair")
    assert summary.labelled == ("B1", "B2")
    assert study.source("B1").notes == ()
    assert study.source("B2").notes == ("B2_flair.nii.gz was resampled to the grid of B2_t1.nii.gz",)
    assert any("B2_flair.nii.gz was resampled" in note for note in summary.notes)
    paths = [tmp_path / f"s/B2/B2_{end}.nii.gz" for end in ("t1", "flair")]
    np.testing.assert_allclose(study.case("B2").read_image().array, read_volume(paths).array, rtol=1e-6)


def test_a_table_of_channels_also_of_other_formats(tmp_path):
    for name in "ab":
        for folder, seed in (("pre", 1), ("post", 2)):
            (tmp_path / f"s/{folder}").mkdir(parents=True, exist_ok=True)
            values = np.random.default_rng(seed).integers(-9, 999, SHAPE[::-1], dtype=np.int16)
            sitk.WriteImage(sitk.GetImageFromArray(values), str(tmp_path / f"s/{folder}/{name}.mha"))
    table = {"before": "pre/*.mha", "after": "post/*.mha"}
    summary = import_scans(tmp_path / "s", tmp_path / "study", ImportOptions(channels=table))
    study = Study.open(tmp_path / "study")
    assert (study.channel_names, summary.added) == (("before", "after"), ("a", "b"))
    stored = sitk.ReadImage(str(study.case("a").image_paths[1]))
    assert stored.GetPixelIDTypeAsString() == "16-bit signed integer"
    expected = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "s/post/a.mha")))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(stored), expected)
    assert study.source("a").format == "metaimage"
    assert import_scans(tmp_path / "s", tmp_path / "study", ImportOptions(channels=table)).unchanged == ("a", "b")


def test_frames_and_magnitude(tmp_path):
    import nibabel as nib

    values = np.random.default_rng(0).normal(size=(*SHAPE, 5)).astype(np.float32)
    (tmp_path / "s").mkdir()
    nib.save(nib.Nifti1Image(values, GEOMETRY.affine), tmp_path / "s/a.nii.gz")
    with pytest.raises(InputError, match="--frames"):
        import_scans(tmp_path / "s", tmp_path / "study")
    summary = import_scans(tmp_path / "s", tmp_path / "study", ImportOptions(frames=(0, 3)))
    study = Study.open(tmp_path / "study")
    np.testing.assert_allclose(study.case("a").read_image().array, np.moveaxis(values[..., [0, 3]], -1, 0))
    assert any("of the 5 frames of a.nii.gz only 0, 3 were taken" in note for note in summary.notes)
    assert import_scans(tmp_path / "s", tmp_path / "study", ImportOptions(frames=(0, 3))).unchanged == ("a",)
    for other in ((0, 2), (3, 0), (1,)):
        with pytest.raises(StudyError, match=r"holds the frames 0, 3 of .*a.nii.gz, not"):
            import_scans(tmp_path / "s", tmp_path / "study", ImportOptions(frames=other))
    for wrong in ((99,), (-1, 0), (0, 0)):
        with pytest.raises(InputError, match="frame"):
            import_scans(tmp_path / "s", tmp_path / "study", ImportOptions(frames=wrong))
        with pytest.raises(InputError, match="frame"):
            import_scans(tmp_path / "s", tmp_path / "new", ImportOptions(frames=wrong))
    assert not (tmp_path / "new").exists()
    (tmp_path / "c").mkdir()
    nib.save(nib.Nifti1Image((values[..., 0] * (3 + 4j)).astype(np.complex64), GEOMETRY.affine), tmp_path / "c/z.nii")
    with pytest.raises(InputError, match="--magnitude"):
        import_scans(tmp_path / "c", tmp_path / "complex")
    import_scans(tmp_path / "c", tmp_path / "complex", ImportOptions(magnitude=True))
    found = Study.open(tmp_path / "complex").case("z").read_image().array[0]
    np.testing.assert_allclose(found, 5 * np.abs(values[..., 0]), rtol=1e-5)


def test_values_with_gaps_make_empty_classes_and_that_is_said(tmp_path):
    _scan(tmp_path / "s/images/n.nii.gz")
    write_segmentation(tmp_path / "s/labels/n.nii.gz", BOX * np.uint8(5), GEOMETRY)
    summary = import_scans(tmp_path / "s", tmp_path / "study")
    assert len(Study.open(tmp_path / "study").label_names) == 6
    assert any(note.startswith("4 of the 5 classes, such as class_1, occur in no label") for note in summary.notes)
    write_segmentation(tmp_path / "s/labels/n.nii.gz", BOX, GEOMETRY)
    assert not any("occur in no label" in note for note in import_scans(tmp_path / "s", tmp_path / "other").notes)


def test_chosen_values_of_any_size_become_the_classes(tmp_path):
    _scan(tmp_path / "in/a.nii.gz")
    values = np.zeros(SHAPE, np.int32)
    values[2:4, 2, 2], values[4, 2, 2], values[5, 2, 2], values[6, 2, 2] = 17, 255, 11101, 1
    image = sitk.GetImageFromArray(values.T)
    image.CopyInformation(sitk.ReadImage(str(tmp_path / "in/a.nii.gz")))
    sitk.WriteImage(image, str(tmp_path / "in/a_seg.nii.gz"))
    options = ImportOptions(label_names={"left": (17,), "cortex": (11101, 255)})
    summary = import_scans(tmp_path / "in", tmp_path / "study", options)
    study = Study.open(tmp_path / "study")
    assert study.label_names == {"background": 0, "left": 1, "cortex": 2}
    label = study.case("a").read_label()
    assert label is not None
    np.testing.assert_array_equal(label.array, np.select([values == 17, values > 200], [1, 2]))
    assert "the values 1 of a_seg.nii.gz name no class and became background" in " ".join(summary.notes)
    assert import_scans(tmp_path / "in", tmp_path / "study", options).unchanged == ("a",)


@pytest.mark.parametrize("wrong", [{"a": (1,), "b": (1,)}, {"a": (0,)}, {"a": (2,), "background": (1,)}])
def test_chosen_values_that_clash_are_refused(tmp_path, wrong):
    _scan(tmp_path / "in/a.nii.gz")
    with pytest.raises(InputError, match="each value of a label needs one name"):
        import_scans(tmp_path / "in", tmp_path / "study", ImportOptions(label_names=wrong))


def _values(path: Path, values: np.ndarray) -> None:
    image = sitk.GetImageFromArray(values.T)
    image.CopyInformation(sitk.ReadImage(str(path.with_name(path.name.replace("_seg", "")))))
    sitk.WriteImage(image, str(path))


def test_further_labels_are_read_by_the_values_that_were_chosen(tmp_path):
    swapped, plain = np.zeros(SHAPE, np.int16), np.zeros(SHAPE, np.uint8)
    swapped[2, 2, 2], swapped[4, 2, 2], plain[3, 3, 3] = 2, 1, 1
    for name in "ab":
        _scan(tmp_path / name / f"{name}.nii.gz", ord(name))
        _values(tmp_path / name / f"{name}_seg.nii.gz", swapped)
    options = ImportOptions(label_names={"tumour": (2,), "kidney": (1,)})
    import_scans(tmp_path / "a", tmp_path / "study", options)
    notes = import_scans(tmp_path / "b", tmp_path / "study").notes
    assert any("read as in imports before: tumour 2, kidney 1" in note for note in notes)
    labels = [Study.open(tmp_path / "study").case(name).read_label() for name in "ab"]
    assert [label.array[2, 2, 2] for label in labels] == [1, 1]
    assert [label.array[4, 2, 2] for label in labels] == [2, 2]
    for other in ({"tumour": (1,), "kidney": (2,)}, {"tumour": (2,), "kidney": (1, 3)}):
        with pytest.raises(InputError, match='"tumour=2,kidney=1"'):
            import_scans(tmp_path / "a", tmp_path / "study", ImportOptions(label_names=other))


def test_labels_without_a_chosen_value_keep_their_own(tmp_path):
    values, plain = np.zeros(SHAPE, np.int16), np.zeros(SHAPE, np.int16)
    values[2, 2, 2], plain[3, 3, 3] = 17, 1
    for name, label in (("a", values), ("b", plain)):
        _scan(tmp_path / name / f"{name}.nii.gz", ord(name))
        _values(tmp_path / name / f"{name}_seg.nii.gz", label)
    import_scans(tmp_path / "a", tmp_path / "study", ImportOptions(label_names={"left": (17,)}))
    import_scans(tmp_path / "b", tmp_path / "study")
    label = Study.open(tmp_path / "study").case("b").read_label()
    assert (label.array[3, 3, 3], label.array.sum()) == (1, 1)


def test_not_judged_stays_so_beside_chosen_values(tmp_path):
    source = tmp_path / "in"
    values = np.zeros(SHAPE, np.uint8)
    values[2, 2, 2], values[4, 2, 2], values[5, 2, 2] = 1, 2, 3
    _scan(source / "imagesTr/a_0000.nii.gz")
    write_segmentation(source / "labelsTr/a.nii.gz", values, GEOMETRY)
    content = {"channel_names": {"0": "CT"}, "labels": {"background": 0, "a": 1, "b": 2, "ignore": 3}}
    (source / "dataset.json").write_text(json.dumps({**content, "numTraining": 1, "file_ending": ".nii.gz"}))
    import_scans(source, tmp_path / "study", ImportOptions(label_names={"ab": (1, 2)}))
    case = Study.open(tmp_path / "study").case("a")
    assert case.judged == "partial"
    assert [case.read_label().array[at, 2, 2] for at in (2, 4, 5)] == [1, 1, 255]


def test_values_that_no_label_holds_and_labels_that_are_none(tmp_path):
    _scan(tmp_path / "in/a.nii.gz")
    values = np.zeros(SHAPE, np.float32)
    values[2, 2, 2] = 17
    _values(tmp_path / "in/a_seg.nii.gz", values)
    options = ImportOptions(label_names={"left": (17,), "right": (35,)})
    notes = import_scans(tmp_path / "in", tmp_path / "study", options).notes
    assert any("no label holds 35 of --label-names" in note for note in notes)
    values[0, 0, 0] = np.inf
    _values(tmp_path / "in/a_seg.nii.gz", values)
    with pytest.raises(InputError, match="needs whole numbers"):
        import_scans(tmp_path / "in", tmp_path / "other", options)
    with pytest.raises(InputError, match="a class called 'ignore'"):
        import_scans(tmp_path / "in", tmp_path / "other", ImportOptions(label_names={"ignore": (17,)}))
    (tmp_path / "in/a_seg.txt").write_text('0 0 0 0 0 0 0 "Clear"\n17 255 0 0 1 1 1 "Left"\n')
    with pytest.raises(InputError, match="names its classes itself"):
        import_scans(tmp_path / "in", tmp_path / "other", options)


def test_labels_beside_scans_of_one_folder_a_patient(tmp_path):
    for seed, patient in enumerate(("p1", "p2", "p3")):
        _scan(tmp_path / f"s/{patient}/imaging.nii.gz", seed)
        if patient != "p3":
            write_segmentation(tmp_path / f"s/{patient}/segmentation.nii.gz", BOX, GEOMETRY)
    summary = import_scans(tmp_path / "s", tmp_path / "study")
    assert (summary.added, summary.labelled) == (("p1", "p2", "p3"), ("p1", "p2"))
    label = Study.open(tmp_path / "study").case("p2").label
    assert label is not None
    np.testing.assert_array_equal(label.read().array, BOX)
    shutil.move(tmp_path / "s/p1/segmentation.nii.gz", tmp_path / "s/p1/imaging_seg.nii.gz")
    assert import_scans(tmp_path / "s", tmp_path / "again").labelled == ("p1", "p2")


def test_a_label_of_another_name_is_not_given_to_the_scan_that_its_folder_is_called_after(tmp_path):
    for seed, name in enumerate(("head", "neck")):
        _scan(tmp_path / f"head/{name}.nii.gz", seed)
    write_segmentation(tmp_path / "head/foo_seg.nii.gz", BOX, GEOMETRY)
    assert import_scans(tmp_path / "head", tmp_path / "study").labelled == ()


def test_a_bad_label_among_good_ones_leaves_nothing_written(tmp_path):
    for seed in range(12):
        _scan(tmp_path / f"s/images/n{seed:02d}.nii.gz", seed)
        write_segmentation(tmp_path / f"s/labels/n{seed:02d}.nii.gz", BOX, GEOMETRY)
    bad = tmp_path / "s/labels/n11.nii.gz"
    bad.write_bytes(bad.read_bytes()[:-30])
    with pytest.raises(InputError, match=r"n11\.nii\.gz"):
        import_scans(tmp_path / "s", tmp_path / "study")
    assert not (tmp_path / "study").exists()


def test_one_scan_is_told_what_it_can_give(tmp_path):
    _scan(tmp_path / "s/a.nii.gz")
    write_segmentation(tmp_path / "s/a_seg-manual.nii.gz", BOX, GEOMETRY)
    summary = import_scans(tmp_path / "s", tmp_path / "study")
    assert summary.labelled == ("a",)
    assert any("one scan with its label shows that training runs" in note for note in summary.notes)
    _scan(tmp_path / "s/b.nii.gz", 4)
    summary = import_scans(tmp_path / "s", tmp_path / "study")
    assert any("none is left to validate on" in note for note in summary.notes)


def _dicom_series(folder: Path, identifier: str) -> None:
    """A CT of the grid of GEOMETRY, a file a slice, as pydicom writes it; the folder and files tell who it is of."""
    folder.mkdir(parents=True, exist_ok=True)
    for z in range(SHAPE[2]):
        slice_ = Dataset()
        slice_.file_meta = FileMetaDataset()
        slice_.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        slice_.SOPClassUID = slice_.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
        slice_.SOPInstanceUID = slice_.file_meta.MediaStorageSOPInstanceUID = f"{identifier}.{z + 1}"
        slice_.SeriesInstanceUID, slice_.Modality, slice_.PatientName = identifier, "CT", "Doe^Jane"
        slice_.Columns, slice_.Rows, slice_.InstanceNumber = SHAPE[0], SHAPE[1], z + 1
        slice_.PixelSpacing, slice_.SliceThickness = [1.0, 1.0], 2.0
        slice_.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        slice_.ImagePositionPatient = [-3.0, -4.0, 5.0 + 2 * z]
        slice_.BitsAllocated = slice_.BitsStored = 16
        slice_.HighBit, slice_.PixelRepresentation, slice_.SamplesPerPixel = 15, 1, 1
        slice_.PhotometricInterpretation, slice_.RescaleSlope, slice_.RescaleIntercept = "MONOCHROME2", 1, -1000
        draw = np.random.default_rng(z).integers(0, 2000, SHAPE[1::-1], dtype=np.int16)
        slice_.PixelData = draw.tobytes()
        slice_.save_as(folder / f"{z}_{identifier}.dcm", enforce_file_format=True)


def _dicom_label(path: Path, series: str) -> None:
    """BOX as a label map of the slices 1 to 3, the others left out."""
    seg, segment, reference = Dataset(), Dataset(), Dataset()
    seg.file_meta = FileMetaDataset()
    seg.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    seg.SOPClassUID = seg.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.66.7"
    seg.SOPInstanceUID = seg.file_meta.MediaStorageSOPInstanceUID = "1.2.9"
    seg.Modality, seg.SegmentationType, seg.NumberOfFrames = "SEG", "LABELMAP", 3
    seg.Columns, seg.Rows, seg.BitsAllocated, seg.BitsStored, seg.HighBit = SHAPE[0], SHAPE[1], 8, 8, 7
    seg.PixelRepresentation, seg.SamplesPerPixel, seg.PhotometricInterpretation = 0, 1, "MONOCHROME2"
    segment.SegmentNumber, segment.SegmentLabel = 4, "Spleen"
    reference.SeriesInstanceUID = series
    seg.SegmentSequence, seg.ReferencedSeriesSequence = Sequence([segment]), Sequence([reference])
    shared, turn, measures = Dataset(), Dataset(), Dataset()
    turn.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    measures.PixelSpacing, measures.SliceThickness = [1.0, 1.0], 2.0
    shared.PlaneOrientationSequence, shared.PixelMeasuresSequence = Sequence([turn]), Sequence([measures])
    seg.SharedFunctionalGroupsSequence = Sequence([shared])
    frames = []
    for z in (1, 2, 3):
        frame, place = Dataset(), Dataset()
        place.ImagePositionPatient = [-3.0, -4.0, 5.0 + 2 * z]
        frame.PlanePositionSequence = Sequence([place])
        frames.append(frame)
    seg.PerFrameFunctionalGroupsSequence = Sequence(frames)
    seg.PixelData = (BOX[:, :, 1:4] * 4).astype(np.uint8).tobytes(order="F")
    seg.save_as(path, enforce_file_format=True)


@pytest.mark.parametrize("beside", [True, False])
def test_a_dicom_segmentation_finds_its_series_by_reference(tmp_path, beside):
    source = tmp_path / "Doe_Jane"
    _dicom_series(source / "one", "1.2.3")
    _dicom_series(source / "two", "1.2.4")
    folder = source / "seg" if beside else tmp_path / "elsewhere"
    folder.mkdir()
    _dicom_label(folder / "Doe_Jane_seg.dcm", "1.2.4")
    import_scans(source, tmp_path / "study", ImportOptions(labels_dir=None if beside else folder))
    study = Study.open(tmp_path / "study")
    assert study.label_names == {"background": 0, "Spleen": 1}
    assert len(study.cases()) == 2
    (case,) = study.labelled_cases()
    np.testing.assert_array_equal(case.read_label().array, BOX)
    assert case.judged == "complete"
    kept = [p.read_bytes() for part in ("sources", "history") for p in (tmp_path / "study" / part).rglob("*.json")]
    assert not any(b"Doe" in text for text in [*kept, (tmp_path / "study/dataset.json").read_bytes()])


def test_255_beside_classes_is_not_judged(tmp_path):
    _scan(tmp_path / "s/a.nii.gz")
    write_segmentation(tmp_path / "s/a_seg.nii.gz", np.where(BOX, BOX, np.uint8(255)), GEOMETRY)
    import_scans(tmp_path / "s", tmp_path / "study")
    case = Study.open(tmp_path / "study").case("a")
    assert (case.judged, case.read_label().values) == ("partial", (1, 255))
    assert Study.open(tmp_path / "study").label_names == {"background": 0, "foreground": 1}


def test_archives_and_trees_of_dicom_files(tmp_path):
    _dicom_series(tmp_path / "tree/deep/one", "1.2.3")
    _dicom_series(tmp_path / "packed", "1.2.4")
    for place in ("tree/deep", "archives", "archives/inner"):
        (tmp_path / place).mkdir(exist_ok=True, parents=True)
    shutil.make_archive(str(tmp_path / "archives/inner/p"), "zip", tmp_path / "packed")
    assert len(find_scans([tmp_path / "tree"]).cases) == 1
    (case,) = find_scans([tmp_path / "archives"]).cases
    assert case.series is not None
    import_scans(tmp_path / "archives", tmp_path / "study")
    study = Study.open(tmp_path / "study")
    expected = pydicom.dcmread(tmp_path / "packed/2_1.2.4.dcm").pixel_array.T - 1000.0
    np.testing.assert_array_equal(study.cases()[0].read_image().array[0, :, :, 2], expected)
    _scan(tmp_path / "archives/a.nii.gz")
    found = find_scans([tmp_path / "archives"])
    assert [one.name for one in found.cases] == ["a"]
    assert "its folder inner was not searched" in found.notes[0]


def test_scans_that_state_no_position_are_noted_and_check_repeats_it(tmp_path):
    values = np.random.default_rng(0).integers(0, 99, (5, 4, 3)).astype(np.uint8)
    (tmp_path / "s").mkdir()
    text = "NRRD0004\ntype: uchar\ndimension: 3\nsizes: 5 4 3\nencoding: raw\n"
    placed = "space: left-posterior-superior\nspace directions: (1,0,0) (0,1,0) (0,0,1)\nspace origin: (0,0,0)\n"
    for name, more in (("bare", ""), ("placed", placed)):
        content = (text + more + "\n").encode() + values.tobytes(order="F")
        (tmp_path / f"s/{name}.nrrd").write_bytes(content)
    import_scans(tmp_path / "s", tmp_path / "study")
    study = Study.open(tmp_path / "study")
    assert study.source("placed").notes == ()
    assert study.source("bare").notes[0].startswith("bare.nrrd states no position in the world")
    told = [f for f in check_study(tmp_path / "study") if "states no position" in f.message]
    assert [f.case for f in told] == ["bare"]
