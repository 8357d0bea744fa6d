"""Commands that use a model and tell how good it is: predict, calibrate, evaluate and report."""

from __future__ import annotations

from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated

import typer

from maskmatch_med.cli.learn import DeviceOption
from maskmatch_med.cli.listed import names, numbers

if TYPE_CHECKING:
    from maskmatch_med.evaluation.held_out import HeldOutCalibration

ScalesOption = Annotated[
    str | None, typer.Option("--scales", help="Such as 1 or 0.7,1,1.5; by default what the preset found best.")
]
MirrorOption = Annotated[
    bool | None,
    typer.Option("--mirror/--no-mirror", help="Average over mirror images; by default what the preset found best."),
]
EngineOption = Annotated[
    str, typer.Option("--engine", help="auto, eager, compiled or openvino; auto takes what suits the machine.")
]
OverlapOption = Annotated[
    float | None,
    typer.Option(
        "--overlap",
        help="Share of its edge that a window has in common with the next; by default 1/2, at scales beside 1 3/16.",
    ),
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("predict", epilog="Example: maskmatch predict hippocampus/models/maskmatch scans -o out")(predict)
    app.command(
        "calibrate",
        epilog="Example: maskmatch calibrate hippocampus/models/maskmatch DATA DATA "
        "--splits DATA/splits.json --part label_order --last 30",
    )(calibrate)
    app.command("evaluate", epilog="Example: maskmatch evaluate out labelsTr -o scores")(evaluate)
    app.command("report", epilog="Example: maskmatch report out --reference labelsTr -o out.html")(report)


def predict(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="A model folder.")],
    inputs: Annotated[list[Path], typer.Argument(metavar="INPUTS…", help="Scans: files or folders.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="The folder to write to.")],
    scales: ScalesOption = None,
    mirror: MirrorOption = None,
    uncertainty: Annotated[bool, typer.Option("--uncertainty", help="Also write a map of uncertainty.")] = False,
    probabilities: Annotated[bool, typer.Option("--probabilities", help="Also write class probabilities.")] = False,
    overlap: OverlapOption = None,
    locate: Annotated[
        bool, typer.Option("--locate", help="Look at large scans coarsely first; predict only where structures can be.")
    ] = False,
    calibrated: Annotated[
        bool, typer.Option("--calibrated/--plain", help="Use the model's calibration.json where there is one.")
    ] = True,
    keep_largest: Annotated[
        str | None, typer.Option(help="Structures of which only the largest component stays, separated by commas.")
    ] = None,
    splits: Annotated[Path | None, typer.Option(help="JSON with named parts; predict only one of them.")] = None,
    part: Annotated[str, typer.Option(help="The part of the splits to predict.")] = "test",
    only: Annotated[str | None, typer.Option(help="Names of the cases to predict, separated by commas.")] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Leave out scans that OUT has been given a segmentation of by this model.")
    ] = False,
    unlabelled: Annotated[
        Path | None, typer.Option(metavar="STUDY", help="Predict only the scans that have no complete label in it.")
    ] = None,
    device: DeviceOption = "auto",
    engine: EngineOption = "auto",
) -> None:
    """Segment scans; OUT/CASE.nii.gz lies on the scan's own grid."""
    from maskmatch_med import service
    from maskmatch_med.cli.console import ProgressBar

    chosen = _chosen(only, splits, part, unlabelled)
    if unlabelled is not None and not chosen:
        typer.echo(f"Every scan has a complete label in {unlabelled}; there is nothing to predict")
        return
    request = service.PredictRequest(
        scales=numbers(scales),
        mirror=mirror,
        uncertainty=uncertainty,
        probabilities=probabilities,
        overlap=overlap,
        locate=locate,
        calibrated=calibrated,
        keep_largest=names(keep_largest) or (),
        only=chosen,
        resume=resume,
        device=device,
        engine=engine,
        notice=lambda sentence: typer.echo(f"Note: {sentence}"),
    )
    with ProgressBar("Predicting") as request.progress:
        written = service.predict(model, inputs, out, request)
    typer.echo(f"{len(written)} segmentation{'s' * (len(written) != 1)} written to {out}")
    typer.echo(f"Next, where there are labels to compare with: maskmatch evaluate {quote(str(out))} LABELS")


def _chosen(only: str | None, splits: Path | None, part: str, unlabelled: Path | None) -> list[str] | None:
    """The cases that all of the options name; None where none is given."""
    from maskmatch_med import service

    given = [] if only is None else [[name.strip() for name in only.split(",")]]
    given += [] if splits is None else [service.names_in_splits(splits, part)]
    given += [] if unlabelled is None else [service.unlabelled_names(unlabelled)]
    return [name for name in given[0] if all(name in others for others in given)] if given else None


