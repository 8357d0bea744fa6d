"""Which classes a set of label files has, where the files name them themselves.

The name is the class: programs number segments in the order in which they were made, so the same structure often has
another value in the next file. Names that a program gives by itself, such as ``Segment_1``, count as none.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from maskmatch_med.errors import InputError
from maskmatch_med.io.segments import Segment
from maskmatch_med.study.settings import names_to_labels

BACKGROUND = "background"
_GIVEN_BY_A_PROGRAM = re.compile(r"^(segment|label|class)[ _-]?\d+$", re.IGNORECASE)


@dataclass(frozen=True)
class NamedClasses:
    """The classes that label files name.

    Args:
        label_names: class name to value, background 0.
        colours: class name to ``#rrggbb``, as the first file that has one gives it.
    """

    label_names: dict[str, int]
    colours: dict[str, str]


def with_names_of_people(described: Mapping[Path, tuple[Segment, ...]]) -> dict[Path, tuple[Segment, ...]]:
    """Only the files in which somebody named a class."""
    return {
        path: segments
        for path, segments in described.items()
        if not all(_GIVEN_BY_A_PROGRAM.match(segment.name) for segment in segments)
    }


def classes_named(described: Mapping[Path, tuple[Segment, ...]]) -> NamedClasses:
    """Number the classes 1, 2, … in the order of the lowest value that a file gives them.

    Raises:
        InputError: two names differ in nothing but capitals and spaces.
    """
    lowest: dict[str, int] = {}
    where: dict[str, tuple[str, Path]] = {}
    for path, segments in described.items():
        for segment in segments:
            name, seen = where.setdefault(_folded(segment.name), (segment.name, path))
            if name != segment.name:
                raise InputError(
                    f"{seen} calls a class {name!r}, {path} {segment.name!r}; give it one name in all files"
                )
            if _folded(segment.name) != BACKGROUND:
                lowest[name] = min(lowest.get(name, segment.value), segment.value)
    ordered = sorted(lowest, key=lambda name: lowest[name])
    colours: dict[str, str] = {}
    for segment in (segment for segments in described.values() for segment in segments):
        if segment.colour is not None and segment.name in lowest:
            colours.setdefault(segment.name, segment.colour)
    return NamedClasses(names_to_labels(ordered), {n: colours[n] for n in ordered if n in colours})


def refuse_other_names(described: Mapping[Path, tuple[Segment, ...]], label_names: Mapping[str, int]) -> None:
    """Refuse files that name a class which is not among these.

    Raises:
        InputError: a file names another class.
    """
    for path, segments in described.items():
        odd = next((s.name for s in segments if s.name not in label_names and _folded(s.name) != BACKGROUND), None)
        if odd is not None:
            known = ", ".join(name for name in label_names if name != BACKGROUND)
            raise InputError(
                f"{path} names the class {odd!r}, which is not among {known}; rename it there, or import it into "
                "another study"
            )


def values_agree(described: Mapping[Path, tuple[Segment, ...]], label_names: Mapping[str, int]) -> bool:
    """Whether every file gives every class the value that it has in the study."""
    return all(label_names.get(s.name, 0) == s.value for segments in described.values() for s in segments)


def class_of(segment: Segment, label_names: Mapping[str, int]) -> int:
    """The value of a segment's class."""
    return 0 if _folded(segment.name) == BACKGROUND else label_names[segment.name]


def _folded(name: str) -> str:
    return " ".join(name.split()).casefold()
