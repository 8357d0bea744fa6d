"""Commands on scans and studies: import, info, check, export."""

from __future__ import annotations

import getpass
from enum import StrEnum
from pathlib import Path
from shlex import quote
from typing import Annotated, Literal

import typer

from maskmatch_med.cli.learn import StudyPath
from maskmatch_med.cli.listed import names
from maskmatch_med.errors import InputError


class Format(StrEnum):
    """What to export."""

    nifti = "nifti"
    nnunet = "nnunet"
    png = "png"
    tables = "tables"
    model = "model"


class Plane(StrEnum):
    """The slices that a volume becomes as pictures."""

    axial = "axial"
    coronal = "coronal"
    sagittal = "sagittal"


class Unjudged(StrEnum):
    """How voxels that nobody judged are written."""

    marked = "marked"
    background = "background"


def register(app: typer.Typer) -> None:
    """Add the commands."""
    example = (
        "maskmatch import Task04_Hippocampus hippocampus --splits splits.json --labelled 5 | "
        "maskmatch import scans study --labels segmentations --resample | "
        'maskmatch import brains study --labels aseg --label-names "left=17,right=53" | '
        'maskmatch import brats study --channels "t1=*/*_t1.nii.gz,flair=*/*_flair.nii.gz" | '
        "maskmatch import series.zip study | maskmatch import perfusion.nii.gz study --frames 0,5 --magnitude"
    )
    app.command("import", epilog=f"Example: {example}")(import_)
    app.command("info", epilog="Example: maskmatch info hippocampus/models/maskmatch")(info)
    app.command("check", epilog="Example: maskmatch check hippocampus --repair")(check)
    app.command("export", epilog="Example: maskmatch export hippocampus out --format nnunet")(export)


def import_(
    source: Annotated[
        Path, typer.Argument(metavar="SRC", help="nnU-Net or MSD dataset, folder, zip archive, or file.")
    ],
    study: StudyPath,
    labels: Annotated[Path | None, typer.Option(help="Folder of the labels, or the label file of one scan.")] = None,
    label_names: Annotated[
        str | None, typer.Option(help="Names of the classes 1, 2, …, or values: left=17,right=53")
    ] = None,
    channels: Annotated[
        str | None, typer.Option(help="Names, or patterns: t1=*_t1.nii.gz,flair=*_flair.nii.gz")
    ] = None,
    resample: Annotated[bool, typer.Option("--resample", help="Bring labels on other grids to their scan's.")] = False,
    frames: Annotated[str | None, typer.Option(help="Frames of 4D scans to take as channels: 0,2 or all.")] = None,
    magnitude: Annotated[bool, typer.Option("--magnitude", help="Read complex scans as their magnitude.")] = False,
    splits: Annotated[Path | None, typer.Option(help="JSON with label_order and test; test stays out.")] = None,
    labelled: Annotated[int | None, typer.Option(help="Only the first N of label_order bring a label.")] = None,
    group: Annotated[str | None, typer.Option(help="Regular expression that finds the patient in a name.")] = None,
    link: Annotated[bool, typer.Option("--link", help="Link image files instead of copying them.")] = False,
    skip_broken: Annotated[bool, typer.Option("--skip-broken", help="Leave out scans that cannot be used.")] = False,
) -> None:
    """Bring scans and labels into a study; the source is never changed, a second import adds what is new.

    Names come along from 3D Slicer (.seg.nrrd), DICOM-SEG and ITK-SNAP label descriptions.
    """
    from maskmatch_med import Study, service
    from maskmatch_med.cli.console import ProgressBar

    options = service.ImportOptions(
        labels_dir=labels,
        label_names=_label_names(label_names),
        channels=_channels(channels),
        splits=splits,
        labelled=labelled,
        group=group,
        link=link,
        resample=resample,
        frames=_frames(frames),
        magnitude=magnitude,
        skip_broken=skip_broken,
    )
    try:
        with ProgressBar("Importing") as progress:
            summary = service.import_scans(source, study, options, progress)
    except KeyboardInterrupt:
        typer.echo(f"{study}: stopped; what was written is whole, and the same command goes on from there", err=True)
        raise
    typer.echo(
        f"{study}: {len(summary.added)} scans added, {len(summary.unchanged)} unchanged, {len(summary.labelled)} "
        f"labels new, {len(summary.left_out)} left out ({summary.layout} layout)"
    )
    for name, reason in summary.refused:
        typer.echo(f"Refused: {name}: {reason}")
    for note in summary.notes:
        typer.echo(f"Note: {note}")
    can_train = bool(Study.open(study).labelled_cases())
    then = "Next: maskmatch train" if can_train else "Next: label some scans with maskmatch app"
    typer.echo(f"{then} {quote(str(study))}")


