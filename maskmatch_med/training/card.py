"""The model card: what a model was made from and for, in Markdown, without the name of any scan."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from maskmatch_med.config import TrainConfig
from maskmatch_med.nets import ModelFolder
from maskmatch_med.planning.plan import ChannelNormalisation, Plan
from maskmatch_med.version import __version__

FEW_ITERATIONS = 200
"""Below so many a network that began at random has hardly learnt anything."""


def was_too_short(model: ModelFolder) -> bool:
    """Whether a training from the beginning made too few iterations to expect anything useful of its model.

    Raises:
        InputError: the model's configuration or metrics cannot be read.
    """
    return _is_short(TrainConfig.load(model.config_path), model.metrics())


def _is_short(config: TrainConfig, metrics: dict[str, Any]) -> bool:
    return config.start_from is None and metrics.get("iterations", FEW_ITERATIONS) < FEW_ITERATIONS


def model_card(name: str, plan: Plan, config: TrainConfig, metrics: dict[str, Any]) -> str:
    """Write the card's text.

    Args:
        name: the model.
        plan: its plan.
        config: what the training was told.
        metrics: what ``metrics.json`` holds.
    """
    structures = ", ".join(label for label, value in plan.label_names.items() if value)
    validation = metrics.get("validation")
    if validation:
        scored = [f"| {label} | {dice:.3f} |" for label, dice in validation.items()]
        quality = "\n".join([f"| structure | Dice on {held_out(metrics)} |", "| --- | --- |", *scored])
    else:
        quality = "No labelled scan was held out (fewer than ten), so this card states no accuracy. Measure it with\n"
        quality += "`maskmatch predict` and `maskmatch evaluate` on scans that the training has not seen."
    short = ". **Too few to expect anything useful**" if _is_short(config, metrics) else ""
    device = metrics["device"] + (" in bfloat16" if metrics.get("precision") == "bf16" else "")
    data, minutes = metrics["data"], metrics["seconds"] / 60
    return f"""# {name}

**Research use only. Not a medical device.** Every segmentation needs a person's eyes.

- Task: {plan.spatial_dims}D segmentation of {structures}
- Input: {", ".join(plan.channel_names)}; resampled to {_joined(plan.spacing_mm, " × ")} {plan.length}
- Made with: maskmatch-med {__version__}, method `{config.method}`, preset `{config.preset}`, seed {config.seed}
- Network: U-Net, features {_joined(plan.network.features, "–")}, patch {_joined(plan.patch_vox, " × ")} {plan.element}
- Training: {metrics["iterations"]} iterations, {minutes:.1f} minutes, {device}{_ending(metrics)}{short}
- Data: {data["labelled"]} labelled scans ({data["partial"]} of them in part), {data["unlabelled"]} without a label,
  {data["validation"]} held out for validation
- Scans: median shape {_joined(plan.median_shape_vox, " × ")} {plan.element} at that spacing{_scans(plan, metrics)}
- Intensities: {"; ".join(map(_intensities, plan.channel_names, plan.normalisation))}

## Accuracy

{quality}

## Limits

The model knows scans like those it was trained on: the same modality, contrast, field of view and kind of patient.
Structures that are not in the list above are called background. Its confidence is not a probability of being right.
"""


def _scans(plan: Plan, metrics: dict[str, Any]) -> str:
    """The structures' extent, and the least and greatest of the scans along each axis where the run recorded them."""
    extent = plan.foreground_extent_vox
    told = f"; labelled structures span {_joined(extent, ' × ')}" if extent else ""
    for name, unit in (("spacing_mm", plan.length), ("shape_vox", plan.element)):
        if found := metrics.get("scans", {}).get(name):
            least, greatest = (_joined(tuple(found[end]), " × ") for end in ("least", "greatest"))
            told += f"; {name.split('_', maxsplit=1)[0]} from {least} to {greatest} {unit}"
    return told


def _intensities(channel: str, how: ChannelNormalisation) -> str:
    """What is done to a channel's intensities, and in which range they are seen."""
    if how.scheme == "ct":
        return f"{channel} clipped to {how.low:g} … {how.high:g}, mean {how.mean:g}, standard deviation {how.std:g}"
    way = {"zscore": "each scan to mean 0 and standard deviation 1", "rescale": "each scan's own range to 0 … 1"}
    return f"{channel}: {way[how.scheme]}"


def held_out(metrics: Mapping[str, Any]) -> str:
    """Of which scans the validation scores are: in a timed run they may be fewer than those that were held out."""
    kept = metrics.get("data", {}).get("validation", 0)
    scored = metrics.get("validation_scans", kept)
    return f"{kept} held-out labelled scans" if scored == kept else f"{scored} of {kept} held-out labelled scans"


def _joined(values: tuple[float, ...], by: str) -> str:
    return by.join(f"{value:g}" for value in values)


def _ending(metrics: dict[str, Any]) -> str:
    return "" if metrics["finished"] else ", stopped before its end"
