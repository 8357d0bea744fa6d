"""What tells apart several stacks of one series: echoes, b-values, moments, kinds of image."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Protocol, TypeVar

TABLE: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("place", "their place within the plane", ()),
    ("type", "the kind of image", ("ImageType", "FrameType", "ComplexImageComponent")),
    ("echo", "the echo", ("EchoNumbers", "EffectiveEchoTime", "EchoTime")),
    ("inversion", "the inversion time", ("InversionTime",)),
    ("b", "the b-value", ("DiffusionBValue", "SiemensBValue", "GeBValue")),
    ("direction", "the diffusion direction", ("DiffusionGradientOrientation", "SiemensDirection")),
    ("time", "the temporal position", ("TemporalPositionIndex", "TemporalPositionIdentifier")),
    (
        "cardiac",
        "the cardiac phase",
        ("NominalPercentageOfCardiacPhase", "NominalCardiacTriggerDelayTime", "TriggerTime"),
    ),
    ("stack", "the number of the stack", ("StackID",)),
    ("flip", "the flip angle", ("FlipAngle",)),
    ("acquisition", "the number of the acquisition", ("AcquisitionNumber", "FrameAcquisitionNumber")),
    ("start", "the start of the acquisition", ("AcquisitionDateTime", "AcquisitionTime")),
)
"""Name, how it is called, and the attributes that may hold it; in the order in which they are asked."""
NAMES = tuple(name for name, _, _ in TABLE)
_SPOKEN = {name: spoken for name, spoken, _ in TABLE}
_GE_OFFSET = 1_000_000_000
"""What GE adds to some b-values."""


class HasTraits(Protocol):
    """A frame, as far as this module looks at it."""

    @property
    def traits(self) -> Mapping[str, str]:
        """Values of the traits by name; empty where the file does not say."""


FrameT = TypeVar("FrameT", bound=HasTraits)


def spoken(name: str) -> str:
    """What a trait is called in a sentence."""
    return _SPOKEN[name]


def parts(frames: Sequence[FrameT], name: str) -> list[list[FrameT]]:
    """The frames by the value of a trait: in order of its numbers, else of their first frames."""
    groups: dict[str, list[FrameT]] = {}
    for frame in frames:
        groups.setdefault(frame.traits[name], []).append(frame)
    numbers = {value: _first_number(value) for value in groups}
    if all(number is not None for number in numbers.values()):
        return [groups[value] for value in sorted(groups, key=lambda value: numbers[value] or 0.0)]
    return list(groups.values())


def suffixes(split: Sequence[Sequence[HasTraits]], name: str) -> list[str]:
    """What to add to the name of each part, such as ``_echo2``, ``_b1000`` or ``_water``; no two are the same."""
    values = [part[0].traits[name] for part in split]
    counted = [f"_{name}{number:0{len(str(len(values)))}d}" for number in range(1, len(values) + 1)]
    shown = counted
    if name == "b":
        numbers = [_first_number(value) for value in values]
        shown = [s if n is None else f"_b{round(n % _GE_OFFSET)}" for s, n in zip(shown, numbers, strict=True)]
    if name == "type":
        words = [set(re.findall(r"[a-z0-9_]+", value.lower())) for value in values]
        shared = set.intersection(*words)
        shown = ["_" + "-".join(sorted(own - shared))[:24] for own in words]
    if len(set(shown)) < len(shown) or "_" in shown:
        return counted
    return shown


def _first_number(value: str) -> float | None:
    match = re.match(r"-?\d+(\.\d+)?([eE][-+]?\d+)?(?=$|[\\ ])", value)
    return float(match[0]) if match else None
