"""The references of the Python package: the public names with their docstrings, and the rooms with their modules."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import maskmatch_med
from maskmatch_med.lazy import names_of

_HEADINGS = {
    "service": "Verbs",
    "study": "The study",
    "config": "Settings of a training",
    "planning": "The plan",
    "nets": "A trained model",
    "evaluation": "Scores",
    "volume": "Scans in memory",
    "io": "Reading and writing",
    "phantom": "Generated scans",
    "errors": "Errors",
}
"""The rooms that public names come from, in the order of the page."""

_PYTHON = """\
# Python

The public names of `maskmatch_med`, written from its docstrings when this site is built. They are loaded when first
asked for, so `import maskmatch_med` itself is quick.

```python
from maskmatch_med import Study, TrainConfig, train

study = Study.open("hippocampus")
model = train(study, TrainConfig(method="maskmatch", minutes=30))
```

Arrays are (C, X, Y, Z) in the file's own order, lengths in millimetres, affines lead from voxel index to RAS+
millimetres. What stands in other modules may change with any version.
"""

_ROOMS = """\
# Rooms

The rooms of the package, from the top to the bottom: each imports only what stands below it
([architecture](../architecture.md)).
Written from the docstrings when this site is built.
"""


def python_page() -> str:
    """Markdown that asks mkdocstrings for every public name, by the room that it comes from."""
    rooms: dict[str, list[str]] = {}
    for name, (module, _) in names_of(Path(maskmatch_med.__file__)).items():
        rooms.setdefault(module.split(".")[1], []).append(name)
    if missing := set(rooms) - set(_HEADINGS):
        raise KeyError(f"docs/_hooks/python_names.py has no heading for the rooms {', '.join(sorted(missing))}")
    parts = [_PYTHON]
    for room, heading in _HEADINGS.items():
        parts += [f"## {heading}\n", *(f"::: maskmatch_med.{name}\n" for name in rooms[room])]
    return "\n".join(parts)


def rooms_page(package: Path) -> str:
    """Markdown with every room: its docstring, the names that it gives away, its modules.

    Args:
        package: the folder of ``maskmatch_med``.
    """
    return "\n".join([_ROOMS, *(_room(package, name) for name in _layers(package.parent))])


def _layers(root: Path) -> Iterator[str]:
    """The rooms in the order that the import contracts state, the highest first."""
    import tomllib  # noqa: PLC0415

    told = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    contract = next(found for found in told["tool"]["importlinter"]["contracts"] if found["type"] == "layers")
    for layer in contract["layers"]:
        yield from layer.split(" | ")


def _room(package: Path, name: str) -> str:
    path = package / name
    parts = [f"## {name}\n"]
    if path.is_file() or not path.is_dir():
        return "\n".join([*parts, _told(path.with_suffix(".py"), whole=True)]) + "\n"
    parts.append(_told(path / "__init__.py", whole=True) + "\n")
    names = _names(path / "__init__.py")
    if names:
        parts.append("Names: " + ", ".join(f"`{given}`" for given in names) + ".\n")
    modules = [found for found in sorted(path.rglob("*.py")) if found.name not in ("__init__.py", "__main__.py")]
    parts.append("| module | |\n| --- | --- |")
    parts += [f"| `{_dotted(module, path)}` | {_told(module)} |" for module in modules]
    return "\n".join(parts) + "\n"


def _dotted(module: Path, room: Path) -> str:
    return ".".join(module.relative_to(room).with_suffix("").parts)


def _told(module: Path, whole: bool = False) -> str:
    """The docstring of a module, or its first paragraph as one line."""
    text = (ast.get_docstring(ast.parse(module.read_text(encoding="utf-8"))) or "").replace("``", "`")
    return text if whole else " ".join(text.split("\n\n", 1)[0].split()).replace("|", "\\|")


def _names(module: Path) -> list[str]:
    """What ``__all__`` lists."""
    for node in ast.parse(module.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == "__all__" for t in node.targets):
            return list(ast.literal_eval(node.value))
    return []
