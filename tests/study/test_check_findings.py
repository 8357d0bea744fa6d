"""What a check finds by holding scans against one another, and what their headers contradict."""

from __future__ import annotations

import gzip
import shutil
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from maskmatch_med.io.affines import oblique_degrees, shear_degrees, stated_affines
from maskmatch_med.service import check_study as check_with_page
from maskmatch_med.study import Finding, Study, check_study
from maskmatch_med.study.checking.outliers import outliers
from maskmatch_med.study.checking.sides import compare, signature
from maskmatch_med.volume import Geometry, Volume

SHAPE = (16, 14, 12)
NAMES = tuple(f"case_{i:02d}" for i in range(12))
LABELS = {"background": 0, "organ": 1}


def scan(seed: int) -> np.ndarray:
    """A bright body with an organ on one side and noise, never the same twice."""
    noise = np.random.default_rng(seed).normal(0, 5, SHAPE)
    array = 100 + noise
    array[9 + seed % 2 : 14, 4:10, 3:9] += 80
    return array.astype(np.float32)


def organ(seed: int) -> np.ndarray:
    labels = np.zeros(SHAPE, np.uint8)
    labels[9 + seed % 2 : 14, 4:10, 3:9] = 1
    labels[9, 3, 2 + seed % 10] = 1
    labels[10, 2 + seed % 12, 2] = 1
    return labels


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    study = Study.create(tmp_path_factory.mktemp("sound") / "s", channel_names=["MRI"], label_names=LABELS)
    with study.editing():
        for seed, name in enumerate(NAMES):
            study.add_case(name, Volume(scan(seed)[None], Geometry(SHAPE, np.diag([1.0, 1.0, 1.5, 1.0]))))
            study.add_label(name, organ(seed))
    return study.root


@pytest.fixture
def study(sound: Path, tmp_path: Path) -> Study:
    return Study.at(Path(shutil.copytree(sound, tmp_path / "s")))


def rewrite(study: Study, name: str, change: Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]) -> Path:
    path = study.folder.image_paths(name)[0]
    image = nib.load(path)
    values, affine = change(np.asarray(image.dataobj).copy(), image.affine.copy())
    changed = nib.Nifti1Image(values, affine)
    changed.set_sform(affine, 1)
    changed.set_qform(affine, 1, strip_shears=True)
    nib.save(changed, path)
    return path


def found(study: Study, kind: str) -> list[Finding]:
    return [finding for finding in check_study(study.root) if finding.kind == kind]


def test_a_sound_set_raises_no_alarm(sound: Path):
    assert check_study(sound) == []


def test_a_mirrored_scan_under_its_unmirrored_label_is_an_error(study: Study):
    rewrite(study, NAMES[3], lambda values, affine: (values[::-1], affine))
    (finding,) = found(study, "left/right")
    assert (finding.severity, finding.case) == ("error", NAMES[3])
    assert "the scan of case_03 looks mirrored, its label does not" in finding.message


def test_a_flip_in_the_header_mirrors_too_and_a_turned_file_does_not(study: Study):
    def wrong_sign(values, affine):
        affine[0, 0] *= -1
        return values, affine

    def other_order(values, affine):
        affine[:3, 3] += affine[:3, 0] * (SHAPE[0] - 1)
        affine[:3, 0] *= -1
        return values[::-1], affine

    rewrite(study, NAMES[5], wrong_sign)
    rewrite(study, NAMES[6], other_order)
    assert {f.case for f in found(study, "left/right")} == {NAMES[5]}


def test_a_scan_mirrored_with_its_label_is_a_suspicion(study: Study):
    rewrite(study, NAMES[4], lambda values, affine: (values[::-1], affine))
    study.add_label(NAMES[4], organ(4)[::-1])
    (finding,) = found(study, "left/right")
    assert (finding.severity, finding.case) == ("warning", NAMES[4])
    assert "case_04 and its label look mirrored" in finding.message


