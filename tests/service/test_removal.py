"""A scan that was taken out is nowhere in its study any more but in the folder that holds it, and can come back."""

from __future__ import annotations

import csv
import gzip
import json
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest

from maskmatch_med import service
from maskmatch_med.config import TrainConfig
from maskmatch_med.errors import LabelsInUseError, StudyError
from maskmatch_med.io import read_labels
from maskmatch_med.io.labels import UNJUDGED
from maskmatch_med.jobs import Command, Job, JobQueue, JobSpec
from maskmatch_med.jobs.job import State
from maskmatch_med.service import ExportOrder, LabelDefinition
from maskmatch_med.study import Study
from maskmatch_med.study.exported import exports_of
from maskmatch_med.training.learnt import labels_seen, read_learnt

LABELLED, OPEN, OTHER = "phantom_000", "phantom_002", "phantom_003"
"""A scan with a label, one without, and one that stays; a model has learnt from all and segmented the latter two."""
CONFIG = TrainConfig.model_validate(
    {"method": "fixmatch", "iterations": 3, "labelled_batch": 1, "unlabelled": {"start": 0}}
)


@pytest.fixture(scope="module")
def used_study(planned_study: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study in which everything was done once that leaves something behind."""
    root = Path(shutil.copytree(planned_study, tmp_path_factory.mktemp("used") / "study"))
    model = service.train(root, CONFIG, service.TrainRequest(name="m"))
    assert read_learnt(model.root)[0].unlabelled
    (model.root / "calibration_scans.csv").write_text(f"case,dice\n{LABELLED},0.9\n{OTHER},0.8\n")
    scratch = model.root / ".calibrate-cut"
    scratch.mkdir()
    (scratch / f"{LABELLED}.nii.gz").write_bytes(b"left by a process that died")
    request = service.PredictRequest(only=[OPEN, OTHER], uncertainty=True, probabilities=True)
    service.predict(model, root / "imagesTr", root / "predictions" / "m", request)
    service.rank_scans(root)
    service.review_queue(root)
    for name in (LABELLED, OPEN, OTHER):
        service.thumbnail_of(root, name)
        service.display_scan(root, name)
    service.display_uncertainty(root, OPEN, "m")
    service.volumes(root, "m")
    service.report(root)
    service.prepare_download(root, ExportOrder(model="m", author="Bo"))
    for name in (OPEN, OTHER):
        service.reject_prediction(root, name, "m", "no", "Ada")
    _queue_a_failure(root)
    return root


def _queue_a_failure(root: Path) -> None:
    """A prediction that has failed on a scan, as its files would say."""
    folder = root / "jobs" / "0001-predict"
    folder.mkdir(parents=True)
    spec = JobSpec(kind="predict", title="Predict with m", commands=(Command(words=("predict",)),))
    (folder / "job.json").write_text(spec.model_dump_json())
    message = f"{OPEN}_0000.nii.gz is cut off"
    state = State(status="failed", queued="2026-01-01", message=message)
    JobQueue(root).save(Job(folder, spec, state), state)
    (folder / "log.txt").write_text(f"Predicting 2 scans a minute  {OPEN}\nmaskmatch: {message}\nthen {OTHER}\n")
    (folder / "progress.json").write_text(json.dumps({"event": "count", "name": OPEN}))


@pytest.fixture
def study(used_study: Path, tmp_path: Path) -> Path:
    """A copy of it for one test."""
    return Path(shutil.copytree(used_study, tmp_path / "study"))


def traces(root: Path, name: str) -> list[str]:
    """The files of a study whose name or content names a scan, those that hold what was taken out left aside."""
    found = []
    for path in sorted(root.rglob("*")):
        place = path.relative_to(root)
        if place.parts[0] != "removed" and (name in str(place) or (path.is_file() and _names(path, name.encode()))):
            found.append(place.as_posix())
    return found


def _names(path: Path, name: bytes) -> bool:
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            return any(name in one.encode() or name in archive.read(one) for one in archive.namelist())
    content = path.read_bytes()
    return name in (gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content)


def files_of(root: Path) -> dict[str, bytes]:
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", [LABELLED, OPEN])
def test_nothing_in_the_study_names_it_any_more(study: Path, name: str) -> None:
    before = traces(study, name)
    for place in ("models/m/labels.json", "report.html", ".cache/", "exports.jsonl", "study.sqlite", "imagesTr/"):
        assert any(trace.startswith(place) for trace in before), place

    service.remove_scan(study, name, "Zoë")

    assert traces(study, name) == []


def test_what_a_model_made_of_it_is_kept_aside_with_its_rows_of_the_tables(study: Path) -> None:
    before = files_of(study)
    aside = service.remove_scan(study, OPEN, "Zoë")

    kept = files_of(aside)
    told = json.loads(kept.pop("removed.json"))
    assert {name: content for name, content in before.items() if name in kept} == kept
    endings = (".nii.gz", "_uncertainty.nii.gz", "_probabilities_00.nii.gz", ".review.json")
    assert {f"predictions/m/{OPEN}{ending}" for ending in endings} <= set(kept)
    assert any(name.startswith("models/m/microscope/") for name in kept)
    assert "report.html" in kept
    with (study / "predictions/m/summary.csv").open(newline="") as stream:
        assert [row["case"] for row in csv.DictReader(stream)] == [OTHER]
    lines = before["predictions/m/summary.csv"].decode().splitlines()
    assert told["rows"] == {"predictions/m/summary.csv": [line for line in lines if line.startswith(OPEN)]}


def test_the_other_scans_keep_all_that_is_known_of_them(study: Path) -> None:
    before = files_of(study)
    service.remove_scan(study, LABELLED)

    after = files_of(study)
    about = [name for name in before if OTHER in name and not name.startswith(".cache/exports")]
    assert len(about) > 8
    assert [name for name in about if before[name] != after.get(name)] == []
    assert after["models/m/calibration_scans.csv"].decode() == f"case,dice\n{OTHER},0.8\n"
    assert {one.case for one in service.volumes(study, "m")} == {OPEN, OTHER}


def test_a_scan_that_is_called_alike_stays(tiny_study: Path) -> None:
    study = Study.open(tiny_study)
    for name in (f"{OPEN}1", f"{OPEN}_uncertainty"):
        study.add_case(name, study.case(OPEN).read_image())
        path = study.predictions_dir / "m" / f"{name}.nii.gz"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"a prediction")
    service.remove_scan(tiny_study, OPEN)

    assert {f"{OPEN}1", f"{OPEN}_uncertainty"} <= set(study.folder.names())
    assert len(list((study.predictions_dir / "m").iterdir())) == 2


def test_records_still_count_it_and_name_it_again_when_it_is_back(study: Path) -> None:
    model = study / "models" / "m"
    learnt, exported = read_learnt(model), exports_of(study)
    aside = service.remove_scan(study, LABELLED)

    (struck,) = read_learnt(model)
    assert len(struck.labelled) == len(learnt[0].labelled)
    assert LABELLED not in struck.labelled
    assert len(exports_of(study)[0].labels) == len(exported[0].labels)

    for folder in [path for path in aside.iterdir() if path.is_dir()]:
        shutil.copytree(folder, study / folder.name, dirs_exist_ok=True)
    service.repair_study(study)

    assert read_learnt(model) == learnt
    assert exports_of(study) == exported
    assert LABELLED in (labels_seen(model) or set())
    kinds = {event.kind for event in service.scan_history(study, LABELLED)}
    assert {"taken in", "label", "training", "export"} <= kinds


@pytest.mark.parametrize("name", [LABELLED, OPEN])
def test_a_scan_comes_back_with_all_that_was_known_of_it(study: Path, name: str) -> None:
    model = study / "models" / "m"
    before = {place: content for place, content in files_of(study).items() if not place.startswith((".cache", "jobs/"))}
    learnt, state = read_learnt(model), Study.open(study).case(name).judged
    message = JobQueue(study).jobs()[0].state.message
    aside = service.remove_scan(study, name, "Zoë")
    (told,) = service.removed_scans(study)
    assert (told.folder, told.name, told.author) == (aside, name, "Zoë")

    assert service.restore_scan(study, aside) == name

    after = files_of(study)
    tables = [place for place in before if place.endswith(".csv")]
    assert [place for place in tables if set(before[place].splitlines()) != set(after[place].splitlines())] == []
    odd = {place for place, content in before.items() if after.get(place) != content} - set(tables)
    assert odd <= {"study.sqlite", "history/view.json", f"models/m/.calibrate-cut/{LABELLED}.nii.gz"}
    assert not aside.exists()
    assert JobQueue(study).jobs()[0].state.message == message
    assert (read_learnt(model), Study.open(study).case(name).judged) == (learnt, state)
    assert service.removed_scans(study) == []
    assert [finding for finding in service.check_study(study) if finding.severity == "error"] == []
    with pytest.raises(StudyError, match="holds no scan that was removed"):
        service.restore_scan(study, aside)
    again = service.remove_scan(study, name)
    assert [one.folder for one in service.removed_scans(study)] == [again]


def test_a_scan_does_not_come_back_over_another(study: Path) -> None:
    aside = service.remove_scan(study, LABELLED)
    opened = Study.open(study)
    opened.add_case(LABELLED, opened.case(OPEN).read_image())
    before = files_of(study)
    with pytest.raises(StudyError, match="has a scan phantom_000 by now"):
        service.restore_scan(study, aside)
    assert files_of(study) == before
    service.remove_scan(study, LABELLED)
    assert service.restore_scan(study, aside) == LABELLED


def test_the_label_of_a_scan_that_comes_back_follows_the_classes(study: Path) -> None:
    opened = Study.open(study)
    names = sorted((name for name, value in opened.label_names.items() if value), key=opened.label_names.__getitem__)
    before = opened.case(LABELLED).read_label()
    assert before is not None
    assert set(before.values) == set(range(len(names) + 1))
    kept = [LabelDefinition(name, was=name) for name in names]

    aside = service.remove_scan(study, LABELLED)
    service.define_labels(study, [LabelDefinition(f"{names[-1]}s", was=names[-1]), *kept[:-1]])
    assert service.restore_scan(study, aside) == LABELLED
    back = Study.open(study).case(LABELLED).read_label()
    assert back is not None
    turned = np.array([0, *range(2, len(names) + 1), 1])
    np.testing.assert_array_equal(back.array, turned[before.array])
    np.testing.assert_array_equal(read_labels(study / "labelsTr" / f"{LABELLED}.nii.gz").array, back.array)

    aside = service.remove_scan(study, LABELLED)
    with pytest.raises(LabelsInUseError) as asked:
        service.define_labels(study, kept[:-1])
    assert f"{LABELLED} (removed)" in asked.value.scans[f"{names[-1]}s"]
    service.define_labels(study, kept[:-1], remove_used=True)
    service.restore_scan(study, aside)
    last = Study.open(study).case(LABELLED).read_label()
    assert last is not None
    np.testing.assert_array_equal(last.array, np.array([*range(len(names)), UNJUDGED])[before.array])


@pytest.mark.parametrize("cut", ["first", "images"])
def test_a_return_that_was_cut_short_follows_the_classes_of_the_next_try(
    study: Path, monkeypatch: pytest.MonkeyPatch, cut: str
) -> None:
    opened = Study.open(study)
    names = sorted((name for name, value in opened.label_names.items() if value), key=opened.label_names.__getitem__)
    before = opened.case(LABELLED).read_label()
    assert before is not None
    kept = [LabelDefinition(name, was=name) for name in names]
    aside = service.remove_scan(study, LABELLED)
    service.define_labels(study, kept[::-1])
    move = shutil.move

    def stop(source: Path, target: Path) -> None:
        if cut == "first" or "imagesTr" in Path(source).parts:
            raise OSError("cut short")
        move(source, target)

    with monkeypatch.context() as patch:
        patch.setattr("maskmatch_med.study.removal.shutil.move", stop)
        with pytest.raises(OSError, match="cut short"):
            service.restore_scan(study, aside)
    service.define_labels(study, kept)
    service.restore_scan(study, aside)
    back = Study.open(study).case(LABELLED).read_label()
    assert back is not None
    np.testing.assert_array_equal(back.array, before.array)


def test_rows_come_back_under_their_own_headings(study: Path) -> None:
    summary = study / "predictions/m/summary.csv"
    row = next(one for one in csv.DictReader(summary.read_text().splitlines()) if one["case"] == OPEN)
    aside = service.remove_scan(study, OPEN)
    lines = list(csv.DictReader(summary.read_text().splitlines()))
    names = ["case", "new", *[name for name in reversed(lines[0]) if name != "case"][:-1]]
    with summary.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, names, extrasaction="ignore", restval="")
        writer.writeheader()
        writer.writerows(lines)
    service.restore_scan(study, aside)
    (back,) = [one for one in csv.DictReader(summary.read_text().splitlines()) if one["case"] == OPEN]
    assert back == {name: row.get(name, "") for name in names}


def test_a_failed_job_no_longer_says_which_scan_it_failed_on(study: Path) -> None:
    service.remove_scan(study, OPEN)
    (job,) = JobQueue(study).jobs()
    stands, _, rest = job.state.message.partition("_0000")
    assert stands.startswith("<removed ")
    assert rest == ".nii.gz is cut off"
    assert job.log_path.read_text().splitlines()[1:] == [f"maskmatch: {job.state.message}", f"then {OTHER}"]
