"""A server of the app as people start it: a process of its own, whose log is kept and whose death is survived."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

MODULE = (sys.executable, "-m", "maskmatch_app")
"""The command that starts the app."""
_START_S = 60.0


@dataclass(frozen=True)
class Answer:
    """What the server said."""

    status: int
    headers: dict[str, str]
    body: bytes


def free_port() -> int:
    """A port on which nothing listens."""
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        return int(probe.getsockname()[1])


@dataclass
class Server:
    """A server of one folder of studies, on one port through all its lives.

    Args:
        folder: where its studies lie; its log and its state lie beside that.
        command: what starts it.
        more: further arguments.
        environment: further variables.
    """

    folder: Path
    command: Sequence[str] = MODULE
    more: Sequence[str] = ()
    environment: dict[str, str] = field(default_factory=dict)
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] = field(init=False)

    @property
    def address(self) -> str:
        """Where its pages are."""
        return f"http://localhost:{self.port}"

    @property
    def log(self) -> Path:
        """What it printed in all its lives."""
        return self.folder.parent / "server.log"

    def start(self) -> Server:
        """Start it, and wait until it answers.

        Raises:
            RuntimeError: it ended, or does not answer; with what it printed.
        """
        given = ["--folder", str(self.folder), "--port", str(self.port), "--no-browser", *self.more]
        home = {"XDG_STATE_HOME": str(self.folder.parent / "state"), "OMP_NUM_THREADS": "1"}
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*self.command, *given], stdout=log, stderr=log, env={**os.environ, **home, **self.environment}
            )
        limit = time.monotonic() + _START_S
        while time.monotonic() < limit and self.process.poll() is None:
            try:
                if self.ask("/_stcore/health").status == 200:
                    return self
            except OSError:
                time.sleep(0.1)
        self.kill()
        raise RuntimeError(f"the server did not start:\n{self.log.read_text(errors='replace')}")

    def kill(self) -> None:
        """End it at once, as ``kill -9`` does; it gets no chance to write anything."""
        self.process.kill()
        self.process.wait(20)

    def stop(self) -> None:
        """Ask it to end, and end it where it does not."""
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.kill()

    def ask(self, path: str, method: str = "GET", body: bytes | None = None, **headers: str) -> Answer:
        """One request; header names with ``_`` for ``-``."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        request = urllib.request.Request(f"{self.address}{path}", body, sent, method=method)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return Answer(answer.status, {k.lower(): v for k, v in answer.headers.items()}, answer.read())
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.code, {k.lower(): v for k, v in error.headers.items()}, error.read())