def test_sets_without_sides_and_small_sets_give_no_verdict():
    noise = np.random.default_rng(0)
    kept = {str(i): signature(noise.normal(size=SHAPE).astype(np.float32)) for i in range(20)}
    assert not compare(kept).known
    mixed = {n: signature(scan(i)[:: -1 if i % 4 == 0 else 1].copy()) for i, n in enumerate(NAMES)}
    assert not compare(mixed).known
    few = {name: signature(scan(seed)) for seed, name in enumerate(NAMES[:7])}
    assert compare(few).mirrored(NAMES[0]) is None
    symmetric = np.ones(SHAPE, np.float32)
    assert signature(symmetric) is None


def test_too_few_scans_or_labels_to_judge_their_sides_are_said(study: Study):
    def without(folder: str, pattern: str, names: tuple[str, ...]) -> None:
        for path in (p for name in names for p in (study.root / folder).glob(pattern.format(name))):
            path.unlink()

    without("labelsTr", "{}.nii.gz", NAMES[7:])
    without("history", "{}/*", NAMES[7:])
    (finding,) = found(study, "left/right")
    assert finding.severity == "note"
    assert finding.message == "left and right of labels were not judged: fewer than 8 labels (7)"
    without("imagesTr", "{}_0000.nii.gz", NAMES[5:])
    without("sources", "{}.json", NAMES[5:])
    (finding,) = found(study, "left/right")
    assert finding.message == "left and right were not judged: fewer than 8 scans (5)"


def test_the_signature_of_a_mirrored_scan_is_its_negative():
    plain, mirrored = signature(scan(1)), signature(np.ascontiguousarray(scan(1)[::-1]))
    assert plain is not None
    assert mirrored is not None
    assert np.abs(plain.astype(int) + mirrored.astype(int)).max() <= 1


def test_the_same_voxels_under_two_names(study: Study):
    shutil.copy(study.folder.image_paths(NAMES[1])[0], study.folder.image_paths(NAMES[2])[0])
    (finding,) = found(study, "duplicate")
    assert (finding.severity, finding.case) == ("error", NAMES[2])
    assert f"the very voxels of {NAMES[1]}" in finding.message
    study.add_label(NAMES[2], organ(1))
    (finding,) = found(study, "duplicate")
    assert finding.severity == "warning"
    study.set_group(NAMES[1], "patient")
    study.set_group(NAMES[2], "patient")
    (finding,) = found(study, "duplicate")
    assert finding.severity == "note"


def test_one_label_under_two_different_scans(study: Study):
    study.add_label(NAMES[2], organ(1))
    (finding,) = found(study, "labels")
    assert (finding.severity, finding.case) == ("error", NAMES[2])
    assert f"is that of {NAMES[1]}, voxel for voxel" in finding.message


def test_one_label_under_scans_of_one_patient_is_a_note(study: Study):
    study.add_label(NAMES[2], organ(1))
    for name in NAMES[1:3]:
        study.set_group(name, "patient")
    (finding,) = found(study, "labels")
    assert (finding.severity, finding.case) == ("note", NAMES[2])
    study.set_group(NAMES[1], "another")
    assert [f.severity for f in found(study, "labels")] == ["error"]


@pytest.mark.parametrize("voxels", [0, 49, 50])
def test_labels_that_are_alike_by_chance_are_no_error(study: Study, voxels: int):
    """49 voxels on background and one class everywhere tell nothing; 50 voxels do."""
    labels = np.full(SHAPE, 0 if voxels else 1, np.uint8)
    labels.ravel()[:voxels] = 1
    for name in NAMES[:3]:
        study.add_label(name, labels)
    assert len(found(study, "labels")) == (2 if voxels == 50 else 0)


def test_intensity_spacing_and_size_outliers(study: Study):
    rewrite(study, NAMES[0], lambda values, affine: (values * 1000, affine))
    rewrite(study, NAMES[1], lambda values, affine: (values, np.diag([1.0, 1.0, 4.5, 1.0])))
    (bright,) = found(study, "intensity")
    assert bright.case == NAMES[0]
    assert "1,000 times the median" in bright.message
    (spacing,) = found(study, "spacing")
    assert spacing.case == NAMES[1]
    assert "4.5 mm head to foot, the median of the set is 1.5 mm" in spacing.message
    (size,) = found(study, "size")
    assert "54 mm head to foot, the median of the set is 18 mm" in size.message


