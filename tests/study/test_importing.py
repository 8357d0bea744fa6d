"""Import: every layout, splits, repetition, clashes, and bad input that leaves the study as it was."""

from __future__ import annotations

import json
import shutil
import zipfile
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from maskmatch_med.errors import InputError, MaskMatchError, StudyError
from maskmatch_med.io import read_labels, write_map, write_segmentation
from maskmatch_med.study import ImportOptions, Study, import_scans
from maskmatch_med.volume import Geometry

GEOMETRY = Geometry((5, 4, 3), np.array([[-1.5, 0, 0, 3], [0, 2.0, 0, 4], [0, 0, 2.5, 5], [0, 0, 0, 1.0]]))


def _snapshot(folder: Path) -> dict[str, tuple[bytes, int]]:
    files = [p for p in folder.rglob("*") if p.is_file()]
    return {str(p.relative_to(folder)): (p.read_bytes(), p.stat().st_mtime_ns) for p in files}


def _array(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=GEOMETRY.shape).astype(np.float32)


def _labels(seed: int, highest: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, highest + 1, GEOMETRY.shape, dtype=np.uint8)


def _write_nnunet(folder: Path, names: str = "abc", **changes) -> Path:
    for seed, name in enumerate(names):
        write_map(folder / f"imagesTr/{name}_0000.nii.gz", _array(seed), GEOMETRY)
        write_segmentation(folder / f"labelsTr/{name}.nii.gz", _labels(seed), GEOMETRY)
    content = {
        "channel_names": {"0": "CT"},
        "labels": {"background": 0, "organ": 1},
        "numTraining": len(names),
        "file_ending": ".nii.gz",
        "name": "Small",
    }
    (folder / "dataset.json").write_text(json.dumps(content | changes))
    return folder


def _zipped(folder: Path, target: Path, top: str = "") -> Path:
    with zipfile.ZipFile(target, "w") as archive:
        for path in sorted(folder.rglob("*")):
            archive.write(path, f"{top}{path.relative_to(folder)}")
    return target


@pytest.mark.parametrize("link", [False, True])
def test_a_zip_of_a_data_set_is_what_its_folder_is(tmp_path: Path, link: bool) -> None:
    source = _write_nnunet(tmp_path / "data")
    archive = _zipped(source, tmp_path / "packed.zip", "Dataset001_Small/")
    options = ImportOptions(link=link)
    one = import_scans(source, tmp_path / "one", options)
    other = import_scans(archive, tmp_path / "new/place/other", options)
    assert (other.layout, other.added, other.labelled, other.notes) == (one.layout, one.added, one.labelled, one.notes)
    left, right = Study.open(tmp_path / "one"), Study.open(tmp_path / "new/place/other")
    assert (left.name, left.label_names) == (right.name, right.label_names)
    for name in "abc":
        for part in (f"imagesTr/{name}_0000.nii.gz", f"labelsTr/{name}.nii.gz"):
            assert (left.root / part).read_bytes() == (right.root / part).read_bytes()
    assert import_scans(archive, right.root).unchanged == ("a", "b", "c")
    assert {path.name for path in tmp_path.iterdir()} == {"data", "packed.zip", "one", "new"}
    assert {path.name for path in (tmp_path / "new/place").iterdir()} == {"other"}


def test_archives_in_a_folder_are_not_passed_over_in_silence(tmp_path: Path) -> None:
    _zipped(_write_nnunet(tmp_path / "data"), tmp_path / "packed.zip")
    (tmp_path / "in").mkdir()
    shutil.move(tmp_path / "packed.zip", tmp_path / "in")
    with pytest.raises(InputError, match=r"but in archives such as packed\.zip; give that by itself"):
        import_scans(tmp_path / "in", tmp_path / "study")
    write_map(tmp_path / "in/a.nii.gz", _array(1), GEOMETRY)
    notes = import_scans(tmp_path / "in", tmp_path / "study").notes
    assert any("packed.zip was not looked into" in note for note in notes)