def calibrate(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="A model folder; calibration.json is written there.")],
    scans: Annotated[Path, typer.Argument(metavar="SCANS", help="Folder of scans that the model has not learnt from.")],
    labels: Annotated[Path, typer.Argument(metavar="LABELS", help="Folder of their labels, or a data set.")],
    splits: Annotated[Path | None, typer.Option(help="JSON with named parts; take only one of them.")] = None,
    part: Annotated[str, typer.Option(help="The part of the splits to take.")] = "label_order",
    first: Annotated[int | None, typer.Option(help="Only the first N of the part.")] = None,
    last: Annotated[int | None, typer.Option(help="Only the last N of the part.")] = None,
    only: Annotated[str | None, typer.Option(help="Names of the scans to take, separated by commas.")] = None,
    validation: Annotated[
        bool, typer.Option("--validation", help="Take the scans that the model's training held out.")
    ] = False,
    scales: ScalesOption = None,
    mirror: MirrorOption = None,
    overlap: OverlapOption = None,
    device: DeviceOption = "auto",
    engine: EngineOption = "auto",
) -> None:
    """Hold a model's confidence against held-out labels, so that predict tells the Dice to expect."""
    from maskmatch_med import service
    from maskmatch_med.cli.console import ProgressBar, print_rows
    from maskmatch_med.errors import InputError

    if sum((splits is not None, only is not None, validation)) > 1:
        raise InputError("give one of --splits, --only and --validation")
    if splits is None and (first, last) != (None, None):
        raise InputError("--first and --last need --splits, which tells what comes first")
    names = None if only is None else [name.strip() for name in only.split(",")]
    if splits is not None:
        names = service.names_in_splits(splits, part, first=first, last=last)
    if validation:
        names = service.held_out_names(model)
    request = service.PredictRequest(
        scales=numbers(scales),
        mirror=mirror,
        overlap=overlap,
        only=names,
        device=device,
        engine=engine,
        notice=lambda sentence: typer.echo(f"Note: {sentence}"),
    )
    with ProgressBar("Calibrating") as request.progress:
        found = service.calibrate(model, scans, labels, request)
    print_rows(f"Confidence of {model}", _told(found))
    typer.echo(f"Written to {model / 'calibration.json'}; maskmatch predict goes by it")


def _told(found: HeldOutCalibration) -> list[tuple[str, str]]:
    errors, dice = found.confidence, found.dice
    rows = [
        ("Held-out scans", f"{found.scans}; {found.scans_without_label} took part in the training without their label"),
        ("Temperature", f"{found.temperature:.3f}; above 1 the model was too sure, below 1 not sure enough"),
        ("Calibration error", f"{errors.before:.4f} before, {errors.after:.4f} after, around the structures"),
    ]
    if errors.structures_before is not None and errors.structures_after is not None:
        rows.append(("", f"{errors.structures_before:.4f} before, {errors.structures_after:.4f} after, in structures"))
    if dice.bias is not None:
        rows.append(("Expected Dice", f"off by {dice.bias:+.3f} in the mean (true - expected)"))
    if dice.spearman is not None:
        rows.append(("", f"Spearman's correlation with the true Dice {dice.spearman:.2f}, {dice.scans} scans"))
    if dice.offsets is None:
        told = f"none: {dice.scans} of at least 10 scans, so the expected Dice is for ranking only"
    else:
        told = (
            f"expected Dice {dice.offsets.low:+.3f} to {dice.offsets.high:+.3f}, best guess {dice.offsets.middle:+.3f}"
        )
    rows.append(("90 % interval", told))
    return rows


def evaluate(
    predictions: Annotated[Path, typer.Argument(metavar="PRED", help="Folder of segmentations.")],
    references: Annotated[Path, typer.Argument(metavar="REF", help="Folder of labels, or a data set.")],
    out: Annotated[Path | None, typer.Option("-o", "--out", help="Folder for CSV, JSON and figure.")] = None,
    nsd_mm: Annotated[float, typer.Option(help="Tolerance of the surface Dice in mm, of pictures in pixels.")] = 1.0,
    paper: Annotated[bool, typer.Option("--paper", help="Add distances in voxels as papers print them.")] = False,
    label_names: Annotated[
        str | None, typer.Option(help="Names of the structures 1, 2, …, where nothing declares them.")
    ] = None,
) -> None:
    """Score segmentations: Dice, NSD, HD95, ASSD and volumes, by case and structure."""
    from maskmatch_med import service
    from maskmatch_med.cli.console import CONSOLE

    given = names(label_names)
    named = None if given is None else {name: value for value, name in enumerate(given, start=1)}
    options = service.EvaluateOptions(nsd_mm=nsd_mm, paper=paper, label_names=named)
    evaluation = service.evaluate(predictions, references, options, out)
    CONSOLE.print(evaluation.as_table())
    if all(name == f"label {value}" for name, value in evaluation.classes.items()):
        typer.echo(f"Structures are called by their values: {references} does not name them; --label-names does.")
    if out is not None:
        typer.echo(f"Scores written to {out}")


def report(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="A study, a model or a folder of segmentations.")],
    out: Annotated[Path | None, typer.Option("-o", "--out", help="The page; PATH/report.html by default.")] = None,
    reference: Annotated[Path | None, typer.Option(help="Folder of labels, or a data set, to score against.")] = None,
    images: Annotated[Path | None, typer.Option(help="Folder of the scans, where they are not found.")] = None,
    nsd_mm: Annotated[float, typer.Option(help="Tolerance of the surface Dice in mm, of pictures in pixels.")] = 1.0,
) -> None:
    """Write one HTML page: data, learning curves, scores, volumes, cases, confidence, time."""
    from maskmatch_med import service
    from maskmatch_med.cli.console import ProgressBar

    with ProgressBar("Reporting") as progress:
        request = service.ReportRequest(reference, images, nsd_mm, progress)
        page = service.report(path, out, request)
    typer.echo(f"Report: {page}")