@pytest.mark.parametrize("ct", [1, len(NAMES) - 1])
def test_ct_beside_mr_is_said_of_the_fewer(study: Study, ct: int):
    """Air of −1000 HU beside scans that begin at 0: one finding for each scan of the rarer kind, none among its own."""
    for name in NAMES[:ct]:
        rewrite(study, name, lambda values, affine: (values - values.min() - 1000, affine))
    for name in NAMES[ct:]:
        rewrite(study, name, lambda values, affine: (values - values.min(), affine))
    told = [f for f in found(study, "intensity") if "not in one unit" in f.message]
    assert {f.case for f in told} == set(NAMES[:ct] if ct == 1 else NAMES[ct:])
    for name in NAMES:
        rewrite(study, name, lambda values, affine: (values - 1000, affine))
    assert not [f for f in found(study, "intensity") if "not in one unit" in f.message]


def test_a_single_bright_voxel_and_an_almost_empty_scan(study: Study):
    def spike(values, affine):
        values[0, 0, 0] = 1.7e6
        return values, affine

    def almost_empty(values, affine):
        values[:] = 0
        values[0, 0, :2] = 1
        return values, affine

    rewrite(study, NAMES[0], spike)
    rewrite(study, NAMES[1], almost_empty)
    (bright,) = [f for f in found(study, "intensity") if f.case == NAMES[0]]
    assert "single voxels up to 1,700,000" in bright.message
    (empty,) = found(study, "values")
    assert "almost empty: 99 % of its voxels are 0" in empty.message


def test_the_largest_numbers_there_are_overflow_nowhere(study: Study, tmp_path: Path):
    """Warnings are errors here: no difference of two values may leave float32, nor a picture of them."""

    def huge(values, affine):
        values[:4], values[4:8] = 3.2e38, -3.2e38
        return values, affine

    def endless(values, affine):
        values[:4], values[4:8], values[8, 0, 0] = np.inf, -np.inf, np.nan
        return values, affine

    rewrite(study, NAMES[0], huge)
    rewrite(study, NAMES[1], endless)
    told = check_with_page(study.root, page=tmp_path / "page.html")
    (bright,) = [f for f in told if f.kind == "intensity"]
    assert bright.case == NAMES[0]
    assert "99th percentile 3.2e+38 against" in bright.message
    assert [f.case for f in told if "NaN or infinite" in f.message] == [NAMES[1]]


def test_an_odd_label_volume_and_a_class_nobody_painted(study: Study):
    labels = np.zeros(SHAPE, np.uint8)
    labels[10, 6, 6] = 1
    study.add_label(NAMES[7], labels)
    study.set_label_names({**LABELS, "tumour": 2})
    (volume,) = found(study, "label volume")
    assert (volume.severity, volume.case) == ("warning", NAMES[7])
    (unused,) = found(study, "labels")
    assert unused.message == "no label shows tumour (2)"


def test_headers_that_contradict_themselves(study: Study):
    path = study.folder.image_paths(NAMES[0])[0]
    image = nib.load(path)
    moved = image.affine.copy()
    moved[0, 3] += 7
    image.set_qform(moved, 1)
    nib.save(image, path)
    (finding,) = found(study, "geometry")
    assert finding.severity == "warning"
    assert "differ by 7.0 voxels (sform and qform)" in finding.message
    assert stated_affines(path).disagreement_vox == pytest.approx(7)


def test_a_rotation_that_is_none_is_said(study: Study, capfd: pytest.CaptureFixture[str]):
    path = study.folder.image_paths(NAMES[0])[0]
    raw = bytearray(gzip.decompress(path.read_bytes()))
    raw[256:268] = np.array([0.9, 0.9, 0.9], "<f4").tobytes()  # quatern_b, c, d
    path.write_bytes(gzip.compress(bytes(raw)))
    (finding,) = found(study, "geometry")
    assert finding.severity == "warning"
    assert "states a rotation that is none" in finding.message
    assert capfd.readouterr() == ("", "")


def test_headers_without_a_position(study: Study):
    path = study.folder.image_paths(NAMES[0])[0]
    image = nib.load(path)
    image.set_qform(None, 0)
    image.set_sform(None, 0)
    nib.save(image, path)
    assert "states no position" in " ".join(f.message for f in found(study, "geometry"))


