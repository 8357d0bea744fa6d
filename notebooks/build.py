"""Make each notebook from its .py source, run it and keep the outputs: ``python notebooks/build.py``."""

from pathlib import Path

import jupytext
import nbformat
from nbclient import NotebookClient

FOLDER = Path(__file__).resolve().parent


def build(source: Path) -> Path:
    """Run one source and write the notebook beside it; the same outputs give the same bytes."""
    notebook = jupytext.read(source)
    notebook.metadata.pop("jupytext", None)
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number:02d}"
    NotebookClient(notebook, timeout=600, kernel_name="python3", record_timing=False).execute(cwd=str(FOLDER))
    notebook.metadata = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    target = source.with_suffix(".ipynb")
    nbformat.write(notebook, target)
    return target


if __name__ == "__main__":
    for path in sorted(FOLDER.glob("*.py")):
        if path.name != Path(__file__).name:
            print(build(path).name)
