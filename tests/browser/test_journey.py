"""The whole loop as a person goes it: a new study, scans, strokes, a training, a review, an export."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.browser.journey import Journey
from tests.browser.watch import Watch
from tests.served import Server

SCANS = 10
PICTURES = os.environ.get("PICTURES")
"""A folder for pictures of the pages, where they are wanted: ``make images``."""
PICTURES_TRAINING_S = 300
ELSEWHERE = os.environ.get("SERVER")
"""The address of a server that runs already, with STUDIES, the folder of its studies, and PASSWORD."""


@pytest.fixture
def hippocampi(shared_data: Path) -> list[Path]:
    """Ten scans of Task04_Hippocampus; the test is skipped where they are absent."""
    found = sorted((shared_data / "Task04_Hippocampus" / "imagesTr").glob("hippocampus_*.nii.gz"))
    if len(found) < SCANS:
        pytest.skip(f"the journey needs {SCANS} scans of Task04_Hippocampus under {shared_data}")
    return found[:SCANS]


@pytest.mark.parametrize("training_s", [30, pytest.param(120, marks=[pytest.mark.proof, pytest.mark.alone])])
def test_the_whole_loop(
    watch: Watch, serve: Callable[..., Server], hippocampi: list[Path], tmp_path: Path, training_s: int
) -> None:
    pictures = Path(PICTURES) if PICTURES else None
    journey = Journey(watch, serve(tmp_path / "studies").address, tmp_path / "studies", hippocampi, pictures)
    _go_round(journey, training_s if pictures is None else PICTURES_TRAINING_S, tmp_path)


@pytest.mark.skipif(ELSEWHERE is None, reason="no server is named by SERVER, STUDIES and PASSWORD")
def test_the_whole_loop_on_a_server_that_runs(watch: Watch, hippocampi: list[Path], tmp_path: Path) -> None:
    """Such as one in a container: tests/container/dockerfile.py."""
    assert ELSEWHERE is not None
    journey = Journey(watch, ELSEWHERE, Path(os.environ["STUDIES"]), hippocampi)
    journey.sign_in(os.environ["PASSWORD"])
    _go_round(journey, 120, tmp_path)


def _go_round(journey: Journey, training_s: int, downloads: Path) -> None:
    journey.begin("Hippocampus", ("Anterior", "Posterior"))
    journey.upload()
    journey.go("Label")
    painted = [journey.paint(), journey.paint()]
    journey.train(training_s)
    accepted, corrected = journey.review()
    journey.home()
    journey.export([*painted, accepted, corrected], downloads)
