"""Commands that use a model and tell how good it is: predict, evaluate and report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from maskmatch_med.cli.learn import DeviceOption


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("predict", epilog="Example: maskmatch predict hippocampus/models/maskmatch scans -o out")(predict)
    app.command("evaluate", epilog="Example: maskmatch evaluate out labelsTr -o scores")(evaluate)
    app.command("report", epilog="Example: maskmatch report out --reference labelsTr -o out.html")(report)


def predict(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="A model folder.")],
    inputs: Annotated[list[Path], typer.Argument(metavar="INPUTS…", help="Scans: files or folders.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="The folder to write to.")],
    scales: Annotated[
        str | None, typer.Option(help="Such as 1 or 0.7,1,1.5; by default what the preset found best.")
    ] = None,
    mirror: Annotated[
        bool | None,
        typer.Option("--mirror/--no-mirror", help="Average over mirror images; by default what the preset found best."),
    ] = None,
    uncertainty: Annotated[bool, typer.Option("--uncertainty", help="Also write a map of uncertainty.")] = False,
    probabilities: Annotated[bool, typer.Option("--probabilities", help="Also write class probabilities.")] = False,
    overlap: Annotated[float, typer.Option(help="Share of its edge that a window has in common with the next.")] = 0.5,
    splits: Annotated[Path | None, typer.Option(help="JSON with named parts; predict only one of them.")] = None,
    part: Annotated[str, typer.Option(help="The part of the splits to predict.")] = "test",
    unlabelled: Annotated[
        Path | None, typer.Option(metavar="STUDY", help="Predict only the scans that have no complete label in it.")
    ] = None,
    device: DeviceOption = "auto",
) -> None:
    """Segment scans; OUT/CASE.nii.gz lies on the scan's own grid."""
    from maskmatch_med import service
    from maskmatch_med.cli.console import ProgressBar

    only = None if splits is None else service.names_in_splits(splits, part)
    if unlabelled is not None:
        without = service.unlabelled_names(unlabelled)
        only = without if only is None else [name for name in only if name in without]
        if not only:
            typer.echo(f"Every scan has a complete label in {unlabelled}; there is nothing to predict")
            return
    request = service.PredictRequest(
        scales=None if scales is None else _numbers(scales),
        mirror=mirror,
        uncertainty=uncertainty,
        probabilities=probabilities,
        overlap=overlap,
        only=only,
        device=device,
        notice=lambda sentence: typer.echo(f"Note: {sentence}"),
    )
    with ProgressBar("Predicting") as request.progress:
        written = service.predict(model, inputs, out, request)
    typer.echo(f"{len(written)} segmentations written to {out}")


def evaluate(
    predictions: Annotated[Path, typer.Argument(metavar="PRED", help="Folder of segmentations.")],
    references: Annotated[Path, typer.Argument(metavar="REF", help="Folder of labels, or a data set.")],
    out: Annotated[Path | None, typer.Option("-o", "--out", help="Folder for CSV, JSON and figure.")] = None,
    nsd_mm: Annotated[float, typer.Option(help="Tolerance of the surface Dice in mm.")] = 1.0,
    paper: Annotated[bool, typer.Option("--paper", help="Add distances in voxels as papers print them.")] = False,
) -> None:
    """Score segmentations: Dice, NSD, HD95, ASSD and volumes, by case and structure."""
    from maskmatch_med import service
    from maskmatch_med.cli.console import CONSOLE

    options = service.EvaluateOptions(nsd_mm=nsd_mm, paper=paper)
    evaluation = service.evaluate(predictions, references, options, out)
    CONSOLE.print(evaluation.as_table())
    if out is not None:
        typer.echo(f"Scores written to {out}")


def report(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="A study, a model or a folder of segmentations.")],
    out: Annotated[Path | None, typer.Option("-o", "--out", help="The page; PATH/report.html by default.")] = None,
    reference: Annotated[Path | None, typer.Option(help="Folder of labels, or a data set, to score against.")] = None,
    images: Annotated[Path | None, typer.Option(help="Folder of the scans, where they are not found.")] = None,
    nsd_mm: Annotated[float, typer.Option(help="Tolerance of the surface Dice in mm.")] = 1.0,
) -> None:
    """Write one HTML page: data, learning curves, scores, volumes, cases, confidence, time."""
    from maskmatch_med import service
    from maskmatch_med.cli.console import ProgressBar

    with ProgressBar("Reporting") as progress:
        request = service.ReportRequest(reference, images, nsd_mm, progress)
        page = service.report(path, out, request)
    typer.echo(f"Report: {page}")


def _numbers(text: str) -> tuple[float, ...]:
    from maskmatch_med.errors import InputError

    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise InputError(f"--scales needs numbers separated by commas, got {text!r}") from error