def test_what_is_wrong_in_a_zip_is_told_by_its_name(tmp_path: Path) -> None:
    source = _write_nnunet(tmp_path / "data")
    (source / "imagesTr/b_0000.nii.gz").write_bytes(b"torn")
    archive = _zipped(source, tmp_path / "packed.zip")
    with pytest.raises(InputError, match=r"b_0000\.nii\.gz") as caught:
        import_scans(archive, tmp_path / "study")
    assert str(tmp_path / "packed.zip/imagesTr/b_0000.nii.gz") in str(caught.value)
    assert {path.name for path in tmp_path.iterdir()} == {"data", "packed.zip"}


def _subset(source: Path, target: Path, count: int, parts: tuple[str, str]) -> Path:
    """The first scans of the label order with their labels, one test scan, and splits that name them."""
    splits = json.loads((source / "splits.json").read_text())
    order, test = splits["label_order"][:count], splits["test"][:1]
    for part in parts:
        (target / part).mkdir(parents=True)
        for name in [*order, *test]:
            path = next(p for p in (source / part).iterdir() if p.name.startswith(name))
            shutil.copy(path, target / part / path.name)
    (target / "splits.json").write_text(json.dumps({"label_order": order, "test": test}))
    if (source / "dataset.json").is_file():
        content = json.loads((source / "dataset.json").read_text())
        if "training" in content:
            wanted = {*order, *test}
            content["training"] = [e for e in content["training"] if Path(e["image"]).name[:-7] in wanted]
        (target / "dataset.json").write_text(json.dumps(content))
    return target


@pytest.mark.parametrize(
    ("name", "parts", "layout", "channels", "labels", "dims"),
    [
        ("Task04_Hippocampus", ("imagesTr", "labelsTr"), "MSD", ("MRI",), ["Anterior", "Posterior"], 3),
        ("Dataset101_LeftAtriumHalf", ("imagesTr", "labelsTr"), "nnU-Net", ("MRI",), ["left_atrium"], 3),
        ("nuclei", ("images", "masks"), "folder", ("R", "G", "B"), ["foreground"], 2),
    ],
)
def test_real_data_sets(shared_data, tmp_path, name, parts, layout, channels, labels, dims):
    source = _subset(shared_data / name, tmp_path / "source", 5, parts)
    before = _snapshot(source)
    options = ImportOptions(splits=source / "splits.json", labelled=2)
    summary = import_scans(source, tmp_path / "study", options)
    order = json.loads((source / "splits.json").read_text())["label_order"]
    assert summary.layout == layout
    assert sorted(summary.labelled) == sorted(order[:2])
    assert sorted(summary.added) == sorted(order)
    assert len(summary.left_out) == 1
    study = Study.open(tmp_path / "study")
    assert (study.channel_names, list(study.label_names)[1:], study.spatial_dims) == (channels, labels, dims)
    assert sorted(c.name for c in study.labelled_cases()) == sorted(order[:2])
    assert _snapshot(source) == before
    _assert_same_content(study, source, parts, order[:2])

    first = _snapshot(tmp_path / "study")
    again = import_scans(source, tmp_path / "study", options)
    assert (again.added, again.labelled) == ((), ())
    assert {k: v for k, v in _snapshot(tmp_path / "study").items() if k != "study.sqlite"} == {
        k: v for k, v in first.items() if k != "study.sqlite"
    }
    more = import_scans(source, tmp_path / "study", ImportOptions(splits=source / "splits.json", labelled=4))
    assert (more.added, sorted(more.labelled)) == ((), sorted(order[2:4]))
    assert len(Study.open(tmp_path / "study").labelled_cases()) == 4


