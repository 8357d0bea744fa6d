"""The entry point: commands by family, and errors as one sentence."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from maskmatch_med.cli import apply, bench, data, jobs, learn, public_data, rank, system
from maskmatch_med.cli.failures import in_plain_words
from maskmatch_med.errors import MaskMatchError
from maskmatch_med.version import __version__

app = typer.Typer(
    name="maskmatch",
    help="Segment medical and custom-domain images from few labels. Research use, not a medical device.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Start with: maskmatch import SRC STUDY, maskmatch train STUDY, maskmatch predict MODEL SCANS -o OUT. "
    "Any command takes --debug, which shows the traceback of an error.",
)
_INTERRUPTED = 130
"""What Ctrl-C ends with, as programs do; typer gives it back as a code."""
for family in (data, public_data, learn, rank, apply, bench, jobs, system):
    family.register(app)


def _tell_version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _before_any(
    _: Annotated[
        bool, typer.Option("--version", help="Say the version.", callback=_tell_version, is_eager=True)
    ] = False,
) -> None:
    pass


def main(arguments: list[str] | None = None) -> int:
    """Run one command; the exit code is 0 when it did its work and 2 when its input could not be used.

    Args:
        arguments: the command line without the program's name; by default that of the process.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in words
    words = [word for word in words if word != "--debug"]
    try:
        code = app(words, prog_name="maskmatch", standalone_mode=False)
        if code == _INTERRUPTED:
            raise KeyboardInterrupt
    except MaskMatchError as error:
        if debug:
            raise
        return _fail(str(error), 2)
    except (typer.Abort, KeyboardInterrupt):
        return _fail("stopped", _INTERRUPTED)
    except OSError as error:
        if debug:
            raise
        told = f"{error.strerror or error}: {error.filename or ''}".rstrip(": ")
        lacking = in_plain_words(error)
        return _fail(f"{lacking} ({told})" if lacking else told, 2)
    except Exception as error:
        return _usage_or_internal(error, debug)
    return code if isinstance(code, int) else 0


def _usage_or_internal(error: Exception, debug: bool) -> int:
    shown = getattr(error, "format_message", None)
    if shown is not None:
        if not shown():  # no command was given: the help is printed already
            return 2
        return _fail(f"{shown()} (see maskmatch --help)", 2)
    if debug:
        raise error
    if (lacking := in_plain_words(error)) is not None:
        return _fail(lacking, 2)
    return _fail(f"internal error: {type(error).__name__}: {error}; run again with --debug and report it", 1)


def _fail(message: str, code: int) -> int:
    lines = [" ".join(line.split()) for line in message.split("\n  ")]
    print("maskmatch: " + "\n  ".join(lines), file=sys.stderr)
    return code
