"""The viewer in Chromium: what it says of a clicked voxel is what nibabel finds there, whatever the file's axes."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest

from maskmatch_med.service import ImportOptions, take_in

pytestmark = pytest.mark.proof
CHROMIUM = (
    *("--headless", "--no-sandbox", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
    *("--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"),
)
SHAPE = (24, 30, 18)
AXES = ("RAS", "LPS", "PIR", "ASL", "SRA")


@pytest.fixture(scope="module")
def studies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study ``turned`` with one scan an orientation; each voxel has a value of its own."""
    root = tmp_path_factory.mktemp("viewer")
    source = root / "turned"
    source.mkdir()
    for rank, codes in enumerate(AXES):
        values = (np.arange(np.prod(SHAPE)) + rank).reshape(SHAPE).astype(np.int16)
        nibabel.save(nibabel.Nifti1Image(values, _affine(codes)), source / f"{codes}.nii.gz")
    intake = take_in(source, root / "studies" / "turned", ImportOptions(label_names=("a",)))
    assert sorted(intake.added) == sorted(AXES), intake
    return root / "studies"


@pytest.fixture(scope="module")
def address(studies: Path) -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "maskmatch_app", "--folder", str(studies), "--port", str(port), "--no-browser"]
    with (studies.parent / "log").open("wb") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, "OMP_NUM_THREADS": "1"})
    for _ in range(300):
        try:
            urllib.request.urlopen(f"http://localhost:{port}/_stcore/health", timeout=5).close()
            break
        except OSError:
            time.sleep(0.2)
    yield f"http://localhost:{port}"
    server.terminate()
    server.wait(20)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    sync_api = pytest.importorskip("playwright.sync_api")
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no Chromium was found; install the package chromium")
    with sync_api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=chromium, args=list(CHROMIUM))
        yield opened
        opened.close()


@pytest.mark.parametrize("codes", AXES)
def test_the_voxel_it_names_is_the_voxel_of_the_file(browser: Any, address: str, studies: Path, codes: str) -> None:
    image = nibabel.load(studies / "turned" / "imagesTr" / f"{codes}_0000.nii.gz")
    values = image.get_fdata()
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"{address}/view?study=turned&scan={codes}")
    page.locator(".desk[data-state=ready]").wait_for(timeout=60_000)
    box = page.locator("canvas[aria-label='The scan']").bounding_box()
    seen = set()
    for key in ("a", "c", "s"):
        page.locator("canvas[aria-label='The scan']").press(key)
        for across, down in ((0.45, 0.4), (0.55, 0.6), (0.5, 0.3)):
            page.mouse.click(box["x"] + across * box["width"], box["y"] + down * box["height"])
            page.wait_for_timeout(300)
            text = page.locator(".where").inner_text()
            match = re.match(r"voxel (\d+), (\d+), (\d+) +(\S+), (\S+), (\S+) mm +value (-?[\d.]+)", text)
            assert match, text
            voxel = tuple(int(n) for n in match.groups()[:3])
            assert float(match[7]) == values[voxel]
            # The crosshair stands somewhere within the voxel.
            mm = np.array([float(n) for n in match.groups()[3:6]])
            off = np.linalg.inv(image.affine) @ [*mm, 1.0]
            np.testing.assert_allclose(off[:3], voxel, atol=0.56)
            seen.add(voxel)
    assert len(seen) >= 5
    assert [url for url in asked if not url.startswith((address, "blob:", "data:"))] == []
    page.close()


def test_files_that_are_chosen_arrive_and_the_wrong_one_is_named(
    browser: Any, address: str, studies: Path, tmp_path: Path
) -> None:
    values = np.random.default_rng(7).integers(0, 30_000, (200, 200, 260)).astype(np.int16)
    nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), tmp_path / "large.nii")
    (tmp_path / "letter.docx").write_bytes(b"dear all")
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    page.goto(f"{address}/scans?study=turned")
    page.get_by_text("Add scans").click()
    page.locator(".pick-files").set_input_files([tmp_path / "large.nii", tmp_path / "letter.docx"])
    page.get_by_text("1 scans added: large").wait_for(timeout=60_000)
    assert page.get_by_text("letter.docx").first.is_visible()
    stored = nibabel.load(studies / "turned" / "imagesTr" / "large_0000.nii.gz")
    np.testing.assert_array_equal(np.asarray(stored.dataobj), values)
    assert list((studies / ".turned.uploads").rglob("*.nii")) == []
    page.close()


def _affine(codes: str) -> np.ndarray:
    affine = np.eye(4)
    spacing = np.array([1.5, 2.0, 2.5])
    turned = nibabel.orientations.axcodes2ornt(tuple(codes))
    affine[:3, :3] = 0
    for axis, (target, sign) in enumerate(turned):
        affine[int(target), axis] = sign * spacing[axis]
    affine[:3, 3] = [-12.0, 7.0, 30.0]
    return affine
