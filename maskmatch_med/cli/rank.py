"""The command that says which scan to label next."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from maskmatch_med.cli.learn import StudyPath


class Strategy(StrEnum):
    """In which order."""

    random = "random"
    foreground_random = "foreground-random"
    uncertainty = "uncertainty"
    diversity = "diversity"
    mix = "mix"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("rank", epilog="Example: maskmatch rank hippocampus --strategy diversity -n 5")(rank)


def rank(
    study: StudyPath,
    strategy: Annotated[Strategy, typer.Option(help="In which order.")] = Strategy.foreground_random,
    count: Annotated[int, typer.Option("-n", "--count", min=1, help="How many to name.")] = 10,
    seed: Annotated[int, typer.Option(help="Of what chance decides.")] = 0,
) -> None:
    """Name the scans to label next. No strategy has been measured to beat chance (docs/results.md)."""
    from maskmatch_med import service
    from maskmatch_med.cli.console import ProgressBar, print_rows

    with ProgressBar("Looking") as progress:
        found = service.rank_scans(study, strategy.value, seed=seed, progress=progress)
    if not found:
        typer.echo(f"Every scan of {study} has a label")
        return
    rows = [(one.name, one.reason) for one in found[:count]]
    print_rows(f"{len(rows)} of {len(found)} scans without a label", rows)
