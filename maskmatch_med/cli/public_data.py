"""The command that gets public data: get."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the command."""
    example = "maskmatch get hippocampus --labelled 5 | maskmatch get spleen --to /data --no-import"
    app.command("get", epilog=f"Example: {example}")(get)


def get(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="Such as hippocampus; without it, the list.")
    ] = None,
    to: Annotated[Path, typer.Option("--to", help="The folder that gets data and study.")] = Path(),
    address: Annotated[str | None, typer.Option(help="Of a mirror: the archive, or the folder that holds it.")] = None,
    labelled: Annotated[int | None, typer.Option(help="Only the first N of label_order bring a label.")] = None,
    make_study: Annotated[bool, typer.Option("--import/--no-import", help="Make a study of it.")] = True,
) -> None:
    """Get a task of the Medical Segmentation Decathlon, check it, and make a study of it.

    A fetch that broke off goes on with the same command. What is here is not fetched again.
    """
    from maskmatch_med import service
    from maskmatch_med.cli.console import ProgressBar, print_rows

    if name is None:
        rows = [(one.name, one.content, str(one.scans), one.size) for one in service.DATASETS.values()]
        print_rows("Medical Segmentation Decathlon", rows, ("name", "content", "labelled scans", "archive"))
        return
    dataset = service.find_dataset(name)
    typer.echo(f"{dataset.task}: {dataset.content}; {dataset.scans} labelled scans, an archive of {dataset.size}")
    typer.echo(f"Licence: {service.LICENCE}, {service.LICENCE_ADDRESS}")
    typer.echo(f"To cite: {service.CITATION}")
    request = service.GetRequest(name, to, address, labelled, make_study)
    try:
        with ProgressBar("Getting") as progress:
            got = service.get_dataset(request, progress)
    except KeyboardInterrupt:
        typer.echo(f"{to}: stopped; what has come is kept, and the same command goes on from there", err=True)
        raise
    folder, summary = got.fetched.folder, got.summary
    typer.echo(f"{folder}: {'here now' if got.fetched.new else 'was here'}; source, licence and citation in ORIGIN.txt")
    if summary is None:
        command = ["maskmatch", "import", str(folder), "STUDY", "--splits", str(got.fetched.splits)]
        typer.echo(f"Next: {shlex.join(command)}")
        return
    typer.echo(
        f"{summary.study}: {len(summary.added)} scans added, {len(summary.unchanged)} unchanged, "
        f"{len(summary.labelled)} labels new, {len(summary.left_out)} left out to score on"
    )
    for note in summary.notes:
        typer.echo(f"Note: {note}")
    typer.echo(f"Next: {shlex.join(['maskmatch', 'train', str(summary.study)])}")
