"""Versions of what nobody paints on any more, made by the server by itself."""

from __future__ import annotations

import asyncio
import logging
import shutil
from pathlib import Path

import numpy as np
import pytest

from maskmatch_app import idle
from maskmatch_app.shelf import FOLDER, STUDY
from maskmatch_med import Study, service


@pytest.fixture
def folder(planned_study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two studies with strokes that are in no version."""
    monkeypatch.setenv(FOLDER, str(tmp_path / "studies"))
    monkeypatch.delenv(STUDY, raising=False)
    for name in ("a", "b"):
        root = Path(shutil.copytree(planned_study, tmp_path / "studies" / name))
        shape = service.scan_shape(root, "phantom_004")
        ones = np.ones(shape, np.uint8)
        service.save_box(root, "phantom_004", 0, service.Box((0, 0, 0), ones, ones > 0), service.Painter("eve"))
    return tmp_path / "studies"


def versions(root: Path) -> int:
    return len(Study.at(root).versions("phantom_004"))


def test_a_study_that_fails_keeps_no_other_from_its_versions(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    (folder / "a" / "dataset.json").write_text("{")
    with caplog.at_level(logging.INFO, "maskmatch"):
        idle.save_all_idle(minutes=0)
    assert versions(folder / "b") == 1
    assert "became no version" in caplog.text
    idle.save_all_idle(minutes=0)
    assert versions(folder / "b") == 1


def test_what_was_just_painted_stays_a_draft(folder: Path) -> None:
    idle.save_all_idle()
    assert versions(folder / "a") == 0


def test_a_running_server_looks_again_and_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(idle.save_all_idle, "__defaults__", (0.0,))

    async def run() -> None:
        async with idle.versions_of_idle_drafts(None, every_s=0.05):
            for _ in range(200):
                await asyncio.sleep(0.05)
                if versions(folder / "a") and versions(folder / "b"):
                    return

    asyncio.run(run())
    assert (versions(folder / "a"), versions(folder / "b")) == (1, 1)
