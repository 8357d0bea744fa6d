"""What tests of the app share: a server as people start it, and requests to it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest


@dataclass(frozen=True)
class Answer:
    """What the server said."""

    status: int
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True)
class Server:
    """A running server."""

    port: int
    folder: Path
    process: subprocess.Popen[bytes]

    def ask(self, path: str, method: str = "GET", body: bytes | None = None, **headers: str) -> Answer:
        """One request; header names with ``_`` for ``-``."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        request = urllib.request.Request(f"http://localhost:{self.port}{path}", body, sent, method=method)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return Answer(answer.status, {k.lower(): v for k, v in answer.headers.items()}, answer.read())
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.code, {k.lower(): v for k, v in error.headers.items()}, error.read())


def start_server(folder: Path, secret: str = "secret of the tests", *more: str) -> Server:
    """Start ``python -m maskmatch_app`` with a known secret, so that a test can sign tokens as the pages do."""
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port = probe.getsockname()[1]
    code = (
        "import sys; from maskmatch_app import tokens; "
        f"tokens._SECRET = {secret.encode()!r}; from maskmatch_app.__main__ import main; sys.exit(main())"
    )
    command = [sys.executable, "-c", code, "--folder", str(folder), "--port", str(port), "--no-browser", *more]
    log = (folder.parent / "server.log").open("wb")
    with log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, "OMP_NUM_THREADS": "1"})
    server = Server(port, folder, process)
    for _ in range(600):
        if process.poll() is not None:
            break
        try:
            if server.ask("/_stcore/health").status == 200:
                return server
        except OSError:
            time.sleep(0.1)
    process.kill()
    raise RuntimeError((folder.parent / "server.log").read_text())


@pytest.fixture(scope="session")
def server(planned_study: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server whose folder holds the study ``tiny``."""
    import shutil

    folder = tmp_path_factory.mktemp("served") / "studies"
    shutil.copytree(planned_study, folder / "tiny")
    running = start_server(folder)
    yield running
    running.process.terminate()
    running.process.wait(20)


@pytest.fixture
def token(monkeypatch: pytest.MonkeyPatch) -> str:
    """A token for the study ``tiny`` of that server."""
    from maskmatch_app import tokens

    monkeypatch.setattr(tokens, "_SECRET", b"secret of the tests")
    return tokens.sign("tiny")