def _assert_same_content(study: Study, source: Path, parts: tuple[str, str], names: list[str]) -> None:
    for name in names:
        case = study.case(name)
        label = next(p for p in (source / parts[1]).iterdir() if p.name.startswith(name))
        np.testing.assert_array_equal(case.read_label().array, read_labels(label).array)
        image = next(p for p in (source / parts[0]).iterdir() if p.name.startswith(name))
        if image.suffix == ".png":
            with Image.open(image) as picture:
                pixels = np.asarray(picture)[..., :3].transpose(2, 1, 0)[..., None]
            np.testing.assert_array_equal(case.read_image().array, pixels)
        else:
            assert case.image_paths[0].read_bytes() == image.read_bytes()


def test_partial_labels_and_groups_survive_import(tmp_path):
    source = _write_nnunet(tmp_path / "source", labels={"background": 0, "organ": 1, "ignore": 2})
    labels = _labels(0)
    labels[3:] = 2
    write_segmentation(source / "labelsTr/a.nii.gz", labels, GEOMETRY)
    summary = import_scans(source, tmp_path / "study", ImportOptions(group="([ab])"))
    study = Study.open(tmp_path / "study")
    assert [case.judged for case in study.cases()] == ["partial", "complete", "complete"]
    assert [case.group for case in study.cases()] == ["a", "b", None]
    assert "does not match 1 names" in summary.notes[0]
    assert study.label_names == {"background": 0, "organ": 1}
    np.testing.assert_array_equal(study.case("a").read_label().array, np.where(labels == 2, 255, labels))
    back = import_scans(tmp_path / "study", tmp_path / "copy")
    assert back.layout == "nnU-Net"
    assert Study.open(tmp_path / "copy").case("a").judged == "partial"


def test_msd_with_channels_on_a_fourth_axis(tmp_path):
    source = tmp_path / "source"
    both = np.stack([_array(0), _array(1)], axis=-1)
    (source / "imagesTr").mkdir(parents=True)
    nib.save(nib.Nifti1Image(both, GEOMETRY.affine), source / "imagesTr/x.nii.gz")
    (source / "imagesTr/._x.nii.gz").write_bytes(b"mac")
    write_segmentation(source / "labelsTr/x.nii.gz", _labels(0), GEOMETRY)
    content = {
        "name": "Two",
        "modality": {"0": "FLAIR", "1": "T1w"},
        "labels": {"0": "background", "1": "tumour"},
        "training": [
            {"image": "./imagesTr/x.nii.gz", "label": "./labelsTr/x.nii.gz"},
            {"image": "./imagesTr/._x.nii.gz", "label": "./labelsTr/._x.nii.gz"},
        ],
    }
    (source / "dataset.json").write_text(json.dumps(content))
    import_scans(source, tmp_path / "study")
    study = Study.open(tmp_path / "study")
    assert study.channel_names == ("FLAIR", "T1w")
    np.testing.assert_array_equal(study.case("x").read_image().array, np.moveaxis(both, -1, 0))
    assert import_scans(source, tmp_path / "study").unchanged == ("x",)


def test_folder_of_nifti_with_labels_elsewhere_and_inferred_names(tmp_path):
    for seed, name in enumerate("ab"):
        write_map(tmp_path / f"scans/{name}.nii.gz", _array(seed), GEOMETRY)
        write_segmentation(tmp_path / f"truth/{name}_seg.nii", _labels(seed, highest=2), GEOMETRY)
    import_scans(tmp_path / "scans", tmp_path / "study", ImportOptions(labels_dir=tmp_path / "truth"))
    study = Study.open(tmp_path / "study")
    assert study.label_names == {"background": 0, "class_1": 1, "class_2": 2}
    assert study.channel_names == ("image",)
    named = ImportOptions(labels_dir=tmp_path / "truth", label_names=("x", "y"), channels=("CT",))
    import_scans(tmp_path / "scans", tmp_path / "named", named)
    assert Study.open(tmp_path / "named").label_names == {"background": 0, "x": 1, "y": 2}
    assert Study.open(tmp_path / "named").channel_names == ("CT",)