def test_sheared_and_oblique_axes(study: Study):
    def sheared(values, affine):
        affine[0, 1] = np.tan(np.radians(10))
        return values, affine

    def oblique(values, affine):
        turn = np.radians(25)
        affine[:2, :2] = [[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]
        return values, affine

    for number, change, severity, text in ((0, sheared, "warning", "is sheared"), (1, oblique, "note", "oblique")):
        path = rewrite(study, NAMES[number], change)
        told = [f for f in found(study, "geometry") if str(path) in f.message and text in f.message]
        assert [f.severity for f in told] == [severity]
    straight = Geometry(SHAPE, np.diag([-1.0, 2.0, 3.0, 1.0]))
    assert shear_degrees(straight) == pytest.approx(0, abs=1e-5)
    assert oblique_degrees(straight) == pytest.approx(0, abs=1e-5)


def test_channels_that_differ_in_grid_or_are_the_same(tmp_path: Path):
    study = Study.create(tmp_path / "s", channel_names=["T1", "T2"], label_names=LABELS)
    for seed, name in enumerate(("a", "b")):
        array = np.stack([scan(seed), scan(seed) if name == "b" else scan(seed + 9)])
        study.add_case(name, Volume(array, Geometry(SHAPE, np.eye(4))))
    second = study.folder.image_paths("a")[1]
    nib.save(nib.Nifti1Image(scan(9), np.diag([2.0, 1, 1, 1])), second)
    told = check_study(study.root)
    assert any(f.kind == "geometry" and "_0001.nii.gz does not lie on the grid of a_0000" in f.message for f in told)
    assert any(f.case == "b" and "the channels T1 and T2 of b are the same" in f.message for f in told)


def test_a_missing_source_is_said_and_mended(study: Study):
    study.folder.sidecar(NAMES[0]).unlink()
    assert any("another program put case_00 into the study" in f.message for f in check_study(study.root))


@pytest.mark.parametrize("count", [7, 8])
def test_outliers_need_company(count: int):
    values = {str(i): 10.0 + i / 10 for i in range(count - 1)} | {"odd": 1000.0}
    assert set(outliers(values, 10)) == ({"odd"} if count == 8 else set())


def test_outliers_are_robust_and_respect_the_factor():
    values = {str(i): 1.0 for i in range(20)} | {"zero": 0.0, "nan": np.nan, "near": 1.4, "far": 1.6, "small": 0.6}
    odd = outliers(values, 1.5)
    assert set(odd) == {"far", "small"}
    assert odd["far"].times == "1.6 times"
    assert odd["small"].times == "1/1.67 of"


def test_the_memory_of_a_check_does_not_grow_with_the_scans(study: Study):
    """No array of a scan is kept: each one is gone when the next is read."""
    import weakref

    seen: list[weakref.ref[np.ndarray]] = []
    alive: list[int] = []

    def look(case, volume, label):
        alive.append(sum(ref() is not None for ref in seen))
        seen.append(weakref.ref(volume.array.base if volume.array.base is not None else volume.array))

    check_study(study.root, look=look)
    assert len(alive) == len(NAMES)
    assert max(alive) <= 1


def test_real_hippocampi_and_atria(shared_data: Path, tmp_path: Path):
    """30 of each: nothing but what is real, and the one that is mirrored."""
    for folder, real in (("Task04_Hippocampus", "intensity"), ("Dataset101_LeftAtriumHalf", None)):
        paths = sorted((shared_data / folder / "imagesTr").glob("[!.]*.nii.gz"))[:30]
        study = Study.create(tmp_path / folder, channel_names=["MRI"], label_names=LABELS)
        with study.editing():
            for path in paths:
                study.add_case(path.name.removesuffix(".nii.gz").removesuffix("_0000"), path)
        before = check_study(study.root)
        assert {f.kind for f in before} <= {real}
        name = study.folder.names()[11]
        rewrite(study, name, lambda values, affine: (values[::-1], affine))
        assert [f.case for f in found(study, "left/right")] == [name]
