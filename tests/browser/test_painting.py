"""The painter's tools with a real mouse: what each leaves in the saved label, voxel by voxel."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import nibabel
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from maskmatch_med.service import ImportOptions, label_history, open_draft, take_in
from tests.browser.desk import Desk
from tests.browser.hand import Hand, Sheet
from tests.browser.watch import Watch
from tests.served import Server

SHAPE = (26, 22, 14)
SLICE = 6
SPACING = (1.0, 1.0, 2.5)
SCANS = ("paint", "shapes", "steps", "limits", "filled", "start", "first", "second", "third")


@pytest.fixture(scope="module")
def studies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study ``heads`` whose axes do not run as the viewer's do: left is right, front is back."""
    root = tmp_path_factory.mktemp("painting")
    source = root / "heads"
    source.mkdir()
    affine = np.diag([-SPACING[0], -SPACING[1], SPACING[2], 1.0])
    affine[:3, 3] = [11.0, 9.0, -20.0]
    for rank, name in enumerate(SCANS):
        nibabel.save(nibabel.Nifti1Image(_values() + np.int16(rank), affine), source / f"{name}.nii.gz")
    (root / "studies").mkdir()
    intake = take_in(source, root / "studies" / "heads", ImportOptions(label_names=("one", "two", "three")))
    assert sorted(intake.added) == sorted(SCANS), intake
    return root / "studies"


@pytest.fixture(scope="module")
def server(studies: Path) -> Iterator[Server]:
    running = Server(studies).start()
    yield running
    running.stop()


def _values() -> NDArray[np.int16]:
    """A bright ball in noise; its values tell the ball from the rest."""
    grid = np.stack(np.meshgrid(*(np.arange(n) for n in SHAPE), indexing="ij"), -1)
    far = (((grid - [13, 11, 7]) * SPACING) ** 2).sum(-1)
    noise = np.random.default_rng(5).integers(0, 80, SHAPE)
    return (np.where(far < 49, 600, 100) + noise).astype(np.int16)


def _open(watch: Watch, server: Server, scan: str, view: str = "axial", index: int = SLICE) -> Hand:
    desk = Desk(watch).open(server.address, "heads", scan)
    return Hand(desk, SHAPE).turn(view).go(index)


def _disc(sheet: Sheet, middle: tuple[int, int, int], size: int, label: int, judged: bool = True) -> None:
    """A dab of the brush in an axial slice: all voxels within half its size."""
    x, y = np.meshgrid(np.arange(SHAPE[0]), np.arange(SHAPE[1]), indexing="ij")
    inside = (x - middle[0]) ** 2 + (y - middle[1]) ** 2 <= (size / 2) ** 2
    sheet.labels[:, :, middle[2]][inside] = label
    sheet.judged[:, :, middle[2]][inside] = judged


def test_brush_eraser_background_undo_and_a_version(watch: Watch, server: Server, studies: Path) -> None:
    sheet = Sheet(SHAPE)
    hand = _open(watch, server, "paint").take("brush", label=1, size=5)
    hand.stroke((8, 8, SLICE))
    _disc(sheet, (8, 8, SLICE), 5, 1)
    hand.take("brush", label=2, size=1)
    sheet.row(hand, (5, 15, SLICE), (19, 15, SLICE), 2)
    hand.take("background", size=3).stroke((8, 8, SLICE))
    _disc(sheet, (8, 8, SLICE), 3, 0)
    hand.take("eraser", size=1).stroke((10, 15, SLICE))
    _disc(sheet, (10, 15, SLICE), 1, 0, judged=False)
    hand.page.keyboard.press("Control+z")
    hand.page.keyboard.press("Control+z")
    hand.page.keyboard.press("Control+y")
    _disc(sheet, (10, 15, SLICE), 1, 2)
    hand.go(SLICE - 3)
    hand.page.keyboard.press("Control+z")
    assert hand.desk.find(".slice-number").inner_text() == f"{SLICE + 1} / {SHAPE[2]}", "undo shows what it changes"
    hand.page.keyboard.press("Control+y")
    hand.saved()
    sheet.compare(studies / "heads", "paint")
    hand.leave()
    sheet.compare_version(studies / "heads", "paint")