def test_scans_without_labels_then_labels(tmp_path):
    write_map(tmp_path / "scans/a.nii.gz", _array(0), GEOMETRY)
    import_scans(tmp_path / "scans/a.nii.gz", tmp_path / "study")
    assert Study.open(tmp_path / "study").case("a").judged == "none"
    write_segmentation(tmp_path / "truth/a.nii.gz", _labels(0, highest=2), GEOMETRY)
    summary = import_scans(tmp_path / "scans", tmp_path / "study", ImportOptions(labels_dir=tmp_path / "truth"))
    assert (summary.added, summary.labelled) == ((), ("a",))
    assert Study.open(tmp_path / "study").label_names == {"background": 0, "class_1": 1, "class_2": 2}


@pytest.mark.parametrize(
    ("highest", "expected"),
    [
        (1, {"background": 0, "tumour": 1, "edema": 2}),
        (2, {"background": 0, "tumour": 1, "edema": 2}),
        (3, {"background": 0, "tumour": 1, "edema": 2, "class_3": 3}),
    ],
)
def test_names_given_at_the_first_import_hold_for_labels_that_come_later(tmp_path, highest, expected):
    write_map(tmp_path / "scans/a.nii.gz", _array(0), GEOMETRY)
    import_scans(tmp_path / "scans", tmp_path / "study", ImportOptions(label_names=("tumour", "edema")))
    write_segmentation(tmp_path / "truth/a.nii.gz", _labels(0, highest), GEOMETRY)
    import_scans(tmp_path / "scans", tmp_path / "study", ImportOptions(labels_dir=tmp_path / "truth"))
    assert Study.open(tmp_path / "study").label_names == expected
    assert json.loads((tmp_path / "study/dataset.json").read_text())["labels"].items() >= expected.items()


@pytest.mark.parametrize("names", [("z",), ("a", "a_seg")])
def test_labels_beside_the_scans_that_do_not_fit_are_noted_unless_asked_for(tmp_path, names):
    write_map(tmp_path / "scans/a.nii.gz", _array(0), GEOMETRY)
    for name in names:
        write_segmentation(tmp_path / f"labels/{name}.nii.gz", _labels(0), GEOMETRY)
    summary = import_scans(tmp_path / "scans", tmp_path / "study")
    assert (summary.added, summary.labelled) == (("a",), ())
    assert str(tmp_path / "labels") in summary.notes[0]
    assert "--labels" in summary.notes[0]
    with pytest.raises(InputError, match="labels"):
        import_scans(tmp_path / "scans", tmp_path / "other", ImportOptions(labels_dir=tmp_path / "labels"))


def test_colour_masks_beside_a_folder_of_pictures(tmp_path):
    for name, colour in (("a", (255, 0, 0)), ("b", (0, 255, 0))):
        (tmp_path / "images").mkdir(exist_ok=True)
        (tmp_path / "masks").mkdir(exist_ok=True)
        Image.fromarray(np.full((4, 5), 80, np.uint8)).save(tmp_path / f"images/{name}.png")
        mask = np.zeros((4, 5, 3), np.uint8)
        mask[1:3, 2] = colour
        Image.fromarray(mask).save(tmp_path / f"masks/{name}.bmp")
    import_scans(tmp_path / "images", tmp_path / "study")
    study = Study.open(tmp_path / "study")
    assert study.label_names == {"background": 0, "class_1": 1, "class_2": 2}
    assert study.case("a").read_label().values == (0, 2)
    assert study.case("b").read_label().values == (0, 1)
    assert study.source("a").mask_colours.colours == ((0, 0, 0), (0, 255, 0), (255, 0, 0))


def test_a_label_stored_with_other_axes_is_turned_exactly(tmp_path):
    source = _write_nnunet(tmp_path / "source", "a")
    turn = GEOMETRY.to_canonical()
    write_segmentation(source / "labelsTr/a.nii.gz", turn.apply(_labels(0)), turn.target)
    import_scans(source, tmp_path / "study")
    study = Study.open(tmp_path / "study")
    np.testing.assert_array_equal(study.case("a").read_label().array, _labels(0))
    assert "other axes" in study.source("a").notes[0]


