"""The secret outlives the server, is this user's alone, and is made once."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from maskmatch_app import tokens
from tests.served import Server


def test_the_secret_is_kept_for_this_user_alone(tmp_path: Path) -> None:
    first = tokens.secret(tmp_path / "state")
    assert len(first) == 32
    assert tokens.secret(tmp_path / "state") == first
    assert [path.name for path in (tmp_path / "state").iterdir()] == ["secret"]
    if os.name == "posix":
        assert stat.S_IMODE((tmp_path / "state" / "secret").stat().st_mode) == 0o600


@pytest.mark.parametrize("content", [b"", b"short", b"x" * 33])
def test_a_damaged_secret_is_made_anew(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "secret").write_bytes(content)
    made = tokens.secret(tmp_path)
    assert made == (tmp_path / "secret").read_bytes() != content


def test_servers_started_at_once_agree_on_one(tmp_path: Path) -> None:
    code = (
        f"import pathlib; from maskmatch_app import tokens; print(tokens.secret(pathlib.Path({str(tmp_path)!r})).hex())"
    )

    def ask(_: int) -> str:
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        return done.stdout.strip()

    with ThreadPoolExecutor(4) as pool:
        assert len(set(pool.map(ask, range(4)))) == 1


def test_where_nothing_can_be_kept_there_is_a_secret_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert len(tokens.secret(tmp_path / "file")) == 32


def test_a_page_that_is_open_saves_after_a_kill_and_a_new_start(
    planned_study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(planned_study, tmp_path / "studies" / "tiny")
    server = Server(tmp_path / "studies").start()
    try:
        monkeypatch.setattr(tokens, "_SECRET", tokens.secret(tmp_path / "state" / "maskmatch"))
        path = f"/api/tiny/drafts/phantom_004?token={tokens.sign('tiny')}"
        assert server.ask(path).status == 200
        server.kill()
        server.start()
        assert server.ask(path).status == 200
    finally:
        server.stop()
