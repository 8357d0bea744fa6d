"""Files that a person chooses in the browser, from the choice to the study."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest

from maskmatch_med.service import ImportOptions, take_in
from tests.browser.watch import Watch
from tests.served import Server

pytestmark = pytest.mark.proof


def test_files_that_are_chosen_arrive_and_the_wrong_one_is_named(
    watch: Watch, serve: Callable[..., Server], tmp_path: Path
) -> None:
    (tmp_path / "first").mkdir()
    nibabel.save(nibabel.Nifti1Image(np.ones((9, 9, 9), np.int16), np.eye(4)), tmp_path / "first" / "small.nii")
    take_in(tmp_path / "first", tmp_path / "studies" / "heads", ImportOptions(label_names=("a",)))
    values = np.random.default_rng(7).integers(0, 30_000, (200, 200, 260)).astype(np.int16)
    nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), tmp_path / "large.nii")
    (tmp_path / "letter.docx").write_bytes(b"dear all")
    page = watch.page
    page.goto(f"{serve(tmp_path / 'studies').address}/scans?study=heads")
    page.get_by_text("Add scans").first.click()
    page.locator(".pick-files").set_input_files([tmp_path / "large.nii", tmp_path / "letter.docx"])
    page.get_by_text("added: large").wait_for(timeout=60_000)
    assert page.get_by_text("letter.docx").first.is_visible()
    stored = nibabel.load(tmp_path / "studies" / "heads" / "imagesTr" / "large_0000.nii.gz")
    np.testing.assert_array_equal(np.asarray(stored.dataobj), values)
    assert list((tmp_path / "studies").glob(".heads.uploads/**/*.nii")) == []
