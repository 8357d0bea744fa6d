"""How long a scan takes to open, what travels, and how much memory the server needs: measured on a real server."""

from __future__ import annotations

import gzip
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nibabel as nib
import numpy as np
import psutil
import pytest
from scipy.ndimage import gaussian_filter, zoom

from maskmatch_app import tokens
from maskmatch_med import Study
from tests.app.conftest import start_server
from tests.app.test_drafts_api import Window, body
from tests.served import Server

_MIB = 1 << 20


def add_scans(root: Path, shape: tuple[int, int, int], count: int = 1) -> None:
    """A study of scans that look like tissue: smooth shapes and noise, int16."""
    study = Study.create(root, channel_names=["CT"], label_names={"background": 0, "a": 1, "b": 2})
    for number in range(count):
        rng = np.random.default_rng(number)
        coarse = gaussian_filter(rng.normal(size=[-(-n // 8) for n in shape]), 1.5).astype(np.float32)
        values = zoom(coarse / coarse.std() * 300, 8, order=1)[tuple(map(slice, shape))].astype(np.int16)
        values += rng.integers(-20, 20, shape, dtype=np.int16)
        path = root.parent / f"x{number}.nii.gz"
        nib.save(nib.Nifti1Image(values, np.diag([0.7, 0.7, 1.0, 1.0])), path)
        study.add_case(f"x{number}", path)
        path.unlink()


class Memory:
    """The most memory that a server took while the block ran, in MiB."""

    def __init__(self, server: Server) -> None:
        self._process, self._ended, self.most = psutil.Process(server.process.pid), threading.Event(), 0

    def __enter__(self) -> Memory:
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(0.02):
            self.most = max(self.most, self._process.memory_info().rss // _MIB)


@pytest.fixture
def secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "_SECRET", b"secret of the tests")


def open_scan(server: Server, case: str) -> tuple[float, int, Window]:
    """What a page asks for to paint: the seconds and the bytes that it took."""
    began, token = time.perf_counter(), tokens.sign("s")
    json.loads(server.ask(f"/api/s/scans/{case}.json?token={token}").body)
    scan = server.ask(f"/api/s/scans/{case}/0.nii.gz?token={token}")
    assert scan.status == 200
    window = Window(server, token, case, "s")
    return time.perf_counter() - began, len(scan.body), window


def stroke(window: Window, at: int) -> bytes:
    """The body of a stroke with a brush of 30 voxels, packed."""
    x, y, z = np.ogrid[:30, :60, :3]
    disc = ((x - 15) ** 2 + ((y - 30) / 2) ** 2 + 0 * z <= 225).astype(np.uint8)
    return gzip.compress(body((at % 60, at % 40, at % 20), disc, disc > 0), 6)


@pytest.mark.proof
@pytest.mark.alone
def test_a_usual_scan_opens_in_three_seconds_and_a_save_moves_less_than_a_megabyte(tmp_path: Path, secret) -> None:
    (tmp_path / "studies").mkdir()
    add_scans(tmp_path / "studies" / "s", (160, 160, 88))
    server = start_server(tmp_path / "studies")
    try:
        first_s, sent, window = open_scan(server, "x0")
        again_s, _, window = open_scan(server, "x0")
        one = stroke(window, 5)
        began = time.perf_counter()
        assert window.put_raw(one).status == 200
        stroke_s = time.perf_counter() - began
        labels = np.random.default_rng(0).integers(0, 3, (20, 20, 11)).repeat(8, 0).repeat(8, 1).repeat(8, 2)
        whole = gzip.compress(body((0, 0, 0), labels.astype(np.uint8), labels > 0), 6)
        assert window.put_raw(whole).status == 200
    finally:
        server.stop()
    print(
        f"\nopen {first_s:.2f} s, again {again_s:.2f} s, {sent} bytes; stroke {len(one)} bytes in {stroke_s:.3f} s; "
        f"whole scan {len(whole)} bytes"
    )
    assert first_s < 3
    assert len(one) < len(whole) < 1_000_000


@pytest.mark.proof
@pytest.mark.alone
def test_a_large_ct_opens_and_is_painted_on_within_two_gigabytes(tmp_path: Path, secret) -> None:
    (tmp_path / "studies").mkdir()
    add_scans(tmp_path / "studies" / "s", (512, 512, 400))
    server = start_server(tmp_path / "studies")
    try:
        with Memory(server) as memory:
            first_s, sent, window = open_scan(server, "x0")
            seconds = []
            for at in range(5):
                began = time.perf_counter()
                assert window.put_raw(stroke(window, at)).status == 200
                seconds.append(time.perf_counter() - began)
    finally:
        server.stop()
    print(f"\nopen {first_s:.1f} s, {sent / 1e6:.1f} MB; strokes {max(seconds):.3f} s; most memory {memory.most} MiB")
    assert sent < 60_000_000
    assert memory.most < 2048


@pytest.mark.proof
@pytest.mark.alone
def test_five_windows_on_five_scans_keep_the_server_below_two_gigabytes(tmp_path: Path, secret) -> None:
    (tmp_path / "studies").mkdir()
    add_scans(tmp_path / "studies" / "s", (160, 160, 88), 5)
    server = start_server(tmp_path / "studies")

    def paint(number: int) -> Window:
        window = open_scan(server, f"x{number}")[2]
        for at in range(20):
            assert window.put_raw(stroke(window, at + number)).status == 200
        assert window.post("complete", {"axis": 2, "index": 4}).status == 200
        return window

    try:
        with Memory(server) as memory, ThreadPoolExecutor(5) as pool:
            list(pool.map(paint, range(5)))
    finally:
        server.stop()
    print(f"\nmost memory {memory.most} MiB")
    assert memory.most < 2048