def test_the_crosshair_is_a_thin_line_from_either_side(watch: Watch, server: Server) -> None:
    desk = Desk(watch).open(server.address, "heads", SCANS[0])
    desk.find("button[data-tool=move]").click()
    for side in ("Neurological", "Radiological"):
        if desk.find(".side").inner_text() != side:
            desk.find(".side").click()
        desk.view("coronal")
        desk.view("axial")
        watch.page.wait_for_timeout(400)
        red, green, blue = np.moveaxis(desk.picture(), -1, 0)
        yellow = (red > 180) & (green > 120) & (blue < 110)
        wide = np.median(yellow.sum(0)[yellow.any(0)])
        assert 1 <= wide <= 4, f"{side}: a horizontal line of {wide} pixels"


@pytest.mark.proof
def test_every_plane_of_all_planes_paints_what_it_tells(watch: Watch, server: Server, studies: Path) -> None:
    watch.page.set_viewport_size({"width": 1280, "height": 800})
    desk = Desk(watch).open(server.address, "heads", "first")
    desk.view("multi")
    desk.find("button[data-tool=brush]").click()
    desk.find(".size").fill("1")
    box = desk.canvas.bounding_box()
    expected = np.zeros(SHAPE, bool)
    # The axial slice lies at the left, the coronal one over the sagittal one at the right.
    for across, down, axis in ((0.2, 0.4, 2), (0.75, 0.2, 1), (0.75, 0.8, 0)):
        spot = (box["x"] + across * box["width"], box["y"] + down * box["height"])
        watch.page.mouse.move(*spot, steps=2)
        watch.page.wait_for_timeout(300)
        before = desk.where()
        watch.page.mouse.move(spot[0] + 60, spot[1], steps=2)
        watch.page.wait_for_timeout(300)
        there = desk.where()
        assert before is not None
        assert there is not None
        moved = [one for one in range(3) if before.voxel[one] != there.voxel[one]]
        assert moved, f"nothing is told at {spot}"
        assert axis not in moved, f"at {spot} lies another plane than that across axis {axis}"
        watch.page.mouse.down()
        watch.page.mouse.up()
        expected[there.voxel] = True
    sheet = Sheet(SHAPE)
    sheet.labels[expected], sheet.judged[expected] = 1, True
    desk.find(".saved[data-state=saved]").wait_for(timeout=20_000)
    sheet.compare(studies / "heads", "first")


@pytest.mark.proof
def test_shapes_and_buckets(watch: Watch, server: Server, studies: Path) -> None:
    sheet = Sheet(SHAPE)
    hand = _open(watch, server, "shapes").take("rectangle", label=1)
    hand.stroke((3, 3, SLICE), (9, 8, SLICE))
    sheet.note((3, 3, SLICE), (9, 8, SLICE), 1)
    hand.take("ellipse", label=2).stroke((14, 3, SLICE), (22, 8, SLICE))
    x, y = np.meshgrid(np.arange(SHAPE[0]), np.arange(SHAPE[1]), indexing="ij")
    inside = ((x - 18) / 4.5) ** 2 + ((y - 5.5) / 3) ** 2 <= 1
    sheet.labels[:, :, SLICE][inside], sheet.judged[:, :, SLICE][inside] = 2, True
    hand.take("fill", label=3).stroke((3, 12, SLICE), (12, 12, SLICE), (12, 18, SLICE), (3, 18, SLICE))
    sheet.note((3, 12, SLICE), (12, 18, SLICE), 3)
    hand.saved()
    sheet.compare(studies / "heads", "shapes")
    # A ring of one voxel, filled from within: the bucket does not leave it.
    hand.take("brush", label=1, size=1)
    ring = [(15, 12, SLICE), (21, 12, SLICE), (21, 18, SLICE), (15, 18, SLICE), (15, 12, SLICE)]
    hand.stroke(*ring)
    for start, end in pairwise(ring):
        sheet.note(start, end, 1)
    hand.take("bucket", label=2).stroke((18, 15, SLICE))
    sheet.note((16, 13, SLICE), (20, 17, SLICE), 2)
    hand.desk.find(".ball").click()
    hand.go(SLICE + 2).take("bucket", label=3).stroke((2, 2, SLICE + 2))
    free = ~sheet.judged
    part = ndimage.label(free)[0]
    whole = part == part[2, 2, SLICE + 2]
    sheet.labels[whole], sheet.judged[whole] = 3, True
    hand.saved()
    sheet.compare(studies / "heads", "shapes")


