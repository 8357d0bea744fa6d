"""No stroke is ever lost: whatever dies while somebody paints, each voxel of the label is as it was painted."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import psutil
import pytest
from playwright.sync_api import Error as PlaywrightError

from maskmatch_med.service import ImportOptions, label_history, take_in
from tests.browser import chromium
from tests.browser.conftest import WINDOW
from tests.browser.desk import Desk
from tests.browser.hand import Hand, Sheet
from tests.browser.watch import Watch
from tests.served import Server

pytestmark = pytest.mark.proof
SHAPE = (24, 20, 12)
SLICE = 5
CUT = (
    r"ERR_(CONNECTION|INTERNET|NETWORK|FAILED|EMPTY|ABORTED)"
    r"|WebSocket|status of 409|Connection|Client Error in reaching|Is Streamlit still"
)
"""What a page complains of when a server or a network is gone."""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A study with the scan ``head``, whose axes do not run as the viewer's do."""
    source = tmp_path / "source"
    source.mkdir()
    values = np.random.default_rng(3).integers(0, 900, SHAPE).astype(np.int16)
    nibabel.save(nibabel.Nifti1Image(values, np.diag([-2.0, -2.0, 2.0, 1.0])), source / "head.nii.gz")
    take_in(source, tmp_path / "studies" / "heads", ImportOptions(label_names=("one", "two")))
    return tmp_path / "studies" / "heads"


def at_work(watch: Watch, server: Server) -> Hand:
    """Open the scan, and take the brush of one voxel over an axial slice."""
    watch.allow(CUT)
    desk = Desk(watch).open(server.address, "heads", "head")
    hand = Hand(desk, SHAPE).turn("axial").go(SLICE)
    return hand.take("brush", label=1, size=1)


def rows(sheet: Sheet, hand: Hand, *ranks: int) -> None:
    """Draw some rows of voxels, each with the structure 1."""
    for rank in ranks:
        sheet.row(hand, (4, rank, SLICE), (17, rank, SLICE), 1)


def looked_at_again(watch: Watch, server: Server, sheet: Sheet, root: Path) -> None:
    """Open the scan anew; what is on the disk is what was painted, also for nibabel once it is a version."""
    watch.allow(CUT)
    desk = Desk(watch).open(server.address, "heads", "head")
    desk.find(".saved[data-state=saved]").wait_for(timeout=30_000)
    sheet.compare(root, "head")
    Hand(desk, SHAPE).leave()
    sheet.compare_version(root, "head")


@contextmanager
def own_browser(playwright: Any, program: str, profile: Path) -> Iterator[Watch]:
    """A browser whose database lies on the disk and outlives it."""
    context = playwright.chromium.launch_persistent_context(
        profile, executable_path=program, args=list(chromium.FLAGS), viewport=WINDOW
    )
    try:
        yield Watch(context.pages[0])
    finally:
        with suppress(PlaywrightError):  # it may have been killed
            context.close()


def kill_browser(profile: Path) -> None:
    """End the browser of a profile at once, as ``kill -9`` does."""
    own = [
        one for one in psutil.process_iter(["cmdline"]) if f"--user-data-dir={profile}" in (one.info["cmdline"] or [])
    ]
    assert own, f"no browser runs with the profile {profile}"
    for process in [child for one in own for child in one.children(recursive=True)] + own:
        with suppress(psutil.NoSuchProcess):  # it went with its parent
            process.kill()
    psutil.wait_procs(own, timeout=20)


@pytest.mark.parametrize("server_too", [False, True])
def test_browser_killed(
    serve: Callable[..., Server], playwright: Any, program: str, root: Path, tmp_path: Path, server_too: bool
) -> None:
    server, sheet, profile = serve(root.parent), Sheet(SHAPE), tmp_path / "profile"
    with own_browser(playwright, program, profile) as watch:
        hand = at_work(watch, server)
        rows(sheet, hand, 3, 5)
        if server_too:
            hand.saved()
            server.kill()
        rows(sheet, hand, 7, 9)
        kill_browser(profile)
    if server_too:
        server.start()
    with own_browser(playwright, program, profile) as watch:
        looked_at_again(watch, server, sheet, root)


def test_tab_crashed(serve: Callable[..., Server], watch: Watch, root: Path) -> None:
    server, sheet = serve(root.parent), Sheet(SHAPE)
    rows(sheet, at_work(watch, server), 3, 5, 7)
    with pytest.raises(Exception, match=r"crash|closed|ERR_"):
        watch.page.goto("chrome://crash", timeout=5_000)
    looked_at_again(Watch(watch.page.context.new_page()), server, sheet, root)


