"""The quickstart notebook runs as its source stands, and the committed one was made from that source."""

from __future__ import annotations

import re
import warnings
from pathlib import Path

import jupytext
import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"
SOURCES = sorted(path for path in NOTEBOOKS.glob("*.py") if path.name != "build.py")


def test_there_is_a_quickstart() -> None:
    assert "quickstart.py" in {path.name for path in SOURCES}


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_the_committed_notebook_was_made_from_its_source(source: Path) -> None:
    made, committed = jupytext.read(source), nbformat.read(source.with_suffix(".ipynb"), as_version=4)

    assert [(cell.cell_type, cell.source) for cell in committed.cells] == [
        (cell.cell_type, cell.source) for cell in made.cells
    ], "run `make notebooks`"
    assert all(cell.execution_count for cell in committed.cells if cell.cell_type == "code"), "run `make notebooks`"
    assert not re.search(r"/(home|root|tmp|Users)/", source.with_suffix(".ipynb").read_text(encoding="utf-8"))


def test_quickstart_runs_and_learns_the_largest_structure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MPLBACKEND", raising=False)  # what another test has set would keep the kernel from drawing
    notebook = jupytext.read(NOTEBOOKS / "quickstart.py")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the kernel's own remarks on how it is connected
        client = NotebookClient(notebook, timeout=300, kernel_name="python3")
        client.execute(cwd=str(NOTEBOOKS))

    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    printed = "".join(output["text"] for output in outputs if output["output_type"] == "stream")
    pictures = [output for output in outputs if "image/png" in output.get("data", {})]
    assert len(pictures) == 4
    liver = re.search(r"liver +Dice (\d\.\d\d)", printed)
    assert liver is not None
    assert float(liver[1]) > 0.5, "a hundred iterations find most of the liver"
