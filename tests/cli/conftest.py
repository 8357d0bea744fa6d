"""A study with a trained model, and the command line run in this process."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from rich.console import Console

from maskmatch_med.cli.app import main


@dataclass(frozen=True)
class Outcome:
    """What a command printed and left with."""

    code: int
    out: str
    err: str


@dataclass(frozen=True)
class Places:
    """Where the material of a test lies; ``tmp`` is new and its own."""

    tmp: Path
    study: Path
    scans: Path
    labels: Path
    source: Path

    @property
    def model(self) -> Path:
        return self.study / "models" / "ready"

    def file(self, name: str, text: str) -> Path:
        path = self.tmp / name
        path.write_text(text)
        return path


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Outcome]:
    """Runs ``maskmatch WORDS`` on a machine without GPU."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.setattr("maskmatch_med.cli.console.CONSOLE", Console(width=160))

    def call(*words: object) -> Outcome:
        capsys.readouterr()
        code = main([str(word) for word in words])
        printed = capsys.readouterr()
        return Outcome(code, printed.out, printed.err)

    return call


@pytest.fixture(scope="session")
def _trained(planned_study: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = Path(shutil.copytree(planned_study, tmp_path_factory.mktemp("trained") / "study"))
    assert main(["train", str(root), "--method", "supervised", "--iterations", "3", "--name", "ready"]) == 0
    return root


@pytest.fixture
def places(_trained: Path, held_out_scans: tuple[Path, Path], phantom_source: Path, tmp_path: Path) -> Places:
    """A copy of the trained study for one test; scans, labels and source are only to be read."""
    (tmp_path / "new").mkdir()
    study = Path(shutil.copytree(_trained, tmp_path / "study"))
    return Places(tmp_path / "new", study, *held_out_scans, phantom_source)


@pytest.fixture
def digest() -> Callable[[Path], dict[str, str]]:
    """Hashes of all files of a folder."""

    def of(folder: Path) -> dict[str, str]:
        files = [path for path in folder.rglob("*") if path.is_file()]
        return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}

    return of
