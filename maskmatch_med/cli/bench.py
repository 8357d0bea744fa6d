"""The command that compares recipes: bench."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from maskmatch_med.cli.apply import ScalesOption
from maskmatch_med.cli.learn import Preset, pairs
from maskmatch_med.cli.listed import numbers


def register(app: typer.Typer) -> None:
    """Add the command."""
    example = (
        "maskmatch bench Task04_Hippocampus bench5 --splits Task04_Hippocampus/splits.json --labelled 5 "
        "--iterations 1000 --recipes supervised,fixmatch,maskmatch --seeds 0,1,2"
    )
    app.command("bench", epilog=f"Example: {example}")(bench)


def bench(
    data: Annotated[Path, typer.Argument(metavar="DATA", help="nnU-Net or MSD dataset, study, or folder of scans.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The benchmark's folder; the same command goes on in it.")],
    splits: Annotated[Path, typer.Option(help="JSON with label_order and test.")],
    labelled: Annotated[
        str,
        typer.Option(help="Label counts: 5,10 or 5x3 for 3 slices in each of 5 scans, 5x3+2 for 2 empty ones besides."),
    ] = "5",
    recipes: Annotated[str, typer.Option(help="Recipes, separated by commas.")] = "supervised,fixmatch,maskmatch",
    variant: Annotated[
        list[str] | None, typer.Option(help="One more row: name=recipe;key=value;… with settings of its own.")
    ] = None,
    seeds: Annotated[str, typer.Option(help="Seeds, separated by commas.")] = "0",
    iterations: Annotated[int | None, typer.Option(help="Compare at this many iterations.")] = None,
    minutes: Annotated[float | None, typer.Option(help="Compare at this wall time; may be given as well.")] = None,
    preset: Annotated[Preset, typer.Option(help="How much time and memory to spend.")] = Preset.balanced,
    set_: Annotated[list[str] | None, typer.Option("--set", help="key=value; a setting of all trainings.")] = None,
    plan: Annotated[list[str] | None, typer.Option("--plan", help="key=value; a value of the plan.")] = None,
    unseen: Annotated[
        int, typer.Option(help="Score on the last N of label_order instead of test, to choose settings on.")
    ] = 0,
    scales: ScalesOption = None,
    nsd_mm: Annotated[float, typer.Option(help="Tolerance of the surface Dice in mm, of pictures in pixels.")] = 1.0,
    shared_start: Annotated[
        bool, typer.Option(help="Train what recipes of a seed have in common, the first share on labels alone, once.")
    ] = False,
    devices: Annotated[str, typer.Option(help="Devices, separated by commas: cpu or cuda:0,cuda:1.")] = "auto",
    workers: Annotated[int, typer.Option(min=1, help="Trainings at a time on each device.")] = 1,
) -> None:
    """Train recipes side by side and write OUT/table.md; killed at any moment, the same command goes on."""
    from maskmatch_med.bench import BenchRequest, Design, LabelBudget, Variant, run_bench
    from maskmatch_med.cli.console import ProgressBar

    variants = [Variant.parse(text) for text in (*_words(recipes), *(variant or []))]
    design = Design(
        data=data,
        splits=splits,
        labelled=tuple(LabelBudget.parse(text) for text in _words(labelled)),
        variants=tuple(variants),
        seeds=tuple(_number(text) for text in _words(seeds)),
        iterations=iterations,
        minutes=minutes,
        preset=preset.value,
        settings=pairs(set_),
        plan=pairs(plan),
        unseen=unseen,
        scales=numbers(scales),
        nsd_mm=nsd_mm,
        shared_start=shared_start,
    )
    with ProgressBar("Benchmark", counted=None) as progress:
        request = BenchRequest(_words(devices), workers, progress, typer.echo)
        table = run_bench(out, design, request)
    typer.echo(table.read_text(encoding="utf-8"))
    typer.echo(f"Table: {table}")


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def _number(text: str) -> int:
    from maskmatch_med.errors import InputError

    if not text.isdigit():
        raise InputError(f"--seeds takes whole numbers from 0, separated by commas, got {text!r}")
    return int(text)