@pytest.mark.proof
@pytest.mark.parametrize("view", ["axial", "coronal", "sagittal"])
def test_undo_and_redo_over_100_steps_across_slices(watch: Watch, server: Server, studies: Path, view: str) -> None:
    scan = {"axial": "steps", "coronal": "second", "sagittal": "third"}[view]
    hand = _open(watch, server, scan, view, 0).take("brush", label=2, size=1)
    assert hand.plane is not None
    axis = hand.plane.axis
    labels = [np.zeros(SHAPE, np.uint8)]
    for rank in range(104):
        if rank % 8 == 0:
            hand.go(rank // 8)
        voxel = np.insert([3 + rank % 8, 4 + (3 * rank) % 8], axis, rank // 8)
        hand.stroke((int(voxel[0]), int(voxel[1]), int(voxel[2])))
        labels.append(labels[-1].copy())
        labels[-1][tuple(voxel)] = 2
    for key, rank in (("Control+z", 2), ("Control+y", 104)):
        for _ in range(102):
            hand.page.keyboard.press(key)
        hand.saved()
        draft = open_draft(studies / "heads", scan)
        np.testing.assert_array_equal(draft.labels, labels[rank])
        np.testing.assert_array_equal(draft.judged, labels[rank] > 0)


@pytest.mark.proof
def test_paint_within_limits_and_in_three_dimensions(watch: Watch, server: Server, studies: Path) -> None:
    sheet, values = Sheet(SHAPE), _values() + SCANS.index("limits")
    hand = _open(watch, server, "limits", index=7)
    hand.desk.find(".threshold").click()
    hand.desk.find(".low").fill("400")
    hand.desk.find(".high").fill("1000")
    hand.desk.find(".ball").click()
    hand.take("brush", label=1, size=9).stroke((9, 11, 7))
    grid = np.stack(np.meshgrid(*(np.arange(n) for n in SHAPE), indexing="ij"), -1)
    ball = (((grid - [9, 11, 7]) * SPACING) ** 2).sum(-1) <= 4.5**2
    inside = ball & (values >= 400)
    sheet.labels[inside], sheet.judged[inside] = 1, True
    hand.saved()
    sheet.compare(studies / "heads", "limits")
    hand.take("bucket", label=2).stroke((15, 11, 7))
    rest = (values >= 400) & ~sheet.judged
    part = ndimage.label(rest)[0]
    filled = part == part[15, 11, 7]
    sheet.labels[filled], sheet.judged[filled] = 2, True
    hand.saved()
    sheet.compare(studies / "heads", "limits")


@pytest.mark.proof
def test_the_server_fills_between_slices_and_grows(watch: Watch, server: Server, studies: Path) -> None:
    hand = _open(watch, server, "filled", index=3).take("rectangle", label=1)
    hand.stroke((8, 6, 3), (18, 16, 3))
    hand.go(9).stroke((8, 6, 9), (18, 16, 9))
    hand.saved()
    before = open_draft(studies / "heads", "filled")
    hand.desk.find(".interpolate").click()
    hand.saved()
    filled = open_draft(studies / "heads", "filled")
    for index in range(4, 9):
        assert (filled.labels[9:18, 7:16, index] == 1).all(), index
    assert not filled.labels[:, :, [*range(3), *range(10, SHAPE[2])]].any()
    hand.page.keyboard.press("Control+z")
    hand.saved()
    np.testing.assert_array_equal(open_draft(studies / "heads", "filled").labels, before.labels)
    hand.go(7).take("brush", label=2, size=3).stroke((13, 11, 7))
    hand.take("background", size=3).stroke((3, 3, 7), (3, 18, 7))
    hand.take("brush", label=2)
    hand.desk.find(".grow").click()
    hand.desk.find(".panel .yes").click()
    hand.saved()
    grown = open_draft(studies / "heads", "filled").labels[:, :, 7] == 2
    ball = _values()[:, :, 7] > 400
    assert 2 * (grown & ball).sum() / (grown.sum() + ball.sum()) > 0.8


@pytest.mark.proof
def test_a_prediction_is_suggested_then_completed_and_the_next_scan_opens(
    watch: Watch, server: Server, studies: Path
) -> None:
    root = studies / "heads"
    guess = (_values() > 400).astype(np.uint8) * 3
    (root / "predictions" / "m").mkdir(parents=True, exist_ok=True)
    affine = nibabel.load(root / "imagesTr" / "start_0000.nii.gz").affine
    nibabel.save(nibabel.Nifti1Image(guess, affine), root / "predictions" / "m" / "start.nii.gz")
    hand = _open(watch, server, "start", index=7).take("brush", label=1, size=1)
    sheet = Sheet(SHAPE)
    sheet.row(hand, (2, 11, 7), (13, 11, 7), 1)
    hand.saved()
    hand.desk.find(".start").click()
    hand.desk.find(".panel .yes").click()
    hand.page.get_by_text("hatched where nobody").wait_for(timeout=20_000)
    sheet.labels = np.where(sheet.judged, sheet.labels, guess).astype(np.uint8)
    sheet.compare(root, "start")
    hand.desk.find(".complete-slice").click()
    hand.page.get_by_text("This slice is complete. Complete an empty one before").wait_for(timeout=20_000)
    sheet.judged[:, :, 7] = True
    sheet.compare(root, "start")
    sheet.compare_version(root, "start")
    hand.desk.find(".complete-scan").click()
    hand.page.get_by_text("This scan is complete").wait_for(timeout=20_000)
    assert label_history(root, "start")[0].complete
    hand.desk.find(".next").click()
    hand.page.wait_for_url(lambda url: "scan=start" not in url, timeout=30_000)
    hand.desk.ready()


@pytest.mark.proof
def test_a_picture_in_colour_shown_smaller_than_it_is(
    watch: Watch, serve: Callable[..., Server], tmp_path: Path
) -> None:
    source, studies = tmp_path / "source", tmp_path / "studies"
    source.mkdir()
    studies.mkdir()
    colours = np.random.default_rng(2).integers(0, 255, (30, 40, 3), np.uint8)
    Image.fromarray(colours).save(source / "picture.png")
    take_in(source, studies / "pictures", ImportOptions(label_names=("one", "two")))
    running = serve(studies, MASKMATCH_DISPLAY_VOXELS="400")
    desk = Desk(watch).open(running.address, "pictures", "picture")
    about = json.loads(running.ask(f"/api/pictures/scans/picture.json?token={_token(watch)}").body)
    assert (about["colour"], about["shape"]) == (True, [40, 30, 1])
    assert np.prod(about["factors"]) > 1
    hand = Hand(desk, (40, 30, 1)).turn("axial").take("brush", label=2, size=1)
    assert hand.plane is not None
    assert hand.plane.steps.diagonal().min() > 0, "columns run to the right and rows down, as in any other program"
    sheet = Sheet((40, 30, 1))
    for row in (4, 7, 12):
        sheet.row(hand, (5, row, 0), (31, row, 0), 2)
    hand.saved()
    sheet.compare(studies / "pictures", "picture")


def _token(watch: Watch) -> str:
    """A token that the page uses."""
    found = watch.asked_for("token=") + watch.asked_for("token=", "HEAD")
    return found[0].split("token=")[1].split("&")[0]


@pytest.mark.proof
def test_what_strokes_cover_as_counted_otherwise(watch: Watch, server: Server) -> None:
    """Brush, outline, ellipse and bucket against formulas over whole grids, on a hundred random strokes."""
    watch.page.goto(f"{server.address}/_stcore/health")
    rng = np.random.default_rng(1)
    shape, spacing = (17, 15, 6), (1.0, 1.5, 3.0)
    mm = np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij"), -1) * spacing
    for _ in range(100):
        start, end = rng.integers(0, shape), rng.integers(0, shape)
        size = int(rng.integers(2, 9))
        way, radius = (end - start) * spacing, size / 2 * min(spacing)
        along = ((mm - start * spacing) @ way) / max(way @ way, 1e-9)
        near = start * spacing + np.clip(along, 0, 1)[..., None] * way
        covered = ((mm - near) ** 2).sum(-1) <= radius**2 + 1e-9
        found = _covered(watch, shape, spacing, f"brush(grid, null, {start.tolist()}, {end.tolist()}, {size})")
        assert (found | covered == found).all()
        extra = found & ~covered  # only the straight line itself may add to it
        assert extra.sum() <= np.abs(end - start).max() + 1
        keys = rng.integers(0, 2, shape)
        call = f"bucket(grid, null, {start.tolist()}, (n) => {keys.ravel(order='F').tolist()}[n], () => true)"
        part = ndimage.label(keys == keys[tuple(start)])[0]
        np.testing.assert_array_equal(_covered(watch, shape, spacing, call), part == part[tuple(start)])


def _covered(watch: Watch, shape: tuple[int, ...], spacing: tuple[float, ...], call: str) -> NDArray[np.bool_]:
    """The voxels that a function of strokes.js names."""
    grid = json.dumps({"shape": shape, "spacing": spacing})
    script = f"async () => {{ const {{ brush, bucket }} = await import('/annotator/strokes.js'); const grid = {grid};"
    numbers = watch.page.evaluate(f"{script} return Array.from({call}); }}")
    found = np.zeros(int(np.prod(shape)), bool)
    found[numbers] = True
    return found.reshape(shape, order="F")
