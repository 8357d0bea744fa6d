"""What is packed is what is needed: files beside the code, one version, a wheel that works by itself."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path, PurePosixPath

import pytest

from maskmatch_med.version import __version__
from tests.served import Server

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
HOMES = {"maskmatch_med": ROOT, "maskmatch_app": ROOT / "app"}
BUILT_FROM = (
    "pyproject.toml",
    "MANIFEST.in",
    "README.md",
    "LICENSE",
    "THIRD_PARTY.md",
    "CHANGELOG.md",
    "CITATION.cff",
    "constraints.txt",
)


def files_of(package: str) -> set[str]:
    """All files of a package but what Python makes itself, relative to where it lies."""
    home = HOMES[package]
    found = [path for path in (home / package).rglob("*") if path.is_file() and path.suffix not in {".pyc", ".pyo"}]
    return {path.relative_to(home).as_posix() for path in found}


@pytest.mark.parametrize("package", sorted(HOMES))
def test_every_file_beside_the_code_is_packed(package: str) -> None:
    patterns = [f"{package}/{given}" for given in PROJECT["tool"]["setuptools"]["package-data"][package]]
    beside = {name for name in files_of(package) if not name.endswith(".py")}
    assert beside
    assert [name for name in sorted(beside) if not any(PurePosixPath(name).match(p) for p in patterns)] == []
    assert [p for p in patterns if not any(PurePosixPath(name).match(p) for name in beside)] == []


@pytest.mark.parametrize("package", sorted(HOMES))
def test_every_folder_with_files_is_a_package(package: str) -> None:
    with_code = {str(PurePosixPath(name).parent) for name in files_of(package) if name.endswith(".py")}
    assert [name for name in sorted(with_code) if f"{name}/__init__.py" not in files_of(package)] == []


def test_the_version_is_stated_once() -> None:
    assert "version" in PROJECT["project"]["dynamic"]
    assert PROJECT["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "maskmatch_med.version.__version__"}
    places = [*(ROOT / "maskmatch_med").rglob("*.py"), *(ROOT / "app").rglob("*.py"), ROOT / "pyproject.toml"]
    stating = [
        path.name for path in places if re.search(rf'version\w* *= *"{re.escape(__version__)}"', path.read_text())
    ]
    assert stating == ["version.py"]


def test_the_changelog_begins_with_what_is_unreleased() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    headings = re.findall(r"^## (.+)$", text, flags=re.MULTILINE)
    assert headings[0] == "Unreleased"
    assert all(re.fullmatch(r"\d+\.\d+\.\d+ - \d{4}-\d\d-\d\d", heading) for heading in headings[1:])
    parts = re.findall(r"^### (.+)$", text, flags=re.MULTILINE)
    assert set(parts) <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
    first = text.partition("## Unreleased")[2].partition("\n## ")[0]
    headed = re.findall(r"^### (.+)$", first, flags=re.MULTILINE)
    assert len(headed) == len(set(headed))


def test_every_requirement_has_its_pin() -> None:
    pins = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    pinned = {plain(name) for name in re.findall(r"^([\w.-]+)==", pins, flags=re.MULTILINE)}
    extras = PROJECT["project"]["optional-dependencies"].values()
    every = [*PROJECT["project"]["dependencies"], *(one for extra in extras for one in extra)]
    wanted = [one for one in every if not one.startswith("maskmatch-med[")]
    assert [one for one in wanted if plain(re.split(r"[<>=;\[ ]", one)[0]) not in pinned] == []


def plain(name: str) -> str:
    """A name as indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``sdist`` and ``wheel`` made from a copy of the sources, and ``again``, made from the sdist."""
    root = tmp_path_factory.mktemp("built")
    copy = root / "copy"
    copy.mkdir()
    for name in BUILT_FROM:
        shutil.copy(ROOT / name, copy / name)
    leave = shutil.ignore_patterns("__pycache__", "*.egg-info")
    shutil.copytree(ROOT / "maskmatch_med", copy / "maskmatch_med", ignore=leave)
    shutil.copytree(ROOT / "app", copy / "app", ignore=leave)
    build = [sys.executable, "-m", "build", "--no-isolation"]
    run([*build, "--sdist", "--outdir", str(root / "sdist"), str(copy)])
    run([*build, "--wheel", "--outdir", str(root / "wheel"), str(copy)])
    with tarfile.open(only(root / "sdist", "*.tar.gz")) as tar:
        tar.extractall(root / "unpacked", filter="data")
    run([*build, "--wheel", "--outdir", str(root / "again"), str(only(root / "unpacked", "*"))])
    return root


@pytest.mark.proof
def test_the_sdist_builds_the_same_wheel(built: Path) -> None:
    first, again = content_of(only(built / "wheel", "*.whl")), content_of(only(built / "again", "*.whl"))
    assert sorted(first) == sorted(again)
    assert [name for name in first if first[name] != again[name]] == []
    info = f"maskmatch_med-{__version__}.dist-info/"
    assert {name for name in first if not name.startswith(info)} == files_of("maskmatch_med") | files_of(
        "maskmatch_app"
    )
    metadata = first[f"{info}METADATA"].decode()
    assert f"\nVersion: {__version__}\n" in metadata
    assert "Apache License" in first[f"{info}licenses/LICENSE"].decode()
    assert "NiiVue" in first[f"{info}licenses/THIRD_PARTY.md"].decode()
    with tarfile.open(only(built / "sdist", "*.tar.gz")) as sdist:
        names = {name.partition("/")[2] for name in sdist.getnames()}
    assert {"constraints.txt", "CITATION.cff"} <= names


@pytest.mark.proof
def test_the_wheel_works_where_nothing_else_is(built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYTHONPATH", raising=False)
    monkeypatch.chdir(tmp_path)
    run([sys.executable, "-m", "venv", str(tmp_path / "env")])
    programs = tmp_path / "env" / ("Scripts" if sys.platform == "win32" else "bin")
    pip = [str(programs / "python"), "-m", "pip", "install", "--quiet", "-c", str(ROOT / "constraints.txt")]
    run([*pip, str(only(built / "wheel", "*.whl"))])

    maskmatch = str(programs / "maskmatch")
    assert "Segment medical" in run([maskmatch, "--help"])
    assert __version__ in run([maskmatch, "doctor"])
    run([maskmatch, "demo", str(tmp_path / "demo"), "--minutes", "0.1"])
    assert (tmp_path / "demo").is_dir()
    (tmp_path / "studies").mkdir()
    server = Server(tmp_path / "studies", (maskmatch, "app")).start()
    try:
        assert b"<html" in server.ask("/").body
        viewer = server.ask("/annotator/niivue.js")
        assert viewer.status == 200
        assert viewer.body == (ROOT / "app" / "maskmatch_app" / "annotator" / "niivue.js").read_bytes()
    finally:
        server.stop()


def run(words: list[str]) -> str:
    """What a command prints; fails with it where the command fails."""
    done = subprocess.run(words, capture_output=True, text=True, check=False, env={**os.environ, "COLUMNS": "120"})
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def only(folder: Path, pattern: str) -> Path:
    """The one file of a folder that fits."""
    (found,) = folder.glob(pattern)
    return found


def content_of(wheel: Path) -> dict[str, bytes]:
    """All files of a wheel."""
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}
