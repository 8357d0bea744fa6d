"""The keys of Review, pressed on the scan in a browser: accept, skip, reject and correct."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from maskmatch_med.service import open_draft, review_queue
from maskmatch_med.study import Study
from maskmatch_med.study.verdicts import verdicts_of
from tests.browser.watch import Watch
from tests.served import Server

pytestmark = pytest.mark.proof
OPEN = ["phantom_002", "phantom_003", "phantom_004"]
"""The scans of the study that have no label."""


def _predict(root: Path, case: str) -> None:
    image = nib.load(root / "imagesTr" / f"{case}_0000.nii.gz")
    voxels = np.zeros(image.shape, np.uint8)
    voxels[8:13, 8:13, 8:13] = 1
    path = root / "predictions" / "m" / f"{case}.nii.gz"
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(voxels, image.affine), path)


def _shown(page: Any, scan: str) -> None:
    """Wait until a scan is in view, whole: the keys speak of it before it is loaded."""
    page.locator(f"button[data-scan={scan}][aria-current=true]").wait_for(timeout=60_000)
    page.locator(".own td", has_text=f"Accept {scan}").wait_for(state="attached", timeout=60_000)
    page.locator(".desk[data-state=ready]").wait_for(timeout=90_000)


def test_keys_decide_on_the_scan_in_view(
    watch: Watch, serve: Callable[..., Server], planned_study: Path, tmp_path: Path
) -> None:
    root = Path(shutil.copytree(planned_study, tmp_path / "studies" / "tiny"))
    for case in OPEN:
        _predict(root, case)
    first, second, third = (item.case for item in review_queue(root))
    page = watch.page
    page.goto(f"{serve(tmp_path / 'studies').address}/review?study=tiny")
    _shown(page, first)
    canvas = page.locator("canvas[aria-label='The scan']")
    canvas.click()
    page.keyboard.press(".")
    box = canvas.bounding_box()
    page.mouse.move(box["x"] + 0.15 * box["width"], box["y"] + 0.4 * box["height"])
    page.mouse.down()
    page.mouse.move(box["x"] + 0.3 * box["width"], box["y"] + 0.6 * box["height"], steps=3)
    page.mouse.up()
    assert re.search(r"ruler \d+\.\d mm", page.locator(".where").inner_text())
    page.keyboard.press(".")
    assert "ruler" not in page.locator(".where").inner_text()
    page.keyboard.press("s")
    _shown(page, second)
    page.keyboard.press("a")
    _shown(page, third)
    assert Study.at(root).versions(second)[-1].source == "model accepted"
    assert Study.at(root).case(first).label is None
    page.keyboard.press("r")
    words = page.get_by_label("In your own words")
    words.wait_for()
    words.fill("scar across")
    page.get_by_role("button", name="Reject it").click()
    _shown(page, first)
    (verdict,) = verdicts_of(Study.at(root), third)
    assert (verdict.verdict, verdict.reason) == ("rejected", "scar across")
    page.reload()
    _shown(page, first)
    page.keyboard.press("c")
    page.locator("button[data-tool=brush]").wait_for(timeout=60_000)
    assert "from=review" in page.url
    assert open_draft(root, first).model == "m"
    assert page.locator("[role=dialog]").count() == 0, "no key has reached Streamlit's own"
