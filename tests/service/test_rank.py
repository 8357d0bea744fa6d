"""Which scan to label next, on a real study."""

from __future__ import annotations

from io import StringIO
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from rich.console import Console

from maskmatch_med import service
from maskmatch_med.cli.app import main
from maskmatch_med.ranking import STRATEGIES, Strategy

OPEN = ["phantom_002", "phantom_003", "phantom_004"]
"""The scans of the study that have no label."""


def _predict(root: Path, case: str, value: int = 1, model: str = "m") -> None:
    image = nib.load(root / "imagesTr" / f"{case}_0000.nii.gz")
    voxels = np.zeros(image.shape, np.uint8)
    voxels[8:12, 8:12, 8:12] = value
    folder = root / "predictions" / model
    folder.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(voxels, image.affine), folder / f"{case}.nii.gz")


def _paint(root: Path, case: str, *, whole: bool = False, save: bool = True) -> None:
    draft = service.open_draft(root, case)
    labels, judged = draft.labels.copy(), draft.judged.copy()
    labels[4:6, 4:6, 4], judged[4:7, 4:7, 4] = 1, True
    revision = service.save_strokes(root, case, draft.revision, labels, judged)
    if whole:
        service.complete_scan(root, case, revision)
    elif save:
        service.save_label(root, case)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_all_scans_without_a_label_are_ordered(tiny_study: Path, strategy: Strategy) -> None:
    found = service.rank_scans(tiny_study, strategy)
    assert sorted(one.name for one in found) == OPEN
    assert all(one.reason for one in found)


def test_a_second_look_reads_no_scan_and_gives_the_same(tiny_study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = service.rank_scans(tiny_study, "diversity")
    monkeypatch.setattr("maskmatch_med.study.case.read_volume", lambda paths: pytest.fail(f"{paths} was read again"))
    assert service.rank_scans(tiny_study, "diversity") == first


def test_without_time_scans_are_ordered_all_the_same(tiny_study: Path) -> None:
    found = service.rank_scans(tiny_study, "diversity", seconds=0)
    assert {one.reason for one in found} == {"it has not been looked at yet"}
    assert sorted(one.name for one in found) == OPEN


def test_scans_in_which_a_model_sees_something_come_first(tiny_study: Path) -> None:
    _predict(tiny_study, OPEN[0], value=0)
    _predict(tiny_study, OPEN[2])
    found = service.rank_scans(tiny_study)
    assert [one.name for one in found] == [OPEN[2], OPEN[1], OPEN[0]]
    assert service.next_to_label(tiny_study) == OPEN[2]


def test_unsaved_strokes_come_before_a_partial_label_and_that_before_a_new_scan(tiny_study: Path) -> None:
    begun, unsaved, fresh = OPEN
    _paint(tiny_study, begun)
    assert service.next_to_label(tiny_study) == begun
    _paint(tiny_study, unsaved, save=False)
    assert service.next_to_label(tiny_study) == unsaved
    assert service.next_to_label(tiny_study, after=unsaved) == begun
    service.save_label(tiny_study, unsaved)
    _paint(tiny_study, begun, whole=True)
    _paint(tiny_study, unsaved, whole=True)
    assert service.next_to_label(tiny_study) == fresh
    assert service.next_to_label(tiny_study, after=fresh) is None


def test_who_labels_in_parts_is_led_on_to_new_scans(tiny_study: Path) -> None:
    seen: list[str] = []
    name = service.next_to_label(tiny_study)
    while name is not None and len(seen) < 4:
        seen.append(name)
        if len(seen) < 4:
            _paint(tiny_study, name)
        name = service.next_to_label(tiny_study, after=name)
    assert sorted(seen[:3]) == OPEN
    assert seen[3] == seen[0]


def test_nothing_is_left_to_label(tiny_study: Path) -> None:
    for name in OPEN:
        _paint(tiny_study, name, whole=True)
    assert service.next_to_label(tiny_study) is None
    assert service.rank_scans(tiny_study) == []


def test_the_command_names_the_scans(tiny_study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = Console(file=StringIO(), width=120)
    monkeypatch.setattr("maskmatch_med.cli.console.CONSOLE", shown)
    assert main(["rank", str(tiny_study), "--strategy", "random", "-n", "2"]) == 0
    told = shown.file.getvalue()
    expected = service.rank_scans(tiny_study, "random")
    assert "2 of 3 scans without a label" in told
    told = told.split("scans without a label")[1]
    assert [one.name in told for one in expected] == [True, True, False]
    assert main(["rank", str(tiny_study), "--strategy", "best"]) == 2
