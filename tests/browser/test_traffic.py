"""What travels between page and server: each volume once, and nothing to any other computer."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest

from maskmatch_med.service import ImportOptions, take_in
from tests.browser.desk import Desk
from tests.browser.watch import Watch
from tests.served import Server

pytestmark = pytest.mark.proof
SHAPE = (160, 160, 88)
_LARGEST_RERUN = 200_000
"""Bytes that a rerun may send through the socket of the page; the scan alone is 4 MB."""


@pytest.fixture(scope="module")
def studies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study ``atria`` with two scans of 160 × 160 × 88 voxels."""
    root = tmp_path_factory.mktemp("traffic")
    (root / "source").mkdir()
    for rank, name in enumerate(("left", "right")):
        values = np.random.default_rng(rank).integers(0, 900, SHAPE).astype(np.int16)
        nibabel.save(nibabel.Nifti1Image(values, np.diag([0.6, 0.6, 1.2, 1])), root / "source" / f"{name}.nii.gz")
    take_in(root / "source", root / "studies" / "atria", ImportOptions(label_names=("wall", "lumen")))
    return root / "studies"


def test_a_scan_is_sent_once_however_often_the_page_runs(
    watch: Watch, serve: Callable[..., Server], studies: Path
) -> None:
    frames: list[int] = []
    watch.page.on("websocket", lambda socket: socket.on("framereceived", lambda data: frames.append(len(data))))
    desk = Desk(watch).open(serve(studies).address, "atria", "left")
    volumes = r"/scans/left/\w+\.nii\.gz"
    assert len(watch.asked_for(volumes)) == 1
    before = {kind: len(watch.asked_for(kind)) for kind in (volumes, r"/drafts/", r"/annotator/")}
    sent = sum(frames)
    name = watch.page.get_by_role("textbox", name="Your name")
    for who in ("Anna", "Ben", "Cleo"):
        name.fill(who)
        name.press("Enter")
        watch.page.wait_for_timeout(500)
        watch.settled()
    for view in ("axial", "coronal", "sagittal", "multi"):
        desk.view(view)
    assert {kind: len(watch.asked_for(kind)) for kind in before} == before
    assert desk.find(".desk[data-state=ready]").count() == 1
    assert 0 < sum(frames) - sent < 3 * _LARGEST_RERUN


def test_the_keys_of_the_desk_are_not_those_of_streamlit(
    watch: Watch, serve: Callable[..., Server], studies: Path
) -> None:
    desk = Desk(watch).open(serve(studies).address, "atria", "left")
    runs = len(watch.asked_for("/annotator/"))
    for key in ("c", "r", "C", "R"):
        desk.canvas.press(key)
        watch.page.wait_for_timeout(300)
        assert watch.page.get_by_role("dialog").count() == 0, f"the key {key} opened a dialog"
    assert len(watch.asked_for("/annotator/")) == runs
    assert desk.find(".desk[data-state=ready]").count() == 1


def test_nothing_can_be_used_before_the_scan_is_there(
    watch: Watch, serve: Callable[..., Server], studies: Path
) -> None:
    held: list[Any] = []
    is_open = False

    def hold(route: Any) -> None:
        if is_open:
            route.continue_()
        else:
            held.append(route)

    watch.page.route(re.compile(r"/scans/left/\w+\.nii\.gz"), hold)
    desk = Desk(watch)
    watch.page.goto(f"{serve(studies).address}/label?study=atria&scan=left")
    desk.find(".desk[data-state=loading] .rail[inert]").wait_for(timeout=60_000)
    parts = desk.find(".bar[inert], .rail[inert], .line[inert]")
    assert parts.count() == 4
    while not held:
        watch.page.wait_for_timeout(100)
    is_open = True
    for route in held:
        route.continue_()
    desk.ready()
    assert parts.count() == 0


def test_nothing_is_asked_of_other_computers(watch: Watch, serve: Callable[..., Server], studies: Path) -> None:
    refused: list[str] = []

    def guard(route: object) -> None:
        url = route.request.url  # type: ignore[attr-defined]
        if url.startswith((server.address, "data:", "blob:")):
            route.continue_()  # type: ignore[attr-defined]
        else:
            refused.append(url)
            route.abort()  # type: ignore[attr-defined]

    server = serve(studies)
    watch.page.route("**/*", guard)
    watch.page.goto(server.address)
    for title in ("Home", "Scans", "Label", "Train", "Review", "Results"):
        watch.page.get_by_test_id("stSidebarNav").get_by_role("link", name=title).click()
        watch.page.wait_for_timeout(1500)
        watch.settled()
    assert watch.asked_for(r"/_stcore/") != []
    assert refused == []
    assert watch.elsewhere() == []
