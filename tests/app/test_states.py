"""States that people meet: a study that moves away, is damaged, or may not be written; failures told in sentences."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

import maskmatch_app
from maskmatch_app.failures import in_words
from maskmatch_app.shelf import FOLDER, STUDY
from maskmatch_med.errors import StudyError

MAIN = Path(maskmatch_app.__file__).with_name("main.py")
PAGES = sorted(path.stem for path in MAIN.parent.joinpath("screens").glob("[a-z]*.py"))


@pytest.fixture
def studies(tmp_path: Path, planned_study: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "studies"
    shutil.copytree(planned_study, folder / "tiny")
    monkeypatch.setenv(FOLDER, str(folder))
    monkeypatch.delenv(STUDY, raising=False)
    return folder


def _errors(app: AppTest) -> str:
    assert not app.exception
    return "\n".join(str(error.value) for error in app.error)


def _app() -> AppTest:
    app = AppTest.from_file(str(MAIN), default_timeout=60).run()
    assert not app.exception
    return app


@pytest.mark.parametrize("page", PAGES)
def test_each_page_says_what_it_is_for_and_what_not(studies: Path, page: str) -> None:
    app = _app().switch_page(f"screens/{page}.py").run()
    assert not app.exception
    assert any("Research use, not a medical device" in str(part.proto.body) for part in app.get("html"))


@pytest.mark.parametrize("page", PAGES)
def test_a_damaged_study_is_told_on_each_page(studies: Path, page: str) -> None:
    (studies / "tiny" / "dataset.json").write_text("{")
    app = _app().switch_page(f"screens/{page}.py").run()
    assert "not valid JSON" in _errors(app)
    assert any("Research use" in str(part.proto.body) for part in app.get("html"))


def test_a_study_moved_away_while_open_is_missed_and_found_again(studies: Path) -> None:
    app = _app()
    (studies / "tiny").rename(studies / ".away")
    assert "The study **tiny** is not where it was" in _errors(app.run())
    (studies / ".away").rename(studies / "tiny")
    assert _errors(app.run()) == ""
    assert app.title[0].value == "tiny"


def test_the_one_study_moved_away_while_open_is_missed(studies: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(STUDY, str(studies / "tiny"))
    app = _app()
    (studies / "tiny").rename(studies / ".away")
    assert "is not where it was" in _errors(app.run())


def test_a_study_that_may_not_be_written_says_so(studies: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from maskmatch_app import look

    monkeypatch.setattr(look.service, "may_write", lambda root: False)
    app = _app()
    assert "may only be looked at" in str(app.warning[0].value)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (StudyError("the study is in use"), "the study is in use"),
        (OSError(errno.ENOSPC, "No space left on device"), "The disk is full"),
        (OSError(errno.EROFS, "Read-only file system"), "cannot be written"),
        (PermissionError(errno.EACCES, "Permission denied"), "may not be written"),
        (KeyError("x"), "Reload the page"),
    ],
)
def test_failures_are_told_in_sentences(error: Exception, said: str) -> None:
    assert said in in_words(error)
