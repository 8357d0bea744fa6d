"""Read and change a plan: rows for a table, and overrides that are checked like everything else."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from maskmatch_med.errors import InputError
from maskmatch_med.planning.plan import ChannelNormalisation, Plan


def describe(plan: Plan) -> list[tuple[str, str]]:
    """What a person wants to know of a plan: (name, value) rows for a table."""
    channels = zip(plan.channel_names, plan.normalisation, strict=True)
    extent = plan.foreground_extent_vox
    return [
        ("Dimensions", f"{plan.spatial_dims}D"),
        ("Channels", "; ".join(f"{name}: {_scheme(how)}" for name, how in channels)),
        ("Labels", ", ".join(f"{value} {name}" for name, value in plan.label_names.items())),
        ("Target spacing", f"{_times(plan.spacing_mm)} {plan.length}"),
        ("Median scan", f"{_times(plan.median_shape_vox)} {plan.element}"),
        ("Labelled structures", f"{_times(extent)} {plan.element}" if extent else "nothing labelled yet"),
        *([("A piece of them", f"{plan.piece_mm:.3g} {plan.length} in diameter")] if plan.piece_mm else []),
        ("Patch", f"{_times(plan.patch_vox)} {plan.element}, {plan.batch_size} a batch"),
        ("Network", f"U-Net, {len(plan.network.features)} stages, features {_times(plan.network.features, ', ')}"),
        ("Mirrored axes", _times(plan.mirror_axes, ", ") or "none"),
        ("Memory for training", f"about {plan.training_memory_gib:.1f} GiB"),
        ("Time an iteration", f"about {plan.seconds_per_iteration:.2g} s"),
    ]


def override(plan: Plan, changes: Mapping[str, Any]) -> Plan:
    """The plan with some values changed, everything checked again.

    Args:
        plan: the plan to start from; it stays as it is.
        changes: dotted names to values, such as ``{"patch_vox": [32, 48, 32], "normalisation.0.scheme": "rescale"}``. A
            text that is valid JSON (``"[32, 48, 32]"``, ``"2"``) stands for what it says, as on a command line.

    Raises:
        InputError: a name is unknown, or a value is impossible.
    """
    values = plan.model_dump(mode="json")
    for name, value in changes.items():
        _set(values, name, _parsed(value))
    try:
        return Plan.model_validate(values)
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'plan'}: {e['msg']}" for e in error.errors())
        raise InputError(f"the plan cannot be changed so ({', '.join(changes)}): {problems}") from error


def _set(values: Any, name: str, value: Any) -> None:
    """Set a dotted name in nested dictionaries and lists."""
    *path, last = name.split(".")
    for part in path:
        values = values[_key(values, part, name)]
    values[_key(values, last, name)] = value


def _key(values: Any, part: str, name: str) -> str | int:
    if isinstance(values, list) and part.isdigit() and int(part) < len(values):
        return int(part)
    if isinstance(values, dict) and part in values:
        return part
    if isinstance(values, dict):
        known = ", ".join(map(str, values))
    else:
        known = f"0 to {len(values) - 1}" if isinstance(values, list) and values else "nothing below it"
    raise InputError(f"the plan has no {name!r}: {part!r} is unknown there; known: {known}")


def _parsed(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except json.JSONDecodeError:
        return value


def _scheme(how: ChannelNormalisation) -> str:
    if how.scheme == "ct":
        return f"CT, clipped to {how.low:g} … {how.high:g}, mean {how.mean:g}, std {how.std:g}"
    return {"zscore": "z-score of each scan", "rescale": "each scan to 0 … 1"}[how.scheme]


def _times(numbers: tuple[float, ...], between: str = " × ") -> str:
    return between.join(f"{n:g}" for n in numbers)
