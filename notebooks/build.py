"""Make notebooks from their .py sources, run them and keep the outputs: ``python notebooks/build.py [NAME …]``."""

import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import jupytext
import nbformat
from nbclient import NotebookClient

FOLDER = Path(__file__).resolve().parent


def sources() -> list[Path]:
    """The notebooks' sources, by name."""
    return sorted(path for path in FOLDER.glob("*.py") if path.name != Path(__file__).name)


def read(source: Path) -> nbformat.NotebookNode:
    """The notebook of a source, without outputs."""
    notebook = jupytext.read(source)
    notebook.metadata = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    for number, cell in enumerate(notebook.cells):
        cell.id, cell.metadata = f"cell-{number:02d}", nbformat.NotebookNode()
    return notebook


def run(notebooks: Sequence[nbformat.NotebookNode]) -> Iterator[nbformat.NotebookNode]:
    """Run notebooks one after the other in one kernel, whose names are cleared between: torch is imported once.

    Yields:
        Each notebook when its outputs are complete.
    """
    # Streams in one piece: how they are cut depends on the time.
    options = {"timeout": 1800, "kernel_name": "python3", "record_timing": False, "coalesce_streams": True}
    client = NotebookClient(nbformat.v4.new_notebook(), **options)
    with client.setup_kernel(cwd=str(FOLDER)):
        for notebook in notebooks:
            client.nb = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("%reset -f")])
            client.execute_cell(client.nb.cells[0], 0)
            client.nb = notebook
            code = [(index, cell) for index, cell in enumerate(notebook.cells) if cell.cell_type == "code"]
            for count, (index, cell) in enumerate(code, start=1):
                client.execute_cell(cell, index, execution_count=count)
            yield notebook


def build(paths: Sequence[Path]) -> None:
    """Run sources and write each notebook beside its own; the same outputs give the same bytes."""
    for path, notebook in zip(paths, run([read(path) for path in paths]), strict=True):
        nbformat.write(notebook, path.with_suffix(".ipynb"))
        print(path.with_suffix(".ipynb").name)


if __name__ == "__main__":
    os.environ.pop("MASKMATCH_NOTEBOOK_SHARE", None)  # the outputs that are kept come from the whole budget
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # the number of threads changes the last digits of a sum
    build([FOLDER / f"{name}.py" for name in sys.argv[1:]] or sources())
