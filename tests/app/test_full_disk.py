"""A server whose disk is full: strokes are refused in a sentence, and none that was acknowledged is lost."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from maskmatch_app import tokens
from tests.app.test_drafts_api import Window
from tests.served import Server

_SECRET = b"secret of the tests"
_LIMITED = (
    "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000)); "
    f"from maskmatch_app import tokens; tokens._SECRET = {_SECRET!r}; "
    "from maskmatch_app.__main__ import main; sys.exit(main())"
)


@pytest.mark.skipif(sys.platform == "win32", reason="the size of files can be limited on Unix only")
def test_a_stroke_for_which_there_is_no_room_is_told_and_none_is_lost(
    planned_study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokens, "_SECRET", _SECRET)
    shutil.copytree(planned_study, tmp_path / "studies" / "tiny")
    server = Server(tmp_path / "studies", (sys.executable, "-c", _LIMITED)).start()
    try:
        window, token = Window(server, tokens.sign("tiny")), tokens.sign("tiny")
        kept = window.labels.copy()
        for seed in range(60):
            labels = np.random.default_rng(seed).integers(1, 5, window.labels.shape).astype(np.uint8)
            answer = window.put((0, 0, 0), labels, labels > 0)
            if answer.status != 200:
                break
            kept = labels
        assert answer.status == 507
        assert "free some space" in json.loads(answer.body)["error"]
        np.testing.assert_array_equal(Window(server, token).labels, kept)
        small = np.full((1, 1, 1), 1 + kept[0, 0, 0] % 4, np.uint8)
        assert window.put((0, 0, 0), small, small > 0).status == 200
    finally:
        server.stop()
