"""Packages whose names load when they are first asked for, so that a command loads only what it uses."""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any


def lazy_names(package: str, file: str) -> Callable[[str], Any]:
    """The ``__getattr__`` of a package that imports its names under ``if TYPE_CHECKING:`` alone.

    What type checkers read there is what is loaded here, so that the names are written once. A module of the package
    must not be named as something that the package exports.

    Args:
        package: ``__name__`` of the package.
        file: its ``__file__``, the source.
    """
    module_of = names_of(Path(file))

    def getter(name: str) -> Any:
        if name not in module_of:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        module, original = module_of[name]
        value = getattr(import_module(module), original)
        setattr(sys.modules[package], name, value)
        return value

    return getter


def names_of(source: Path) -> dict[str, tuple[str, str]]:
    """Name → (module, its name there) of the imports under ``if TYPE_CHECKING:`` of a package's ``__init__.py``."""
    found: dict[str, tuple[str, str]] = {}
    for block in ast.parse(source.read_text(encoding="utf-8")).body:
        if isinstance(block, ast.If) and isinstance(block.test, ast.Name) and block.test.id == "TYPE_CHECKING":
            for statement in block.body:
                if isinstance(statement, ast.ImportFrom) and statement.module:
                    found |= {alias.asname or alias.name: (statement.module, alias.name) for alias in statement.names}
    return found
