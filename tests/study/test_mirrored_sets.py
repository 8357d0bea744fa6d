"""The false alarms and finds that docs/check.md states for mirrored scans, measured anew on the whole public sets."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from maskmatch_med.io import read_labels, read_volume
from maskmatch_med.study import Case
from maskmatch_med.study.checking.cohort import cohort_findings
from maskmatch_med.study.checking.finding import Finding
from maskmatch_med.study.checking.measures import Measures, measure

CLASSES = {"background": 0, "one": 1, "two": 2}


def measured(root: Path) -> list[Measures]:
    found = []
    for path in sorted((root / "imagesTr").glob("[!.]*.nii.gz")):
        name = path.name.removesuffix(".nii.gz").removesuffix("_0000")
        scan = read_volume(path)
        case = Case(name, (path,), scan.geometry.shape, None, path.name, False, None)
        found.append(measure(case, scan, read_labels(root / "labelsTr" / f"{name}.nii.gz"), CLASSES))
    return found


def sides(scans: list[Measures]) -> list[Finding]:
    return [finding for finding in cohort_findings(scans, ["MRI"], CLASSES) if finding.kind == "left/right"]


def mirrored(scan: Measures, *, image: bool, label: bool) -> Measures:
    assert scan.side is not None
    assert scan.label_side is not None
    return replace(
        scan, side=-scan.side if image else scan.side, label_side=-scan.label_side if label else scan.label_side
    )


@pytest.mark.proof
@pytest.mark.parametrize(
    ("folder", "count", "errors"), [("Task04_Hippocampus", 200, 190), ("Dataset101_LeftAtriumHalf", 80, 76)]
)
def test_no_false_alarm_and_every_mirrored_scan_found(shared_data: Path, folder: str, count: int, errors: int):
    scans = measured(shared_data / folder)
    assert len(scans) == count
    assert sides(scans) == []
    told: Counter[tuple[bool, bool, str]] = Counter()
    for place, scan in enumerate(scans):
        for image, label in ((True, True), (True, False), (False, True)):
            changed = [*scans[:place], mirrored(scan, image=image, label=label), *scans[place + 1 :]]
            found = sides(changed)
            assert {finding.case for finding in found} <= {scan.name}
            told.update((image, label, finding.severity) for finding in found)
    assert told[True, True, "warning"] == count
    assert told[True, False, "error"] == errors
    assert told[True, False, "error"] + told[True, False, "warning"] == count
    assert told[False, True, "error"] == errors


@pytest.mark.proof
@pytest.mark.parametrize("folder", ["Task04_Hippocampus", "Dataset101_LeftAtriumHalf"])
def test_a_tenth_of_the_set_mirrored_is_found(shared_data: Path, folder: str):
    scans = measured(shared_data / folder)
    chosen = set(np.random.default_rng(0).choice(len(scans), len(scans) // 10, replace=False).tolist())
    changed = [mirrored(scan, image=True, label=True) if i in chosen else scan for i, scan in enumerate(scans)]
    assert {finding.case for finding in sides(changed)} == {scans[i].name for i in chosen}
