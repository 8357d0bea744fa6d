"""The notebooks run as their sources stand, and the committed ones were made from those sources."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator

import nbformat
import pytest
from nbformat import NotebookNode

from notebooks.build import FOLDER, read, run, sources

NAMES = ["a_loss_and_a_recipe", "quickstart", "read_a_bench", "what_the_method_does", "your_own_scans"]
SHARE = "0.06"
"""Of each notebook's trainings in the default tests."""


def committed(name: str) -> NotebookNode:
    return nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)


def outputs(notebook: NotebookNode) -> list[NotebookNode]:
    return [output for cell in notebook.cells for output in cell.get("outputs", [])]


def pictures(notebook: NotebookNode) -> int:
    return sum("image/png" in output.get("data", {}) for output in outputs(notebook))


def printed(notebook: NotebookNode) -> str:
    return "".join(output["text"] for output in outputs(notebook) if output["output_type"] == "stream")


def ran(names: list[str]) -> Iterator[NotebookNode]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the kernel's own remarks on how it is connected
        yield from run([read(FOLDER / f"{name}.py") for name in names])


def test_there_are_these_notebooks_and_the_index_names_each() -> None:
    assert [path.stem for path in sources()] == NAMES
    index = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert [name for name in NAMES if f"({name}.ipynb)" not in index] == []


@pytest.mark.parametrize("name", NAMES)
def test_the_committed_notebook_was_made_from_its_source(name: str) -> None:
    made, kept = read(FOLDER / f"{name}.py"), committed(name)

    assert [(cell.cell_type, cell.source) for cell in kept.cells] == [
        (cell.cell_type, cell.source) for cell in made.cells
    ], "run `make notebooks`"
    counts = [cell.execution_count for cell in kept.cells if cell.cell_type == "code"]
    assert counts == list(range(1, len(counts) + 1)), "run `make notebooks`"


@pytest.mark.parametrize("name", NAMES)
def test_the_committed_notebook_says_nothing_of_when_and_where_it_ran(name: str) -> None:
    path, kept = FOLDER / f"{name}.ipynb", committed(name)

    assert path.stat().st_size < 2**20
    assert not re.search(r"/(home|root|tmp|Users|work)/", path.read_text(encoding="utf-8"))
    assert not any(cell.metadata for cell in kept.cells)
    assert {output.get("name", "stdout") for output in outputs(kept)} == {"stdout"}, "a warning was kept"
    assert not any(output["output_type"] == "error" for output in outputs(kept))
    streams = [[one.get("name") for one in cell.outputs].count("stdout") for cell in kept.cells if "outputs" in cell]
    assert max(streams) == 1, "how the lines of a cell were cut depends on the time"


def test_the_committed_quickstart_finds_scratches_and_pits() -> None:
    scores = re.findall(r"(scratch|pit) +Dice (\d\.\d\d)", printed(committed("quickstart")))

    assert [name for name, _ in scores] == ["scratch", "pit"]
    assert min(float(dice) for _, dice in scores) > 0.8


@pytest.mark.xdist_group("notebooks")
def test_notebooks_run_on_a_small_share_of_their_trainings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MASKMATCH_NOTEBOOK_SHARE", SHARE)
    monkeypatch.delenv("MPLBACKEND", raising=False)  # what another test has set would keep the kernel from drawing

    for name, notebook in zip(NAMES, ran(NAMES), strict=True):
        assert pictures(notebook) == pictures(committed(name)), name


@pytest.mark.proof
@pytest.mark.alone
def test_notebooks_run_as_they_stand_and_learn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MASKMATCH_NOTEBOOK_SHARE", raising=False)
    monkeypatch.delenv("MPLBACKEND", raising=False)

    found = dict(zip(NAMES, ran(NAMES), strict=True))

    assert {name: pictures(one) for name, one in found.items()} == {name: pictures(committed(name)) for name in NAMES}
    dice = re.search(r"mean +Dice (\d\.\d\d)", printed(found["quickstart"]))
    assert dice is not None
    assert float(dice[1]) > 0.75
