"""Who may ask, and for which studies."""

from __future__ import annotations

from pathlib import Path

import pytest

from maskmatch_app import tokens
from maskmatch_app.shelf import Shelf, is_study_name
from maskmatch_med.errors import StudyError


def test_a_token_is_good_for_its_study_and_its_time_alone() -> None:
    token = tokens.sign("a", now=1000.0)
    assert tokens.is_good(token, "a", now=1001.0)
    assert not tokens.is_good(token, "b", now=1001.0)
    assert not tokens.is_good(token, "a", now=1000.0 + tokens.LIFETIME_S + 1)
    expires, _, mac = token.partition(".")
    assert not tokens.is_good(f"{int(expires) + 60}.{mac}", "a", now=1001.0)


@pytest.mark.parametrize("token", ["", ".", "12", "12.", "x.y", "99999999999999999999.a", "9999999999.é", "٣.a"])
def test_what_is_no_token_is_refused(token: str) -> None:
    assert not tokens.is_good(token, "a")


@pytest.mark.parametrize("key", ["..", "../a", "/etc", ".hidden", "a/b", "a\\b", "", "a.", "C:x", "nul\0"])
def test_names_that_lead_elsewhere_are_not_on_the_shelf(key: str, tmp_path: Path) -> None:
    assert not is_study_name(key)
    with pytest.raises(StudyError, match="no study"):
        Shelf(tmp_path).path(key)


def test_a_shelf_of_one_study_shows_no_other(tmp_path: Path, tiny_study: Path) -> None:
    assert Shelf(tmp_path, tiny_study).studies() == {"study": tiny_study}
    with pytest.raises(StudyError, match="no study"):
        Shelf(tiny_study.parent, tiny_study).path("other")


def test_a_shelf_finds_the_studies_of_its_folder(tiny_study: Path) -> None:
    assert Shelf(tiny_study.parent).studies() == {"study": tiny_study}
    assert Shelf(tiny_study.parent).path("Hippocampus 2026") == tiny_study.parent / "Hippocampus 2026"
