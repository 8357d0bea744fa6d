"""The program needs nothing that Windows lacks: its sources name none of it unguarded, and its ways work without."""

from __future__ import annotations

import ast
import importlib.util
import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from maskmatch_med.jobs import JobQueue
from tests.served import Server

ROOT = Path(__file__).resolve().parents[1]
WINDOWS = Path(__file__).with_name("as_on_windows")
SOURCES = sorted([*(ROOT / "maskmatch_med").rglob("*.py"), *(ROOT / "app").rglob("*.py")])
GUARDS = ("sys.platform", "os.name", "hasattr(", "getattr(")
"""What a function says that asks for such a name only where it is."""


@cache
def posix_only() -> tuple[frozenset[str], dict[str, frozenset[str]]]:
    """Modules, and names by module, that Windows lacks; ``os.kill`` is there and does something else."""
    spec = importlib.util.spec_from_file_location("as_on_windows", WINDOWS / "sitecustomize.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    path = list(sys.meta_path)
    try:
        spec.loader.exec_module(module)
    finally:
        sys.meta_path[:] = path
    return module.MODULES, {**module.NAMES, "os": module.NAMES["os"] | {"kill"}}


def unguarded(source: str) -> list[str]:
    """The uses in a source of what Windows lacks, outside functions that look where they are first."""
    modules, names = posix_only()
    tree, lines = ast.parse(source), source.splitlines()
    guarded = {
        id(node)
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        and any(guard in "\n".join(lines[function.lineno - 1 : function.end_lineno]) for guard in GUARDS)
        for node in ast.walk(function)
    }
    found = []
    for node in ast.walk(tree):
        if id(node) in guarded:
            continue
        if isinstance(node, ast.Import):
            found += [f"{node.lineno}: {one.name}" for one in node.names if one.name in modules]
        elif isinstance(node, ast.ImportFrom):
            lacking = [node.module] if node.module in modules else []
            lacking += [one.name for one in node.names if one.name in names.get(node.module or "", ())]
            found += [f"{node.lineno}: {name}" for name in lacking]
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            if node.attr in names.get(node.value.id, ()):
                found.append(f"{node.lineno}: {node.value.id}.{node.attr}")
        elif isinstance(node, ast.keyword) and node.arg in {"preexec_fn", "pass_fds", "user", "umask"}:
            found.append(f"{node.lineno}: {node.arg}=")
    return found


@pytest.mark.parametrize(
    "source",
    [
        "import fcntl",
        "from pwd import getpwuid",
        "import os\nos.fork()",
        "import os, signal\nos.kill(1, signal.SIGTERM)",
        "from signal import SIGKILL",
        "import subprocess\nsubprocess.Popen([], preexec_fn=print)",
        "import os\ndef f():\n    return os.getuid()",
    ],
)
def test_the_search_finds_what_windows_lacks(source: str) -> None:
    assert unguarded(source)


@pytest.mark.parametrize(
    "source",
    [
        "import sys, os\ndef f():\n    if sys.platform != 'win32':\n        os.getuid()",
        "import os\ndef f():\n    return os.nice(1) if hasattr(os, 'nice') else 0",
        "import os, signal\nos.replace('a', 'b')\nsignal.SIGTERM",
    ],
)
def test_the_search_lets_pass_what_is_guarded(source: str) -> None:
    assert unguarded(source) == []


def test_no_source_needs_what_windows_lacks() -> None:
    found = {str(path.relative_to(ROOT)): unguarded(path.read_text(encoding="utf-8")) for path in SOURCES}
    assert {path: uses for path, uses in found.items() if uses} == {}


@pytest.fixture
def on_windows(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Processes that are started from here find no more than Windows has."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(WINDOWS), str(ROOT), str(ROOT / "app")]))
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "local"))
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)


def test_the_stand_in_takes_them_from_the_program_and_from_nobody_else(on_windows: None) -> None:
    program = """
import os, sys
from maskmatch_med.jobs import turns
from maskmatch_med.io import child, guard
assert not hasattr(turns.os, "getuid") and turns.sys.platform == "win32" and turns.os.name == "nt"
assert str(turns.state_folder()).startswith(os.environ["LOCALAPPDATA"])
assert not hasattr(child.signal, "SIGKILL")
try:
    child.__builtins__["__import__"]("resource")
except ModuleNotFoundError:
    import resource
    sys.exit(0 if hasattr(os, "getuid") else 3)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


WORK = """
import sys, time
from pathlib import Path
from maskmatch_med.jobs import Command, JobQueue, JobSpec
queue, study = JobQueue(Path(sys.argv[1])), sys.argv[1]
first = queue.add(JobSpec(kind="quick", title="quick", commands=(Command(words=("--help",)),)))
train = ("train", study, "--name", "m", "--method", "supervised", "--iterations", "1000000")
second = queue.add(JobSpec(kind="train", title="m", commands=(Command(words=train, grace_s=0.0),)))
end = time.monotonic() + 240
while queue.job(second.id).state.pid is None and time.monotonic() < end:
    time.sleep(0.1)
assert queue.job(first.id).status == "done", queue.job(first.id).log_tail()
process = queue.job(second.id).state.process
assert process is not None and process.alive(), queue.job(second.id).log_tail()
queue.stop(second.id)
while queue.job(second.id).status == "running" and time.monotonic() < end:
    time.sleep(0.1)
print(queue.job(second.id).status, process.alive())
"""


def test_jobs_start_and_stop_without_it(on_windows: None, tiny_study: Path) -> None:
    words = [sys.executable, "-c", WORK, str(tiny_study)]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=400)
    assert (done.stderr, done.stdout.split()) == ("", ["stopped", "False"])
    assert [job.status for job in JobQueue(tiny_study).jobs()] == ["done", "stopped"]


def test_the_app_starts_without_it_and_serves_its_viewer(on_windows: None, tmp_path: Path) -> None:
    (tmp_path / "studies").mkdir()
    server = Server(tmp_path / "studies").start()
    try:
        assert server.ask("/annotator/niivue.js").status == 200
        assert b"<html" in server.ask("/").body
    finally:
        server.stop()
    assert "Traceback" not in server.log.read_text(errors="replace")