def test_labels_painted_in_the_study_are_kept(tmp_path):
    source = _write_nnunet(tmp_path / "source", "ab")
    (source / "splits.json").write_text(json.dumps({"label_order": ["a", "b"], "test": []}))
    splits = source / "splits.json"
    import_scans(source, tmp_path / "study", ImportOptions(splits=splits, labelled=1))
    study = Study.open(tmp_path / "study")
    study.add_label("b", _labels(7))
    study.add_label("a", _labels(8))
    summary = import_scans(source, tmp_path / "study", ImportOptions(splits=splits, labelled=2))
    assert summary.labelled == ()
    assert "had a label of their own, such as b" in summary.notes[0]
    for name, seed in (("a", 8), ("b", 7)):
        np.testing.assert_array_equal(Study.open(tmp_path / "study").case(name).read_label().array, _labels(seed))


def test_an_interrupted_import_is_completed(tmp_path):
    source = _write_nnunet(tmp_path / "source", "ab")
    import_scans(source, tmp_path / "study")
    (tmp_path / "study/sources/b.json").unlink()
    shutil.rmtree(tmp_path / "study/history/b")
    (tmp_path / "study/labelsTr/b.nii.gz").unlink()
    summary = import_scans(source, tmp_path / "study")
    assert (summary.added, summary.labelled) == (("b",), ("b",))
    (tmp_path / "study/imagesTr/a_0000.nii.gz").unlink()
    assert import_scans(source, tmp_path / "study").added == ("a",)


def test_linked_images_are_the_same_file(tmp_path):
    source = _write_nnunet(tmp_path / "source", "a")
    import_scans(source, tmp_path / "study", ImportOptions(link=True))
    assert (tmp_path / "study/imagesTr/a_0000.nii.gz").samefile(source / "imagesTr/a_0000.nii.gz")


def test_progress_is_told(tmp_path):
    told = []
    source = _write_nnunet(tmp_path / "source", "ab")
    import_scans(source, tmp_path / "study", progress=lambda done, total, text: told.append((done, total, text)))
    assert [done for done, _, _ in told] == [0, 0, 1, 2, 3, 4, 5, 6]
    assert [text for _, _, text in told[2:5]] == ["checking b", "importing a", "importing b"]
    assert told[-1] == (6, 6, "")


def _other_image(source: Path) -> None:
    write_map(source / "imagesTr/b_0000.nii.gz", _array(99), GEOMETRY)


def _other_label(source: Path) -> None:
    write_segmentation(source / "labelsTr/b.nii.gz", _labels(99), GEOMETRY)


@pytest.mark.parametrize("change", [_other_image, _other_label])
def test_the_same_name_with_other_bytes_is_refused(tmp_path, change):
    source = _write_nnunet(tmp_path / "source", "bc")
    import_scans(source, tmp_path / "study")
    before = _snapshot(tmp_path / "study")
    change(source)
    write_map(source / "imagesTr/a_0000.nii.gz", _array(5), GEOMETRY)
    with pytest.raises(StudyError, match="b"):
        import_scans(source, tmp_path / "study")
    assert _snapshot(tmp_path / "study") == before


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


def _declare(source: Path, **changes) -> None:
    content = json.loads((source / "dataset.json").read_text())
    (source / "dataset.json").write_text(json.dumps(content | changes))


