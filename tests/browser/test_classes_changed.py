"""The painter while the classes of its study change, and keys that belong to the page and not to the painter."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest

from maskmatch_med.service import ImportOptions, LabelDefinition, define_labels, label_history, open_draft, take_in
from tests.browser.desk import Desk
from tests.browser.hand import Hand, Sheet
from tests.browser.watch import Watch
from tests.served import Server

SHAPE = (24, 20, 12)
SLICE = 5


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A study with one scan and two structures."""
    source = tmp_path / "source"
    source.mkdir()
    values = np.random.default_rng(3).integers(0, 900, SHAPE).astype(np.int16)
    nibabel.save(nibabel.Nifti1Image(values, np.diag([-2.0, -2.0, 2.0, 1.0])), source / "head.nii.gz")
    return _taken_in(tmp_path)


def _taken_in(folder: Path) -> Path:
    root = folder / "studies" / "heads"
    take_in(folder / "source", root, ImportOptions(label_names=("one", "two")))
    return root


@pytest.mark.proof
def test_enter_on_a_link_or_a_line_that_opens_marks_nothing(
    serve: Callable[..., Server], watch: Watch, root: Path
) -> None:
    desk = Desk(watch).open(serve(root.parent).address, "heads", "head")
    desk.view("axial")
    page = watch.page
    brush = desk.find("button[data-tool=brush]")
    for selector in ("input[role=combobox]", "summary", "[data-testid=stSidebarNav] a >> nth=0"):
        page.locator(selector).first.focus()
        page.keyboard.press("e")
        assert brush.get_attribute("aria-pressed") == "true", f"a key on {selector} took the eraser"
        page.keyboard.press("Escape" if "combobox" in selector else "Enter")
    brush.wait_for(state="detached")
    assert not open_draft(root, "head").judged.any()
    assert not label_history(root, "head")


@pytest.mark.proof
def test_strokes_follow_their_structures_when_the_classes_change(
    serve: Callable[..., Server], watch: Watch, root: Path
) -> None:
    """Reordered with a stroke not yet sent, then renamed with one more, then removed from under a stroke."""
    watch.allow(r"status of 412|ERR_INTERNET|Client Error in reaching|WebSocket|Connection|Is Streamlit still")
    server, sheet = serve(root.parent), Sheet(SHAPE)
    desk = Desk(watch).open(server.address, "heads", "head")
    hand = Hand(desk, SHAPE).turn("axial").go(SLICE).take("brush", label=1, size=1)
    sheet.row(hand, (4, 3, SLICE), (17, 3, SLICE), 1)
    hand.saved()
    define_labels(root, [LabelDefinition("two", was="two"), LabelDefinition("one", was="one")])
    sheet.row(hand, (4, 5, SLICE), (17, 5, SLICE), 1)
    # On a slow machine it may have been shown and gone again.
    hand.page.get_by_text("were changed elsewhere").wait_for(state="attached", timeout=30_000)
    hand.saved()
    sheet.labels = np.array([0, 2, 1], np.uint8)[sheet.labels]
    sheet.compare(root, "head")
    chips = [desk.find(f"button[data-label='{n}']").inner_text().split()[0] for n in (1, 2)]
    assert (chips, desk.find("button[data-label='2']").get_attribute("aria-checked")) == (["two", "one"], "true")
    sheet.row(hand, (4, 7, SLICE), (17, 7, SLICE), 2)
    hand.saved()
    sheet.compare(root, "head")
    kept = [LabelDefinition("two", was="two"), LabelDefinition("uno", was="one"), LabelDefinition("three")]
    define_labels(root, kept)
    sheet.row(hand, (4, 9, SLICE), (17, 9, SLICE), 2)
    hand.saved()
    sheet.compare(root, "head")
    define_labels(root, [LabelDefinition("two", was="two")], remove_used=True)
    hand.stroke((4, 11, SLICE), (17, 11, SLICE))
    waiting = desk.find(".saved[data-state=unsaved]")
    waiting.wait_for(timeout=30_000)
    assert "which this study no longer has" in waiting.inner_text()
    assert not open_draft(root, "head").judged[:, 11].any()
    hand.page.keyboard.press("Control+z")
    hand.saved()
    assert not open_draft(root, "head").judged.any()


@pytest.mark.proof
def test_strokes_kept_in_the_browser_follow_their_structures_and_their_scan(
    serve: Callable[..., Server], watch: Watch, root: Path, tmp_path: Path
) -> None:
    """Painted while the server is gone and the page closed: the classes change meanwhile, then the whole study."""
    server, sheet, pages = serve(root.parent), Sheet(SHAPE), watch.page.context

    def painted_and_left(row: int, label: int) -> None:
        page = Watch(pages.new_page())
        hand = Hand(Desk(page).open(server.address, "heads", "head"), SHAPE).turn("axial").go(SLICE)
        hand.take("brush", label=label, size=1)
        server.kill()
        sheet.row(hand, (4, row, SLICE), (17, row, SLICE), label)
        hand.desk.find(".saved[data-state=unsaved]").wait_for(timeout=30_000)
        page.page.close()

    def opened() -> None:
        server.start()
        page = Watch(pages.new_page())
        Desk(page).open(server.address, "heads", "head").find(".saved[data-state=saved]").wait_for(timeout=30_000)
        page.page.close()

    painted_and_left(3, 1)
    define_labels(root, [LabelDefinition("two", was="two"), LabelDefinition("one", was="one")])
    opened()
    sheet.labels *= 2
    sheet.compare(root, "head")
    painted_and_left(5, 1)
    shutil.rmtree(root)
    _taken_in(tmp_path)
    opened()
    assert not open_draft(root, "head").judged.any()
