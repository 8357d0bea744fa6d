"""A server whose study may only be read: looking works, and whatever would write is refused in words."""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from maskmatch_app import tokens
from maskmatch_med import service
from tests.app.test_drafts_api import CASE, Window
from tests.served import Answer, Server

_SECRET = b"secret of the tests"
# All is imported before the rights are given up, for Python itself may lie where nobody else may look.
_AS_NOBODY = (
    "import os, sys; from maskmatch_app import tokens; from maskmatch_app.__main__ import main; "
    "import streamlit, torch._dynamo, uvicorn, uvicorn.protocols.websockets.auto, uvicorn.protocols.http.auto; "
    "from maskmatch_med import service; [getattr(service, name) for name in service.__all__]; "
    f"os.getuid() or (os.setgroups([]), os.setgid(65534), os.setuid(65534)); tokens._SECRET = {_SECRET!r}; "
    "sys.exit(main())"
)


@pytest.fixture
def reachable() -> Iterator[Path]:
    """A folder that another user may look into, unlike those of the tests."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="the rights of folders on Linux and macOS")
def test_whatever_would_write_to_a_study_that_may_only_be_read_is_refused_in_words(
    planned_study: Path, reachable: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokens, "_SECRET", _SECRET)
    folder, token = reachable / "studies", tokens.sign("tiny")
    shutil.copytree(planned_study, folder / "tiny")
    root, box = folder / "tiny", service.Box((0, 0, 0), *_stroke(1))
    service.save_box(root, CASE, service.draft_revision(root, CASE), box, service.Painter("eve"))
    _may_only_be_read(folder)
    try:
        server = Server(folder, (sys.executable, "-c", _AS_NOBODY), environment={"HOME": str(reachable)}).start()
        try:
            _look_and_try_to_write(server, token)
        finally:
            server.stop()
    finally:
        _may_be_written(folder)


def _look_and_try_to_write(server: Server, token: str) -> None:
    window = Window(server, token)
    assert window.state["unsaved"]
    upload = {"Upload_Name": "a.nii.gz", "Upload_Length": "3", "Upload_Offset": "0"}
    refused = {
        "stroke": window.put((0, 0, 0), *_stroke(2)),
        "slice": window.post("complete", {"axis": 0, "index": 1}),
        "scan": window.post("complete", {"axis": None}),
        "version": window.post("save"),
        "upload": server.ask(f"/api/tiny/uploads/{'a' * 32}?token={token}", "PUT", b"abc", **upload),
    }
    assert {what: _told(answer) for what, answer in refused.items()} == dict.fromkeys(refused, (403, True))
    assert server.ask(f"/api/tiny/scans/{CASE}/0.nii.gz?token={token}").status == 200
    np.testing.assert_array_equal(Window(server, token).labels, window.labels)


def _stroke(label: int) -> tuple[np.ndarray, np.ndarray]:
    return np.full((2, 2, 2), label, np.uint8), np.ones((2, 2, 2), bool)


def _told(answer: Answer) -> tuple[int, bool]:
    return answer.status, "may only be read" in json.loads(answer.body)["error"]


def _may_only_be_read(folder: Path) -> None:
    for path in [folder, *folder.rglob("*")]:
        path.chmod(0o555 if path.is_dir() else 0o444)


def _may_be_written(folder: Path) -> None:
    for path in [folder, *folder.rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)
