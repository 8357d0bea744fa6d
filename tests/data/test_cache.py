"""The cache: made once, remade for what changed, never half, the same for two trainings at a time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from maskmatch_med.data import cache as cache_module
from maskmatch_med.data.cache import _narrow, cache_cases
from maskmatch_med.data.preprocess import preprocess, preprocess_labels
from maskmatch_med.errors import InputError, StudyError
from maskmatch_med.io import write_map
from maskmatch_med.io.labels import UNJUDGED
from maskmatch_med.planning import Plan
from maskmatch_med.study import FolderLock, Study


def opened(root: Path) -> tuple[Study, Plan]:
    return Study.open(root), Plan.load(root / "plan.json")


def filled(root: Path):
    study, plan = opened(root)
    return cache_cases(study.cases(), plan, study.cache_dir)


def times(root: Path) -> dict[str, int]:
    return {str(p.relative_to(root)): p.stat().st_mtime_ns for p in (root / ".cache").rglob("*") if p.is_file()}


def changed(before: dict[str, int], after: dict[str, int]) -> set[str]:
    return {Path(name).parent.name for name in after if before.get(name) != after[name]}


@pytest.mark.parametrize(("largest", "kept"), [(9.99, np.float16), (40.015, np.float32), (1e6, np.float32)])
def test_what_half_precision_would_move_stays_in_single(largest: float, kept: type) -> None:
    image = np.linspace(-3, 3, 2 * 5 * 6 * 7, dtype=np.float32).reshape(2, 5, 6, 7)
    image[1, 3, 2, 1] = largest
    found = _narrow(image)
    assert found.dtype == kept
    np.testing.assert_allclose(found, image, atol=0.01, rtol=0)


def test_entries_hold_what_preprocessing_gives(tiny_study):
    study, plan = opened(tiny_study)
    cases = filled(tiny_study)
    assert [case.name for case in cases] == [case.name for case in study.cases()]
    for cached, case in zip(cases, study.cases(), strict=True):
        np.testing.assert_allclose(cached.image, preprocess(case.read_image(), plan).image, rtol=5e-4, atol=1e-6)
        assert cached.image.dtype == np.float16
        assert isinstance(cached.image, np.memmap)
        label = case.read_label()
        if label is None:
            assert (cached.labels == UNJUDGED).all()
            assert cached.voxels == {}
            assert not cached.complete
        else:
            np.testing.assert_array_equal(cached.labels, preprocess_labels(label, plan))
            assert cached.complete
            assert set(cached.voxels) == set(np.unique(cached.labels).tolist())
            for value, places in cached.voxels.items():
                assert (cached.labels[tuple(places.T)] == value).all()
                assert len(np.unique(places, axis=0)) == len(places) == (cached.labels == value).sum()


def test_positions_are_at_most_some_and_spread_over_the_structure():
    labels = np.zeros((64, 40, 40), np.uint8)
    labels[0] = 1
    found = cache_module._positions(labels)
    assert len(found[1]) == 1600
    assert len(found[0]) == 20_000
    assert abs(found[0][:, 0].mean() - 32) < 1
    assert len(np.unique(found[0], axis=0)) == 20_000


def test_nothing_is_made_twice(tiny_study):
    filled(tiny_study)
    before = times(tiny_study)
    filled(tiny_study)
    assert before
    assert times(tiny_study) == before


def test_another_plan_for_the_same_arrays_shares_them_and_another_spacing_does_not(tiny_study):
    study, plan = opened(tiny_study)
    filled(tiny_study)
    before = times(tiny_study)
    cache_cases(study.cases(), plan.model_copy(update={"batch_size": 1}), study.cache_dir)
    assert times(tiny_study) == before
    coarse = plan.model_copy(update={"spacing_mm": tuple(2 * mm for mm in plan.spacing_mm)})
    cases = cache_cases(study.cases(), coarse, study.cache_dir)
    assert max(cases[0].image.shape[1:]) < 20
    assert set(before.items()) < set(times(tiny_study).items())


def test_only_the_latest_few_plans_keep_their_arrays(tiny_study):
    study, plan = opened(tiny_study)
    keys = []
    for factor in (1, 2, 3, 4):
        other = plan.model_copy(update={"spacing_mm": tuple(factor * mm for mm in plan.spacing_mm)})
        cache_cases(study.cases()[:1], other, study.cache_dir)
        keys.append(other.preprocessing_key)
        os.utime(study.cache_dir / keys[-1], (factor, factor))
    cache_cases(study.cases()[:1], plan, study.cache_dir)
    assert len(set(keys)) == 4
    assert {path.name for path in study.cache_dir.iterdir()} == {keys[0], keys[2], keys[3]}


def test_a_changed_scan_is_remade_alone(tiny_study):
    filled(tiny_study)
    before = times(tiny_study)
    study, plan = opened(tiny_study)
    case = study.cases()[1]
    volume = case.read_image()
    write_map(case.image_paths[0], volume.array[0][::-1].copy(), volume.geometry)
    cases = filled(tiny_study)
    assert changed(before, times(tiny_study)) == {case.name}
    np.testing.assert_allclose(cases[1].image, preprocess(case.read_image(), plan).image, rtol=5e-4, atol=1e-6)


def test_a_new_label_version_is_taken_and_partial_labels_stay_partial(tiny_study):
    filled(tiny_study)
    before = times(tiny_study)
    study, _ = opened(tiny_study)
    case = study.cases()[4]
    assert case.label is None
    label = np.full(case.shape, UNJUDGED, np.uint8)
    label[:, :, 10] = 0
    label[8:12, 8:12, 10] = 2
    study.add_label(case.name, label)
    cases = filled(tiny_study)
    assert changed(before, times(tiny_study)) == {case.name}
    assert not cases[4].complete
    assert set(cases[4].voxels) == {0, 2}
    assert set(np.unique(cases[4].labels)) == {0, 2, UNJUDGED}
    share = (cases[4].labels != UNJUDGED).mean()
    assert 0.5 / case.shape[2] < share < 2 / case.shape[2]


def test_a_label_edited_in_another_program_is_taken(tiny_study):
    filled(tiny_study)
    study, _ = opened(tiny_study)
    name = study.labelled_cases()[0].name
    path = tiny_study / "labelsTr" / f"{name}.nii.gz"
    image = nib.load(path)
    array = np.asarray(image.dataobj).copy()
    array[:] = 3
    nib.save(nib.Nifti1Image(array, image.affine, image.header), path)
    cached = next(case for case in filled(tiny_study) if case.name == name)
    assert (cached.labels == 3).all()


@pytest.mark.parametrize("lost", ["entry.json", "image.npy", "labels.npy", "voxels.npz"])
def test_a_half_written_entry_is_remade(tiny_study, lost):
    expected = np.array(filled(tiny_study)[0].image)
    before = times(tiny_study)
    next((tiny_study / ".cache").glob(f"*/phantom_000/{lost}")).unlink()
    np.testing.assert_array_equal(filled(tiny_study)[0].image, expected)
    assert changed(before, times(tiny_study)) == {"phantom_000"}


def test_a_cut_short_record_is_remade(tiny_study):
    filled(tiny_study)
    record = next((tiny_study / ".cache").glob("*/phantom_000/entry.json"))
    text = record.read_text()
    record.write_text(text[: len(text) // 2])
    filled(tiny_study)
    assert json.loads(record.read_text()) == json.loads(text)


def test_an_entry_is_complete_before_its_record_is_written(tiny_study, monkeypatch):
    def broken(path, *arrays, **named):
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(np, "savez", broken)
    with pytest.raises(OSError, match="No space"):
        filled(tiny_study)
    monkeypatch.undo()
    assert not list((tiny_study / ".cache").rglob("entry.json"))
    assert not list((tiny_study / ".cache").rglob("*.lock"))
    assert all(case.image.size for case in filled(tiny_study))


def test_another_number_of_channels_is_refused_with_the_files_name(tiny_study):
    study, plan = opened(tiny_study)
    two = plan.model_copy(update={"channel_names": ("T1", "T2"), "normalisation": plan.normalisation * 2})
    with pytest.raises(InputError, match=r"phantom_000_0000\.nii\.gz has 1 channels.*made for 2: T1, T2"):
        cache_cases(study.cases(), two, study.cache_dir)


def test_a_scan_without_any_finite_voxel_is_refused_with_the_files_name(tiny_study):
    study, plan = opened(tiny_study)
    case = study.cases()[2]
    volume = case.read_image()
    write_map(case.image_paths[0], np.full(case.shape, np.nan, np.float32), volume.geometry)
    with pytest.raises(InputError, match=r"phantom_002_0000\.nii\.gz: .*no voxel has a finite value"):
        cache_cases(study.cases(), plan, study.cache_dir)


def test_progress_names_each_scan(tiny_study):
    study, plan = opened(tiny_study)
    told = []
    cache_cases(study.cases(), plan, study.cache_dir, lambda *event: told.append(event))
    assert told == [*((i, 5, f"phantom_00{i}") for i in range(5)), (5, 5, "")]


def test_another_version_of_the_preprocessing_makes_every_entry_anew(tiny_study, monkeypatch):
    filled(tiny_study)
    before = times(tiny_study)
    monkeypatch.setattr(cache_module, "PREPROCESSING_VERSION", cache_module.PREPROCESSING_VERSION + 1)
    filled(tiny_study)
    assert changed(before, times(tiny_study)) == {f"phantom_00{i}" for i in range(5)}


def test_whether_all_is_judged_is_known_without_reading_the_labels(tiny_study):
    known = [case.complete for case in filled(tiny_study)]
    assert known == [True, True, False, False, False]
    for path in (tiny_study / ".cache").glob("*/*/labels.npy"):
        labels = np.load(path)
        np.save(path, np.where(labels == UNJUDGED, 0, UNJUDGED).astype(np.uint8))
    assert [case.complete for case in filled(tiny_study)] == known


def test_waiting_for_another_process_is_told(tiny_study, monkeypatch):
    study, plan = opened(tiny_study)
    filled(tiny_study)
    entry = next((tiny_study / ".cache").glob("*/phantom_000"))
    (entry / "entry.json").unlink()
    monkeypatch.setattr(cache_module, "_LONGEST_PREPARATION_S", 0.2)
    told = []
    lock = FolderLock(entry.with_name("phantom_000.lock"), "preparing phantom_000")
    with lock.held(), pytest.raises(StudyError):
        cache_cases(study.cases(), plan, study.cache_dir, lambda *event: told.append(event))
    assert [event[:2] for event in told] == [(0, 5), (0, 5)]
    assert told[1][2].startswith(f"waiting: process {os.getpid()} on ")
    assert told[1][2].endswith("is preparing phantom_000")


def test_a_scan_that_another_process_prepares_is_waited_for(tiny_study, monkeypatch):
    filled(tiny_study)
    entry = next((tiny_study / ".cache").glob("*/phantom_000"))
    (entry / "entry.json").unlink()
    monkeypatch.setattr(cache_module, "_LONGEST_PREPARATION_S", 0.2)
    with FolderLock(entry.with_name("phantom_000.lock"), "preparing phantom_000").held():
        with pytest.raises(StudyError, match="preparing phantom_000"):
            filled(tiny_study)
        assert (entry / "image.npy").is_file()
    filled(tiny_study)
    assert (entry / "entry.json").is_file()


_FILL = """
import sys
from pathlib import Path
from maskmatch_med.data.cache import cache_cases
from maskmatch_med.planning import Plan
from maskmatch_med.study import Study
root = Path(sys.argv[1])
study = Study.at(root)
print("ready", flush=True)
sys.stdin.readline()
for case in cache_cases(study.cases(), Plan.load(root / "plan.json"), study.cache_dir):
    assert case.image.sum() != 0, case.name
"""


def test_two_processes_may_fill_it_at_once(tiny_study):
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", _FILL, str(tiny_study)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    processes = [subprocess.Popen(command, env=environment, **pipes) for _ in range(2)]
    try:
        for process in processes:
            assert process.stdout.readline() == "ready\n"
        for process in processes:
            process.stdin.write("go\n")
            process.stdin.flush()
        results = [process.communicate(timeout=120) for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0, 0], results
    assert not list((tiny_study / ".cache").rglob("*.lock*"))


def test_only_what_older_plans_prepared_is_forgotten(tiny_study: Path) -> None:
    cache = tiny_study / ".cache"
    others = ["display", "thumbnails", "results", "review", "ranking", "exports"]
    old = [f"{number:016x}" for number in range(4)]
    for age, name in enumerate([*others, *old]):
        (cache / name).mkdir(parents=True)
        os.utime(cache / name, (1_000_000 + age, 1_000_000 + age))
    filled(tiny_study)
    left = {path.name for path in cache.iterdir() if path.is_dir()}
    assert set(others) <= left
    assert left - set(others) == {opened(tiny_study)[1].preprocessing_key, *old[2:]}
