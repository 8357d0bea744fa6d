"""Commands about the machine and the first try: doctor and demo."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("doctor", epilog="Example: maskmatch doctor")(doctor)
    app.command("demo", epilog="Example: maskmatch demo demo --minutes 3")(demo)


def doctor() -> None:
    """Show versions, devices and memory."""
    from maskmatch_med import service
    from maskmatch_med.cli.console import print_rows

    print_rows("maskmatch doctor", service.doctor())


def demo(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="A new folder for the demo.")] = Path("demo"),
    minutes: Annotated[float, typer.Option(help="Training time of each of the two models.")] = 3.5,
) -> None:
    """Generate a study, train supervised and maskmatch for the same time, score both, write a report."""
    from maskmatch_med.cli.console import ProgressBar, TrainingDisplay
    from maskmatch_med.demo import Demo, run_demo

    run_demo(Demo(out, minutes, ProgressBar, TrainingDisplay, typer.echo))