def test_network_gone_for_a_while(serve: Callable[..., Server], watch: Watch, root: Path) -> None:
    server, sheet = serve(root.parent), Sheet(SHAPE)
    hand = at_work(watch, server)
    rows(sheet, hand, 3)
    watch.page.context.set_offline(True)
    rows(sheet, hand, 5, 7)
    hand.desk.find(".saved[data-state=unsaved]").wait_for(timeout=30_000)
    rows(sheet, hand, 9)
    watch.page.context.set_offline(False)
    hand.saved()
    sheet.compare(root, "head")
    looked_at_again(watch, server, sheet, root)


def test_websocket_cut(serve: Callable[..., Server], watch: Watch, root: Path) -> None:
    sockets: list[Any] = []

    def through(socket: Any) -> None:
        sockets.append(socket)
        socket.connect_to_server()

    watch.page.route_web_socket(re.compile(r"/_stcore/stream"), through)
    server, sheet = serve(root.parent), Sheet(SHAPE)
    hand = at_work(watch, server)
    rows(sheet, hand, 3)
    before = len(sockets)
    sockets[-1].close()
    rows(sheet, hand, 5, 7)
    watch.page.wait_for_timeout(4_000)
    assert len(sockets) > before, "the page did not connect again"
    rows(sheet, hand, 9)
    hand.saved()
    sheet.compare(root, "head")
    looked_at_again(watch, server, sheet, root)


def test_server_killed_while_painting(serve: Callable[..., Server], watch: Watch, root: Path) -> None:
    server, sheet = serve(root.parent), Sheet(SHAPE)
    hand = at_work(watch, server)
    rows(sheet, hand, 3)
    server.kill()
    rows(sheet, hand, 5, 7)
    hand.desk.find(".saved[data-state=unsaved]").wait_for(timeout=30_000)
    # Streamlit has a dialog for this, which must not come between the person and the scan.
    hand.desk.find(".stDialog").wait_for(state="attached", timeout=60_000)
    assert not watch.page.get_by_text("Is Streamlit still running").is_visible()
    rows(sheet, hand, 9)
    server.start()
    hand.saved()
    rows(sheet, hand, 11)
    hand.saved()
    sheet.compare(root, "head")
    looked_at_again(watch, server, sheet, root)


def test_page_switched(serve: Callable[..., Server], watch: Watch, root: Path) -> None:
    server, sheet = serve(root.parent), Sheet(SHAPE)
    hand = at_work(watch, server)
    rows(sheet, hand, 3, 5)
    hand.leave()
    sheet.compare(root, "head")
    sheet.compare_version(root, "head")
    hand = at_work(watch, server)
    hand.press((4, 8, SLICE), (17, 8, SLICE))
    watch.page.goto(server.address)
    watch.page.mouse.up()
    sheet.note((4, 8, SLICE), (17, 8, SLICE), 1)
    looked_at_again(watch, server, sheet, root)


@pytest.mark.parametrize("choice", ["keep-mine", "load-theirs"])
def test_two_windows(serve: Callable[..., Server], open_page: Callable[[], Watch], root: Path, choice: str) -> None:
    server, theirs, mine = serve(root.parent), Sheet(SHAPE), Sheet(SHAPE)
    other, own = at_work(open_page(), server), at_work(open_page(), server)
    rows(theirs, other, 3, 5)
    other.saved()
    rows(mine, own, 9)  # one: on a slow machine the question would come before a second one and take its mouse
    own.desk.find(".conflict").wait_for(timeout=30_000)
    theirs.compare(root, "head")
    own.desk.find(f".conflict .{choice}").click()
    own.saved()
    kept, given_up = (mine, theirs) if choice == "keep-mine" else (theirs, mine)
    kept.compare(root, "head")
    rows(kept, own, 14)
    own.saved()
    kept.compare(root, "head")
    versions = [given_up.is_version(root, "head", one.version) for one in label_history(root, "head")]
    assert any(versions), "what was not chosen is not in the history"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 16 MB; the test is skipped where none can be mounted."""
    place = tmp_path / "small" / "studies"
    place.mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(place)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a full disk needs the right to mount a small one")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


def test_disk_full_while_painting(small_disk: Path, serve: Callable[..., Server], watch: Watch, root: Path) -> None:
    own, filler = Path(shutil.copytree(root, small_disk / "heads")), small_disk / "filler"
    server, sheet = serve(small_disk), Sheet(SHAPE)
    watch.allow("status of 507")
    hand = at_work(watch, server)
    rows(sheet, hand, 3)
    hand.saved()
    with suppress(OSError), filler.open("wb", buffering=0) as stream:
        while True:
            stream.write(bytes(4096))
    rows(sheet, hand, 5, 7)
    waiting = hand.desk.find(".saved[data-state=unsaved]")
    waiting.wait_for(timeout=30_000)
    assert "disk" in waiting.inner_text()
    filler.unlink()
    rows(sheet, hand, 9)
    hand.saved()
    sheet.compare(own, "head")
    looked_at_again(watch, server, sheet, own)
