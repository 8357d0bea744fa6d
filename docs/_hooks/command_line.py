"""The reference of the command line, from the typer app itself."""

from __future__ import annotations

import inspect
import types
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

import typer

from maskmatch_med.cli.app import app

_INTRO = """\
# Command line

Written from the program when this site is built; `maskmatch COMMAND --help` says the same. Exit code 0: the command
did its work; 2: what it was given cannot be used, and one sentence says why; 1: an error of the program, or what
`maskmatch check` found would make training wrong; 130: stopped. `--debug` with any command shows the traceback of an
error.
"""


def command_line_page() -> str:
    """Markdown with every command, its arguments, options, defaults and examples."""
    root = typer.main.get_command(app)
    commands = list(_commands(root, "maskmatch"))
    rows = "\n".join(f"| [`{name}`](#{_anchor(name)}) | {_told(command)} |" for name, command in commands)
    sections = "\n".join(_section(name, command) for name, command in commands)
    return f"{_INTRO}\n| command | what it does |\n| --- | --- |\n{rows}\n\n{sections}"


def _commands(group: Any, before: str) -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from _commands(command, f"{before} {name}")
        else:
            yield f"{before} {name}", command


def _anchor(name: str) -> str:
    return name.replace(" ", "-")


def _told(command: Any) -> str:
    return _cell(inspect.cleandoc(command.help or "").split("\n\n", 1)[0])


def _section(name: str, command: Any) -> str:
    kinds = get_type_hints(inspect.unwrap(command.callback), include_extras=True)
    rows = [_row(parameter, kinds[parameter.name]) for parameter in command.params if parameter.name in kinds]
    takes = [parameter.metavar or parameter.name.upper() for parameter in command.params if not _is_option(parameter)]
    usage = " ".join([name, *takes, *(["[OPTIONS]"] if len(takes) < len(rows) else [])])
    parts = [f"## `{name}` {{ #{_anchor(name)} }}", inspect.cleandoc(command.help or ""), f"```sh\n{usage}\n```"]
    if rows:
        parts.append("| | value | default | |\n| --- | --- | --- | --- |\n" + "\n".join(rows))
    if command.epilog:
        examples = command.epilog.removeprefix("Example: ").split(" | ")
        parts.append("```sh\n" + "\n".join(examples) + "\n```")
    return "\n\n".join(parts) + "\n"


def _is_option(parameter: Any) -> bool:
    return any(word.startswith("-") for word in parameter.opts)


def _row(parameter: Any, kind: Any) -> str:
    names = [*parameter.opts, *parameter.secondary_opts] if _is_option(parameter) else [parameter.metavar]
    shown = ", ".join(f"`{name}`" for name in names)
    return f"| {shown} | {_value(kind)} | {_default(parameter)} | {_cell(parameter.help or '')} |"


def _value(kind: Any) -> str:
    """The kind of value that an annotation stands for, in words."""
    if get_origin(kind) is Annotated:
        return _value(get_args(kind)[0])
    if get_origin(kind) in (Union, types.UnionType):
        return _value(next(part for part in get_args(kind) if part is not type(None)))
    if get_origin(kind) is list:
        return f"{_value(get_args(kind)[0])}, may be repeated"
    if isinstance(kind, type) and issubclass(kind, Enum):
        return ", ".join(f"`{member.value}`" for member in kind)
    return {Path: "path", int: "whole number", float: "number", str: "text", bool: ""}[kind]


def _default(parameter: Any) -> str:
    given = parameter.default
    if parameter.required:
        return "needed"
    if given is None or given is False or given == "":
        return ""
    if given is True:
        return f"`{parameter.opts[0]}`"
    return f"`{given.value if isinstance(given, Enum) else given}`"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
