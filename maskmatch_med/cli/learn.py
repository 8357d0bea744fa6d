"""Commands that learn: plan and train."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from shlex import quote
from typing import Annotated, Any

import typer

StudyPath = Annotated[Path, typer.Argument(metavar="STUDY", help="The study folder.")]


class Preset(StrEnum):
    """How much time and memory to spend."""

    quick = "quick"
    balanced = "balanced"
    best = "best"


PresetOption = Annotated[Preset, typer.Option(help="How much time and memory to spend.")]
DeviceOption = Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("plan", epilog="Example: maskmatch plan hippocampus --set patch_vox='[32, 48, 32]'")(plan)
    app.command("train", epilog="Example: maskmatch train hippocampus --method maskmatch --minutes 15")(train)


def plan(
    study: StudyPath,
    preset: PresetOption = Preset.balanced,
    device: DeviceOption = "auto",
    set_: Annotated[list[str] | None, typer.Option("--set", help="key=value; replaces a value of the plan.")] = None,
) -> None:
    """Look at the scans, decide spacing, patch, normalisation and network, and write STUDY/plan.json."""
    from maskmatch_med import service
    from maskmatch_med.cli.console import print_rows

    made, path = service.plan_study(study, preset=preset.value, device=device, settings=pairs(set_))
    print_rows(f"Plan of {study}", service.describe_plan(made))
    typer.echo(f"Written to {path}; edit it there, training obeys it. Delete it to plan anew.")


def train(
    study: StudyPath,
    method: Annotated[
        str | None,
        typer.Option(
            help="supervised, mean-teacher, ua-mt, fixmatch, unimatch, cps, bcp or maskmatch, with any of +masked, "
            "+multiscale, +entropy-weighting, +masked-labelled, +copy-paste; by default maskmatch."
        ),
    ] = None,
    preset: Annotated[
        Preset | None, typer.Option(help="How much time and memory to spend; by default balanced.")
    ] = None,
    minutes: Annotated[float | None, typer.Option(help="Wall time of the whole command.")] = None,
    iterations: Annotated[int | None, typer.Option(help="Total iterations, instead of minutes.")] = None,
    seed: Annotated[int | None, typer.Option(help="Decides everything random.")] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda or mps; by default auto.")] = None,
    name: Annotated[str | None, typer.Option(help="The model's name; the method by default.")] = None,
    config: Annotated[Path | None, typer.Option(help="Settings in TOML or JSON.")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="key=value; replaces a setting.")] = None,
    start_from: Annotated[Path | None, typer.Option("--from", help="A model folder to start from.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with an interrupted training.")] = False,
) -> None:
    """Train a model in the study; Ctrl-C saves it, --resume goes on."""
    from maskmatch_med import service
    from maskmatch_med.cli.console import StopOnSignal, TrainingDisplay, process_start
    from maskmatch_med.config import TrainConfig
    from maskmatch_med.errors import StoppedError

    given: dict[str, Any] = {"method": method, "preset": preset and preset.value, "device": device, "seed": seed}
    given |= {"minutes": minutes, "iterations": iterations}
    base = TrainConfig.load(config) if config else TrainConfig()
    words: dict[str, Any] = {**{key: value for key, value in given.items() if value is not None}, **pairs(set_)}
    chosen = base.override(_one_budget(words))
    request = service.TrainRequest(name=name, resume=resume, start_from=start_from, began=process_start())
    try:
        with TrainingDisplay() as request.report, StopOnSignal() as stop:
            request.stop_requested = stop.requested
            folder = service.train(study, chosen, request)
    except StoppedError as stopped:
        typer.echo(f"{stopped}")
        return
    if not folder.metrics().get("finished"):
        told = f"maskmatch train {quote(str(study))} --name {quote(folder.root.name)} --resume"
        typer.echo(f"Stopped and saved. Go on with: {told}")
        return
    typer.echo(f"Model: {folder.root}")
    if service.was_too_short(folder):
        made = folder.metrics()["iterations"]
        typer.echo(f"Only {made} iterations were made, too few to expect anything useful: give it more minutes.")
    model, data = quote(str(folder.root)), quote(str(study))
    typer.echo(f"Next: maskmatch predict {model} SCANS -o OUT")
    if folder.metrics().get("data", {}).get("validation"):
        typer.echo(f"Its confidence: maskmatch calibrate {model} {data} {data} --validation")


def _one_budget(words: dict[str, Any]) -> dict[str, Any]:
    """The words, with the budget that they do not give taken away: a file's must not stand against them."""
    budgets = {"minutes", "iterations"}
    return {**dict.fromkeys(budgets if budgets & words.keys() else ()), **words}


def pairs(settings: list[str] | None) -> dict[str, str]:
    """Split key=value words.

    Raises:
        InputError: a word has no ``=``.
    """
    from maskmatch_med.errors import InputError

    found = {}
    for word in settings or []:
        key, equals, value = word.partition("=")
        if not equals:
            raise InputError(f"--set needs key=value, got {word!r}")
        found[key.strip()] = value.strip()
    return found
