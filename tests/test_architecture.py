"""House rules that a linter does not hold: public names, sizes, names of files, light and portable imports."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import maskmatch_med

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "maskmatch_med"
MODULES = sorted(PACKAGE.rglob("*.py"))
APP = sorted((ROOT / "app" / "maskmatch_app").rglob("*.py"))
SOURCES = MODULES + APP + sorted((ROOT / "tests").rglob("*.py")) + sorted((ROOT / "notebooks").glob("*.py"))
PUBLIC = {
    "Case",
    "EvaluateOptions",
    "Evaluation",
    "Geometry",
    "ImportOptions",
    "InputError",
    "MaskMatchError",
    "ModelFolder",
    "PhantomOptions",
    "Plan",
    "PredictRequest",
    "Study",
    "StudyError",
    "TrainConfig",
    "TrainRequest",
    "TrainingError",
    "Volume",
    "__version__",
    "check_study",
    "evaluate",
    "export_study",
    "import_scans",
    "info",
    "plan_study",
    "predict",
    "read_volume",
    "train",
    "write_phantom",
    "write_segmentation",
}
LONGEST_FILE = 400
LONGEST_PACKAGE_FUNCTION = 60
# Modules that only Unix has; Windows must import the package without them.
UNIX_ONLY = ("fcntl", "resource", "pwd", "grp", "termios", "tty", "pty", "syslog", "posix")


def test_public_names_are_exactly_these() -> None:
    assert set(maskmatch_med.__all__) == PUBLIC
    assert len(maskmatch_med.__all__) == len(PUBLIC) <= 30


@pytest.mark.parametrize("name", sorted(PUBLIC))
def test_public_name_resolves(name: str) -> None:
    assert getattr(maskmatch_med, name) is not None


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = maskmatch_med.nonsense


def test_no_file_is_too_long() -> None:
    written = [path for path in SOURCES if "tests" not in path.relative_to(ROOT).parts]
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in written}
    assert {str(path.relative_to(ROOT)): n for path, n in lengths.items() if n > LONGEST_FILE} == {}


def test_no_function_is_too_long() -> None:
    found = {
        f"{path.relative_to(ROOT)}:{node.name}": lines
        for path in MODULES + APP
        for node in _nodes(path)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (lines := (node.end_lineno or node.lineno) - node.lineno + 1) > LONGEST_PACKAGE_FUNCTION
    }
    assert found == {}


def test_every_module_says_what_it_is_for() -> None:
    without = [
        str(path.relative_to(ROOT))
        for path in MODULES + APP
        if not ast.get_docstring(ast.parse(path.read_text("utf-8")))
    ]
    assert without == []


def test_no_file_is_a_drawer_for_everything() -> None:
    drawers = {"utils", "util", "helpers", "helper", "common", "misc"}
    assert [path for path in SOURCES if drawers & {path.stem, path.parent.name}] == []


def test_the_engine_imports_no_web_front_end() -> None:
    found = [path for path in MODULES if {"streamlit", "maskmatch_app"} & set(_imported_roots(path))]
    assert found == []


def test_no_assert_judges_input() -> None:
    found = [path for path in MODULES if any(isinstance(node, ast.Assert) for node in _nodes(path))]
    assert found == []


def test_the_command_line_starts_without_heavy_libraries() -> None:
    program = """
import sys
import maskmatch_med.cli.app
heavy = {"torch", "monai", "matplotlib", "scipy", "skimage", "lightning_fabric", "tensorboard"}
sys.exit(", ".join(sorted(heavy & set(sys.modules))) or 0)
"""
    _run(program)


def test_every_module_imports_where_unix_is_absent() -> None:
    """Absent are the modules that Windows lacks, unless the standard library has already loaded them itself."""
    names = [".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for path in MODULES]
    program = f"""
import importlib, sys
import torch, monai, matplotlib.figure, lightning_fabric, torch.utils.tensorboard, psutil, rich.progress, typer
import asyncio, multiprocessing, subprocess, tempfile  # the libraries' own doors to the system
for name in {UNIX_ONLY!r}:
    sys.modules[name] = None
for name in {names!r}:
    importlib.import_module(name)
"""
    _run(program)


def _run(program: str) -> None:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr


def _nodes(path: Path) -> Iterator[ast.AST]:
    return ast.walk(ast.parse(path.read_text(encoding="utf-8")))


def _imported_roots(path: Path) -> Iterator[str]:
    for node in _nodes(path):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module.split(".")[0]
