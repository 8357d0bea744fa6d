"""The demo from generated scans to report, on scans small enough for a test."""

from __future__ import annotations

import re
import shutil
import subprocess
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import nibabel as nib
import pytest

from maskmatch_med.demo import Demo, run_demo
from maskmatch_med.errors import InputError
from maskmatch_med.phantom import PhantomOptions

SMALL = PhantomOptions(scans=4, labelled=2, test=2, shape=(24, 20, 20))


def demo_at(root: Path, said: list[str], events: list[dict[str, Any]]) -> Demo:
    return Demo(
        root,
        minutes=0.15,
        show_progress=lambda what: nullcontext(lambda done, total, name: None),
        show_training=lambda: nullcontext(events.append),
        say=said.append,
        phantom=SMALL,
    )


def test_demo_trains_both_methods_alike_and_reports(tmp_path: Path) -> None:
    said: list[str] = []
    events: list[dict[str, Any]] = []
    root = tmp_path / "demo"
    scores = run_demo(demo_at(root, said, events))
    assert list(scores) == ["supervised", "maskmatch"]
    for method, score in scores.items():
        assert set(score.cases) == {"phantom_004", "phantom_005"}
        assert f"{method:<12} test Dice {score.mean_dice:.3f}" in said
        for case in score.cases:
            found = nib.load(root / "predictions" / method / f"{case}.nii.gz")
            source = nib.load(root / "data" / "imagesTr" / f"{case}_0000.nii.gz")
            assert found.shape == source.shape
            assert found.affine == pytest.approx(source.affine)
    page = (root / "report.html").read_text(encoding="utf-8")
    assert "supervised" in page
    assert "maskmatch" in page
    assert page.count("data:image/png;base64,") >= 2
    assert "Research use" in page
    seconds = [event["seconds"] for event in events if event["event"] == "finish"]
    assert seconds == pytest.approx([9, 9], abs=4)
    assert [event["data"]["labelled"] for event in events if event["event"] == "finish"] == [2, 2]


def test_a_folder_that_holds_something_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("precious", encoding="utf-8")
    with pytest.raises(InputError, match="not an empty folder"):
        run_demo(demo_at(tmp_path, [], []))
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


@pytest.mark.skipif(shutil.which("make") is None, reason="there is no make")
def test_make_demo_begins_by_removing_the_demo_before() -> None:
    """The folder is generated, and a demo needs an empty one."""
    root = Path(__file__).resolve().parents[1]
    told = subprocess.run(["make", "-n", "demo"], cwd=root, capture_output=True, text=True, check=True).stdout
    assert re.search(r"rm -rf demo\n\S+/maskmatch demo demo\n", told)
