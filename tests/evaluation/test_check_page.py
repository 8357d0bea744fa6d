"""The page of a check holds its pictures, escapes its text, stays small, and draws outlines where labels are."""

from __future__ import annotations

import base64
import io
import re

import numpy as np
from PIL import Image

from maskmatch_med.evaluation import check_page as room
from maskmatch_med.evaluation.check_page import Gallery, Shown, check_page
from maskmatch_med.evaluation.thumbnails import thumbnail
from maskmatch_med.io import LabelMap
from maskmatch_med.study import Finding, Study, check_study
from maskmatch_med.volume import Geometry, Volume

GRID = Geometry((40, 40, 20), np.diag([1.0, 1.0, 2.0, 1.0]))
CLASSES = {"background": 0, "liver": 1}


def labelled_scan() -> tuple[Volume, LabelMap]:
    values = np.random.default_rng(0).uniform(0, 1, (1, *GRID.shape)).astype(np.float32)
    labels = np.zeros(GRID.shape, np.uint8)
    labels[26:36, 15:25, 6:14] = 1  # the patient's right
    return Volume(values, GRID), LabelMap(labels, GRID)


def coloured(picture: bytes) -> np.ndarray:
    """Where a picture is not grey, (rows, columns) bool."""
    pixels = np.asarray(Image.open(io.BytesIO(picture)).convert("RGB")).astype(int)
    return np.asarray(pixels.max(axis=-1) - pixels.min(axis=-1) > 60)


def test_outlines_lie_on_the_patients_right_which_is_left():
    scan, label = labelled_scan()
    picture = thumbnail(scan, label, CLASSES)
    axial = coloured(picture)[:, :132]
    columns = np.flatnonzero(axial.any(axis=0))
    assert columns.size > 10
    assert columns.max() < 66
    assert not coloured(thumbnail(scan, None, CLASSES)).any()


def test_pictures_keep_millimetres_and_flat_ones_stay_one():
    scan, label = labelled_scan()
    wide = Image.open(io.BytesIO(thumbnail(scan, label, CLASSES)))
    assert wide.height == 132
    assert abs(wide.width - (3 * 132 + 8)) <= 2  # 40 mm in every direction
    flat = Volume(np.random.default_rng(0).uniform(size=(3, 60, 30, 1)), Geometry((60, 30, 1), np.diag([-1, -1, 1, 1])))
    picture = Image.open(io.BytesIO(thumbnail(flat, None, CLASSES)))
    assert picture.size == (264, 132)


def test_a_scan_with_air_in_hounsfield_units_shows_soft_tissue():
    values = np.full((1, 40, 40, 1), -1000, np.float32)
    values[0, 10:20, 10:30], values[0, 20:30, 10:30] = 0, 80  # fluid beside an enhanced organ
    values[0, 0, 0] = 2500
    pixels = np.asarray(
        Image.open(io.BytesIO(thumbnail(Volume(values, Geometry((40, 40, 1), np.eye(4))), None, CLASSES)))
    )
    middle = pixels.shape[0] // 2
    shades = np.unique(pixels[middle, :, 0] // 8 * 8)
    fluid, organ = 160 / 400 * 255, 240 / 400 * 255
    assert all(np.abs(shades - shade).min() <= 8 for shade in (0, fluid, organ))


def test_a_scan_without_a_value_is_drawn():
    blank = Volume(np.full((1, 8, 8, 8), np.nan, np.float32), Geometry((8, 8, 8), np.eye(4)))
    assert Image.open(io.BytesIO(thumbnail(blank, None, CLASSES))).height == 132


def test_the_page_holds_everything_and_escapes(tiny_study):
    study = Study.at(tiny_study)
    gallery = Gallery(study.label_names)
    check_study(tiny_study, look=gallery.look)
    finding = Finding("error", study.folder.names()[-1], "bad <file> & more", "do <this>", "geometry")
    page = check_page("my <study>", [finding], gallery)
    assert "my &lt;study&gt;" in page
    assert "bad &lt;file&gt; &amp; more" in page
    assert not re.findall(r"<script|<link|url\(|https?://", page)
    pictures = re.findall(r'src="data:image/jpeg;base64,([^"]+)"', page)
    assert len(pictures) == len(study.folder.names())
    assert all(Image.open(io.BytesIO(base64.b64decode(picture))).height == 132 for picture in pictures)
    names = re.findall(r'<div class="said"><b>([^<]+)</b>', page)
    assert names[0] == finding.case  # findings first


def test_many_findings_of_one_kind_take_one_row_and_the_page_stays_small(monkeypatch):
    monkeypatch.setattr(room, "_BUDGET", 2000)
    gallery = Gallery(CLASSES, {f"c{i}": Shown(f"c{i}", "no label", "8 voxels", b"x" * 300) for i in range(9)})
    findings = [Finding("warning", f"c{i}", f"c{i} is bright", "look", "intensity") for i in range(9)]
    page = check_page("s", findings, gallery)
    assert "9 scans, such as: c0 is bright" in page
    assert page.count("data:image/jpeg") == 5
    assert "4 scans are listed without a picture" in page