def info(path: Annotated[Path, typer.Argument(metavar="PATH", help="A scan, a study or a model folder.")]) -> None:
    """Say what a scan, a study or a model is."""
    from maskmatch_med import service
    from maskmatch_med.cli.console import print_rows

    title, rows = service.info(path)
    print_rows(title, rows)


def check(
    study: StudyPath,
    html: Annotated[Path | None, typer.Option(help="Also write a page with a picture of every scan.")] = None,
    repair: Annotated[bool, typer.Option("--repair", help="Rebuild the catalogue and the view of the labels.")] = False,
) -> None:
    """Look for what would make training wrong; exit code 1 where something would."""
    from maskmatch_med import service
    from maskmatch_med.cli.console import ProgressBar, print_findings

    if repair:
        for line in service.repair_study(study):
            typer.echo(line)
    with ProgressBar("Checking") as progress:
        findings = service.check_study(study, progress, html)
    print_findings(f"Check of {study}", findings)
    if html is not None:
        typer.echo(f"Page: {html}")
    if any(finding.severity == "error" for finding in findings):
        raise typer.Exit(1)


def export(
    study: StudyPath,
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The folder to write to.")],
    format_: Annotated[
        Format, typer.Option("--format", help="nifti, nnunet, png, tables (volumes and metrics as CSV) or model.")
    ] = Format.nifti,
    model: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Also its predictions where there is no label; or the model."),
    ] = None,
    accepted: Annotated[
        bool, typer.Option("--accepted/--no-accepted", help="Take predictions that somebody accepted as labels.")
    ] = True,
    scans: Annotated[str | None, typer.Option(help="Names of the scans, separated by commas; all by default.")] = None,
    unjudged: Annotated[
        Unjudged,
        typer.Option(help="Voxels that nobody judged: marked (255, or nnU-Net's ignore) or background (0)."),
    ] = Unjudged.marked,
    slices: Annotated[Plane | None, typer.Option(help="Write volumes as pictures of these slices (png).")] = None,
) -> None:
    """Write labels, predictions, tables or a model for use elsewhere. Research use, not a medical device."""
    from maskmatch_med import service
    from maskmatch_med.cli.console import ProgressBar

    order = service.ExportOrder(
        format=format_.value,
        accepted=accepted,
        model=model,
        scans=names(scans),
        unjudged=unjudged.value,
        plane=slices.value if slices else None,
        author=_user(),
    )
    with ProgressBar("Exporting") as progress:
        written = service.export_study(service.open_study(study), out, order, progress)
    typer.echo(f"{len(written)} files written to {out}. Research use, not a medical device")


def _user() -> str:
    """The login name, for the history of the scans; empty where the account has none."""
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):
        return ""


def _channels(text: str | None) -> tuple[str, ...] | dict[str, str] | None:
    """Names ``a,b``, or patterns ``a=*_a.nii.gz,b=*_b.nii.gz``."""
    parts = names(text)
    if parts == ():
        raise InputError(
            f"--channels {text!r} names no channel; expected names a,b or patterns a=*_a.nii.gz,b=*_b.nii.gz"
        )
    if parts is None or not any("=" in part for part in parts):
        return parts
    pairs = [part.partition("=") for part in parts]
    table = {name.strip(): pattern.strip() for name, _, pattern in pairs}
    if len(table) < len(parts) or not all(name and pattern for name, pattern in table.items()):
        raise InputError(f"--channels {text} cannot be used; expected names a,b or patterns a=*_a.nii.gz,b=*_b.nii.gz")
    return table


def _label_names(text: str | None) -> tuple[str, ...] | dict[str, tuple[int, ...]] | None:
    """Names alone, or the values of each: ``left=17,right=53``, ``white matter=2+41``."""
    parts = names(text)
    if parts is None or not any("=" in part for part in parts):
        return parts
    pairs = [part.partition("=") for part in parts]
    try:
        table = {name.strip(): tuple(int(value) for value in values.split("+")) for name, _, values in pairs}
    except ValueError as error:
        raise InputError(f"--label-names {text} cannot be used; expected left=17,right=53 or wm=2+41") from error
    if len(table) < len(parts):
        raise InputError(f"--label-names {text} gives a name twice; join its values: wm=2+41")
    return table


def _frames(text: str | None) -> tuple[int, ...] | Literal["all"] | None:
    from maskmatch_med.study.options import frame_numbers

    return "all" if text == "all" else None if text is None else frame_numbers(text)