BAD = {
    "truncated scan": (lambda s: _truncate(s / "imagesTr/c_0000.nii.gz"), "c_0000.nii.gz is cut off"),
    "truncated label": (lambda s: _truncate(s / "labelsTr/c.nii.gz"), r"c\.nii\.gz is cut off"),
    "undeclared value": (
        lambda s: write_segmentation(s / "labelsTr/c.nii.gz", _labels(0) * 7, GEOMETRY),
        r"label 7 is not among 0, 1, the values of the classes: .*c\.nii\.gz",
    ),
    "label of another shape": (
        lambda s: write_segmentation(
            s / "labelsTr/c.nii.gz", np.zeros((5, 4, 2), np.uint8), Geometry((5, 4, 2), GEOMETRY.affine)
        ),
        r"c\.nii\.gz has \(5, 4, 2\) voxels, its scan \(5, 4, 3\)",
    ),
    "label elsewhere": (
        lambda s: write_segmentation(
            s / "labelsTr/c.nii.gz", _labels(0), Geometry((5, 4, 3), np.diag([1.5, 2.0, 2.5, 1.0]))
        ),
        r"c\.nii\.gz lies elsewhere",
    ),
    "lost channel": (
        lambda s: shutil.copy(s / "imagesTr/a_0000.nii.gz", s / "imagesTr/a_0001.nii.gz"),
        "no channel b_0001",
    ),
    "gap in the labels": (lambda s: _declare(s, labels={"background": 0, "organ": 2}), "without gaps"),
    "regions": (lambda s: _declare(s, labels={"background": 0, "whole": [1, 2]}), "regions"),
    "no JSON": (lambda s: (s / "dataset.json").write_text("{"), "dataset.json is not valid JSON"),
    "splits name a stranger": (
        lambda s: (s / "splits.json").write_text(json.dumps({"label_order": ["a", "zz"], "test": []})),
        "names zz",
    ),
    "broken splits": (lambda s: (s / "splits.json").write_text("[]"), "splits.json"),
    "not enough to label": (
        lambda s: (s / "splits.json").write_text(json.dumps({"label_order": ["a"], "test": []})),
        "--labelled 2",
    ),
    "label missing": (lambda s: (s / "labelsTr/b.nii.gz").unlink(), "b is among the first 2 .* no label"),
}


@pytest.mark.parametrize("kind", BAD)
def test_bad_input_is_refused_in_one_sentence_and_leaves_the_study_as_it_was(tmp_path, kind):
    spoil, message = BAD[kind]
    good = _write_nnunet(tmp_path / "good", "x")
    import_scans(good, tmp_path / "study")
    before = _snapshot(tmp_path / "study")
    source = _write_nnunet(tmp_path / "source")
    (source / "splits.json").write_text(json.dumps({"label_order": ["a", "b", "c"], "test": []}))
    spoil(source)
    labelled = 3 if "label " in kind or "value" in kind or kind == "truncated label" else 2
    labelled = 2 if kind == "label missing" else labelled
    options = ImportOptions(splits=source / "splits.json", labelled=labelled)
    for root in (tmp_path / "study", tmp_path / "new"):
        with pytest.raises(MaskMatchError, match=message) as caught:
            import_scans(source, root, options)
        assert "\n" not in str(caught.value)
    assert _snapshot(tmp_path / "study") == before
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (ImportOptions(labelled=3), "--labelled needs --splits"),
        (ImportOptions(group="("), "not a regular expression"),
        (ImportOptions(label_names=("a", "a")), "distinct"),
        (ImportOptions(channels=("a", "b")), "1 channels, expected 2"),
        (ImportOptions(labels_dir=Path("nowhere")), "no file or folder nowhere"),
    ],
)
def test_impossible_options_are_refused(tmp_path, options, message):
    source = _write_nnunet(tmp_path / "source")
    with pytest.raises(InputError, match=message):
        import_scans(source, tmp_path / "study", options)
    assert not (tmp_path / "study").exists()


def test_all_broken_scans_are_named_and_can_be_skipped(tmp_path: Path) -> None:
    source = _write_nnunet(tmp_path / "source", "abcd")
    (source / "imagesTr/b_0000.nii.gz").write_bytes(b"cut off")
    (source / "labelsTr/d.nii.gz").write_bytes(b"not a label")
    with pytest.raises(InputError, match=r"(?s)2 of 4 scans cannot be used.*b_0000.*d\.nii\.gz.*--skip-broken"):
        import_scans(source, tmp_path / "study")
    assert not (tmp_path / "study").exists()
    summary = import_scans(source, tmp_path / "study", ImportOptions(skip_broken=True))
    assert summary.added == ("a", "c")
    assert [name for name, _ in summary.refused] == ["b", "d"]
    assert [case.name for case in Study.open(tmp_path / "study").labelled_cases()] == ["a", "c"]
    # What is mended comes in with the same command; nothing else is touched.
    _write_nnunet(source, "abcd")
    assert import_scans(source, tmp_path / "study", ImportOptions(skip_broken=True)).added == ("b", "d")


