"""Commands about the machine, the first try and the app: doctor, demo and app."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("doctor", epilog="Example: maskmatch doctor")(doctor)
    app.command("demo", epilog="Example: maskmatch demo demo --minutes 3")(demo)
    app.command("app", epilog="Example: maskmatch app hippocampus")(open_app)


def doctor(
    bench: Annotated[bool, typer.Option("--bench", help="Also time the engines that predict.")] = False,
) -> None:
    """Show versions, devices and memory."""
    from maskmatch_med import service
    from maskmatch_med.cli.console import print_rows

    print_rows("maskmatch doctor", service.doctor(bench))


def demo(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="A new folder for the demo.")] = Path("demo"),
    minutes: Annotated[float, typer.Option(help="Training time of each of the two models.")] = 3.5,
) -> None:
    """Generate a study, train supervised and maskmatch for the same time, score both, write a report."""
    from maskmatch_med.cli.console import ProgressBar, TrainingDisplay
    from maskmatch_med.demo import Demo, run_demo

    run_demo(Demo(out, minutes, ProgressBar, TrainingDisplay, typer.echo))


def open_app(
    study: Annotated[Path | None, typer.Argument(metavar="STUDY", help="Show this study alone.")] = None,
    folder: Annotated[Path | None, typer.Option(help="Where studies lie; by default maskmatch in your home.")] = None,
    port: Annotated[int, typer.Option(help="On this machine.")] = 8501,
    browser: Annotated[bool, typer.Option(help="Open a browser window.")] = True,
    host: Annotated[str, typer.Option(help="Where to listen; a network needs a password file.")] = "localhost",
    password_file: Annotated[Path | None, typer.Option(help="A file that holds the password.")] = None,
) -> None:
    """Open the app in the browser: paint, train, review. It answers this computer alone unless --host is given."""
    command = [sys.executable, "-m", "maskmatch_app", "--port", str(port), "--host", host]
    command += ["--password-file", str(password_file)] if password_file else []
    command += ["--folder", str(folder)] if folder else []
    command += [] if browser else ["--no-browser"]
    command += ["--", str(study)] if study else []
    with subprocess.Popen(command) as server:
        before = signal.signal(signal.SIGTERM, lambda number, frame: server.terminate())  # else it would go on alone
        try:
            code = server.wait()
        except KeyboardInterrupt:  # the server has heard it too, and ends by itself
            code = server.wait()
        finally:
            signal.signal(signal.SIGTERM, before)
    if code > 0:
        raise typer.Exit(code)
