"""The page Train as Streamlit runs it: what is known before, what is started, and how work that ended is shown."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

import maskmatch_app
from maskmatch_app.parts.curves import thinned
from maskmatch_app.parts.training_order import offer_in_words
from maskmatch_app.shelf import FOLDER, STUDY
from maskmatch_med import Study, service
from maskmatch_med.config import TrainConfig
from maskmatch_med.jobs import Command, JobQueue, JobSpec
from maskmatch_med.jobs.job import State

MAIN = Path(maskmatch_app.__file__).with_name("main.py")
SHORT = {"iterations": 6, "device": "cpu"}


@pytest.fixture
def study(tmp_path: Path, planned_study: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(FOLDER, str(tmp_path / "studies"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.delenv(STUDY, raising=False)
    return Path(shutil.copytree(planned_study, tmp_path / "studies" / "tiny"))


def opened() -> AppTest:
    app = AppTest.from_file(str(MAIN), default_timeout=60).run().switch_page("screens/train.py").run()
    assert not app.exception
    return app


def text(app: AppTest) -> str:
    parts = [*app.markdown, *app.caption, *app.warning, *app.error, *app.info]
    return "\n".join(str(part.value) for part in parts) + "\n".join(str(h.proto.body) for h in app.get("html"))


def labels(app: AppTest) -> list[str]:
    return [button.label for button in app.button]


def ended(study: Path, status: str, title: str, message: str = "", model: str = "m") -> None:
    """A job as a runner leaves it; nothing is started."""
    queue = JobQueue(study)
    number = len(queue.jobs()) + 1
    folder = queue.root / f"{number:04d}-train"
    folder.mkdir(parents=True)
    about = {"model": model, "method": "maskmatch"}
    spec = JobSpec(kind="train", title=title, commands=(Command(words=("train",), title="Training"),), about=about)
    (folder / "job.json").write_text(spec.model_dump_json())
    moment = f"2026-01-01T00:{number:02d}:00.000+00:00"
    state = State(status=status, queued=moment, started=moment, ended=moment, message=message)
    (folder / "state.json").write_text(state.model_dump_json())
    (folder / "log.txt").write_text("maskmatch: it was the scan\n")


@pytest.mark.parametrize(
    ("event", "share"),
    [
        ({"event": "prepare", "done": 1, "total": 4, "case": "a"}, 0.25),
        ({"event": "train", "progress": 0.5, "seconds": 60.0}, 0.5),
        ({"event": "finish", "iterations": 9}, 1.0),
        ({"event": "notice", "text": "…"}, None),
    ],
)
def test_how_far_a_running_training_is(study: Path, event: dict[str, Any], share: float | None) -> None:
    ended(study, "running", "Train m")
    (folder,) = JobQueue(study).root.glob("*-train")
    (folder / "progress.json").write_text(json.dumps(event))
    (state,) = service.job_states(study)
    assert (state.status, state.share) == ("running", share)


def test_what_is_known_before_is_told(study: Path) -> None:
    app = opened()
    said = text(app)
    assert "2 with a complete label, 0 in part, 3 without" in said
    assert "processor core" in said
    assert "Fewer than ten scans have a complete label" in said
    assert "A first look" in said
    app.get("button_group")[0].set_value("own").run()
    app.number_input[0].set_value(200.0).run()
    assert not app.exception
    assert "The network of Best." in text(app)


def test_a_training_before_tells_how_many_steps_fit(study: Path) -> None:
    config = TrainConfig(preset="quick", method="supervised", **SHORT)
    service.train(study, config, service.TrainRequest(name="m"))
    offers = {offer.name: offer for offer in service.training_outlook(study).offers}
    assert offers["quick"].iterations is not None
    assert (offers["balanced"].iterations, offers["quick"].prediction_minutes) == (None, None)
    service.predict(study / "models" / "m", study / "imagesTr", study / "predictions" / "m")
    offers = {offer.name: offer for offer in service.training_outlook(study).offers}
    quick = offers["quick"].prediction_minutes
    assert offers["best"].prediction_minutes > quick > 0
    metrics = study / "models" / "m" / "metrics.json"
    told = json.loads(metrics.read_text())
    metrics.write_text(json.dumps(told | {"inference": {"scales": [1.0], "mirror": False}}))
    offers = {offer.name: offer for offer in service.training_outlook(study).offers}
    assert offers["quick"].prediction_minutes > 1.2 * quick  # what one scale took, for three
    said = text(opened())
    assert "steps in 5 minutes here" in said
    assert "Segmenting 3 scans afterwards takes" in said


@pytest.mark.parametrize(("minutes", "warned"), [(1.0, True), (5.0, False)])
def test_a_time_in_which_nothing_is_learnt_is_told_before_the_start(minutes: float, warned: bool) -> None:
    offer = service.PresetOffer("quick", 5.0, "A first look.", 800, None)
    assert ("too few for a model worth reviewing" in offer_in_words(offer, minutes, 0)) == warned


def test_strokes_without_a_version_are_offered_to_be_saved(study: Path) -> None:
    draft = service.open_draft(study, "phantom_003")
    values, judged = np.zeros(draft.labels.shape, np.uint8), np.zeros(draft.labels.shape, bool)
    values[4:9, 4:9, 4:9] = 2
    judged[4:9, 4:9, 4:9] = True
    service.save_strokes(study, "phantom_003", draft.revision, values, judged, "eve")
    app = opened()
    assert "a training does not see them" in text(app)
    next(button for button in app.button if button.label == "Save them as labels").click().run()
    assert not app.exception
    assert service.training_outlook(study).unsaved == ()
    label = service.label_history(study, "phantom_003")[0]
    assert (label.author, int((label.read().array == 2).sum())) == ("eve", 125)
    said = text(app)
    assert "2 with a complete label, 1 in part, 2 without" in said
    assert "Very few voxels are judged on phantom" in said


def test_what_labels_and_scans_lack_is_warned_of(study: Path) -> None:
    names = [definition.name for definition in service.label_definitions(study)]
    service.define_labels(study, [*service.label_definitions(study), service.LabelDefinition("tumour", None, None)])
    broken = study / "imagesTr" / "phantom_004_0000.nii.gz"
    broken.write_bytes(broken.read_bytes()[:40])
    outlook = service.training_outlook(study)
    assert names
    assert any(text.startswith("No label shows tumour") for text in outlook.warnings)
    assert any(text.startswith("The scans phantom_004 cannot be read") for text in outlook.warnings)


def test_volumes_painted_in_part_are_asked_for_empty_slices(tmp_path: Path) -> None:
    study = Study.create(tmp_path / "slices", channel_names=("image",), label_names={"background": 0, "a": 1})
    painted = np.full((12, 12, 12), 255, np.uint8)
    painted[:, :, 5] = 0
    painted[4:8, 4:8, 5] = 1
    for name in ("one", "two", "third"):
        path = tmp_path / f"{name}.nii.gz"
        nibabel.save(nibabel.Nifti1Image(np.random.default_rng(1).normal(size=painted.shape), np.eye(4)), path)
        study.add_case(name, path)

    def asked() -> list[str]:
        warnings = service.training_outlook(study).warnings
        return [text for text in warnings if text.startswith("No slice without a structure")]

    study.add_label("one", painted)
    study.add_label("two", painted)
    (warning,) = asked()
    assert "marked complete on one, two. Complete two there" in warning
    with_empty = painted.copy()
    with_empty[:, 1] = 0
    study.add_label("one", with_empty)
    assert "marked complete on two. Complete" in asked()[0]
    study.add_label("third", np.where(painted == 255, 0, painted))
    assert asked() == []


def test_a_scan_on_another_grid_is_warned_of(tmp_path: Path) -> None:
    study = Study.create(tmp_path / "grids", channel_names=("image",), label_names={"background": 0, "a": 1})
    for number in range(9):
        scale = 4.0 if number == 7 else 1.0
        path = tmp_path / f"scan_{number}.nii.gz"
        values = np.random.default_rng(number).normal(size=(12, 12, 12)).astype(np.float32)
        nibabel.save(nibabel.Nifti1Image(values, np.diag([scale, scale, scale, 1.0])), path)
        study.add_case(f"scan_{number}", path)
    (warning,) = service.training_outlook(study).warnings
    assert warning.startswith("Scans on a very different grid: 1 of 9, such as scan_7: voxels of 4 mm")


def test_a_failed_training_says_why_and_many_old_ones_take_a_line_each(study: Path) -> None:
    for number in range(20):
        ended(study, "done", f"Train m{number}", model=f"m{number}")
    ended(study, "failed", "Train broken", "imagesTr/x.nii.gz is cut off; copy it anew")
    app = opened()
    assert [str(error.value) for error in app.error] == ["imagesTr/x.nii.gz is cut off; copy it anew"]
    assert labels(app).count("Resume") == 1
    assert [door.label for door in app.expander if door.label.startswith("Earlier")] == ["Earlier work (20)"]
    assert list(app.dataframe[0].value["Work"])[:2] == ["Train m19", "Train m18"]
    assert sum("Train m" in str(part.value) for part in app.markdown) == 0


def test_the_microscope_shows_now_and_then(study: Path) -> None:
    service.train(study, TrainConfig(**SHORT), service.TrainRequest(name="m"))
    ended(study, "done", "Train m")
    seen = service.microscope(study, "m").snapshots
    assert seen
    html = text(opened())
    assert html.count("<img src=") == 3 * 2 * min(2, len(seen))
    assert f"/microscope/m/{seen[-1].iteration}/" in html
    assert "counts from 95% confidence" in html
    assert "liver" in html


def test_the_pictures_of_the_microscope_come_by_a_guarded_route(server, token) -> None:
    study = server.folder / "tiny"
    service.train(study, TrainConfig(**SHORT), service.TrainRequest(name="seen"))
    snapshot = service.microscope(study, "seen").snapshots[-1]
    address = f"/api/tiny/microscope/seen/{snapshot.iteration}/{snapshot.glimpses[0].case}/3"
    answer = server.ask(f"{address}/labels.png?token={token}")
    assert (answer.status, answer.body[:4]) == (200, b"\x89PNG")
    assert server.ask(f"{address}/labels.png").status == 403
    assert server.ask(f"{address}/secrets.png?token={token}").status == 404
    assert server.ask(f"/api/tiny/microscope/..%2f..%2fm/1/x/3/labels.png?token={token}").status in {400, 404}


def test_long_curves_are_thinned_to_their_means() -> None:
    lines = [{"iteration": n, "seconds": 60.0 * n, "loss": float(n % 2)} for n in range(1000)]
    columns = thinned(lines, {"loss": ("all", "#000000"), "confident": ("sure", "#000000")})
    assert len(columns["minutes"]) <= 120
    assert set(columns["what"]) == {"all"}
    assert np.mean(columns["value"]) == pytest.approx(0.5, abs=0.05)
    assert columns["minutes"] == sorted(columns["minutes"])