def test_broken_masks_are_skipped_and_tell_no_classes(tmp_path: Path) -> None:
    for number, name in enumerate("abcd"):
        for part in ("images", "masks"):
            (tmp_path / part).mkdir(exist_ok=True)
        image = np.random.default_rng(number).integers(0, 255, (12, 10), dtype=np.uint8)
        Image.fromarray(image).save(tmp_path / f"images/{name}.png")
        Image.fromarray((image > 128).astype(np.uint8) * 255).save(tmp_path / f"masks/{name}.png")
    (tmp_path / "masks/a.png").write_bytes(b"x")
    Image.fromarray(np.zeros((3, 3), np.uint8)).save(tmp_path / "masks/c.png")
    options = ImportOptions(labels_dir=tmp_path / "masks", skip_broken=True)
    summary = import_scans(tmp_path / "images", tmp_path / "study", options)
    assert summary.labelled == ("b", "d")
    assert [name for name, _ in summary.refused] == ["a", "c"]
    assert Study.open(tmp_path / "study").label_names == {"background": 0, "foreground": 1}


def test_scans_of_another_kind_are_not_skipped_as_broken(tmp_path: Path) -> None:
    """What the first scan sets counts only where it comes in; a mixture of kinds is for the user to sort."""
    colour = np.random.default_rng(0).integers(0, 255, (12, 10, 3), dtype=np.uint8)
    for part in ("images", "masks"):
        (tmp_path / part).mkdir()
    for name, image in zip("abc", (colour, colour[..., 0], colour[..., 1]), strict=True):
        Image.fromarray(image).save(tmp_path / f"images/{name}.png")
        Image.fromarray((image.reshape(12, 10, -1)[..., 0] > 128).astype(np.uint8)).save(tmp_path / f"masks/{name}.png")
    options = ImportOptions(labels_dir=tmp_path / "masks", skip_broken=True)
    with pytest.raises(InputError, match="one kind"):
        import_scans(tmp_path / "images", tmp_path / "study", options)
    Image.fromarray(np.zeros((3, 3), np.uint8)).save(tmp_path / "masks/a.png")
    summary = import_scans(tmp_path / "images", tmp_path / "study", options)
    assert summary.added == ("b", "c")
    assert Study.open(tmp_path / "study").channel_names == ("grey",)


def test_skipping_does_not_import_nothing(tmp_path: Path) -> None:
    source = _write_nnunet(tmp_path / "source", "ab")
    for name in "ab":
        (source / f"imagesTr/{name}_0000.nii.gz").write_bytes(b"cut off")
    with pytest.raises(InputError, match=r"(?s)2 of 2 scans cannot be used.*a_0000.*b_0000"):
        import_scans(source, tmp_path / "study", ImportOptions(skip_broken=True))
    assert not (tmp_path / "study").exists()


def test_other_kinds_of_scans_are_refused(tmp_path):
    source = _write_nnunet(tmp_path / "source", "a")
    import_scans(source, tmp_path / "study")
    other = _write_nnunet(tmp_path / "other", "b", labels={"background": 0, "tumour": 1})
    with pytest.raises(InputError, match="are not those of the study"):
        import_scans(other, tmp_path / "study")
    with pytest.raises(InputError, match="same folder"):
        import_scans(tmp_path / "study", tmp_path / "study")
    with pytest.raises(InputError, match="no file or folder"):
        import_scans(tmp_path / "none", tmp_path / "study")
    with pytest.raises(StudyError, match="not a study"):
        import_scans(source, tmp_path)
