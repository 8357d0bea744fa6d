"""What tests of the app share: a server as people start it, with a secret that the tests know."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.served import Server

_SECRET = b"secret of the tests"


def start_server(folder: Path, *more: str, **environment: str) -> Server:
    """Start ``python -m maskmatch_app`` with a known secret, so that a test can sign tokens as the pages do."""
    code = (
        "import sys; from maskmatch_app import tokens; "
        f"tokens._SECRET = {_SECRET!r}; from maskmatch_app.__main__ import main; sys.exit(main())"
    )
    return Server(folder, (sys.executable, "-c", code), more, environment).start()


@pytest.fixture(scope="session")
def server(planned_study: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server whose folder holds the study ``tiny``."""
    folder = tmp_path_factory.mktemp("served") / "studies"
    shutil.copytree(planned_study, folder / "tiny")
    running = start_server(folder)
    yield running
    running.stop()


@pytest.fixture
def token(monkeypatch: pytest.MonkeyPatch) -> str:
    """A token for the study ``tiny`` of that server."""
    from maskmatch_app import tokens

    monkeypatch.setattr(tokens, "_SECRET", _SECRET)
    return tokens.sign("tiny")


@pytest.fixture(autouse=True)
def own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep what pages remember of this user out of the user's own folder."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
