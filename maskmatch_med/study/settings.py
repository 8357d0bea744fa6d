"""dataset.json: the names of channels and classes, in nnU-Net's own words."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from maskmatch_med.errors import InputError, StudyError
from maskmatch_med.io.atomic import write_text

IGNORE = "ignore"
FILE_ENDING = ".nii.gz"
COLOURS = "label_colours"
"""Our own key of dataset.json, which nnU-Net passes over."""


@dataclass(frozen=True)
class StudySettings:
    """What all cases of a study share.

    Args:
        name: of the study.
        channel_names: one a channel, in order.
        label_names: class name to value, background 0, values without gaps, no ``ignore``.
        label_colours: class name to ``#rrggbb``, for the classes whose makers gave them one.

    Raises:
        InputError: a name is missing or doubled, or the values have gaps.
    """

    name: str
    channel_names: tuple[str, ...]
    label_names: dict[str, int]
    label_colours: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.channel_names:
            raise InputError("a study needs at least one channel name")
        check_label_names(self.label_names, "the study")

    @property
    def ignore_value(self) -> int:
        """The value by which nnU-Net knows voxels that are not judged: the highest class + 1."""
        return max(self.label_names.values()) + 1


def check_label_names(label_names: Mapping[str, int], where: str) -> None:
    """Refuse class names that the program cannot use.

    Raises:
        InputError: no background 0, gaps between the values, more than 254 of them, or a class called ``ignore``.
    """
    values = sorted(label_names.values())
    if values != list(range(len(values))) or len(values) < 2:
        raise InputError(
            f"{where} needs label values 0 (background), 1, 2, … without gaps, got {dict(label_names)}; "
            "renumber the classes"
        )
    if IGNORE in label_names:
        raise InputError(f"{where} has a class called {IGNORE!r}, a name kept for voxels not judged; rename it")
    if values[-1] > 253:
        raise InputError(f"{where} has {len(values)} classes; at most 254 are possible")


def names_to_labels(names: Sequence[str]) -> dict[str, int]:
    """Give the names the values 1, 2, … behind the background.

    Raises:
        InputError: a name is empty or doubled.
    """
    listed = [name for name in names if name != "background"]
    if not listed or len(set(listed)) != len(listed) or not all(name.strip() for name in listed):
        raise InputError(f"the label names must be distinct and not empty, got {list(names)}")
    return {"background": 0, **{name: value for value, name in enumerate(listed, start=1)}}


def read_dataset_json(root: Path) -> dict[str, Any]:
    """The content of dataset.json.

    Raises:
        StudyError: missing or damaged.
    """
    path = root / "dataset.json"
    if not path.is_file():
        raise StudyError(f"{root} is not a study: it has no dataset.json; make one with `maskmatch import SRC STUDY`")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise StudyError(f"{path} is not valid JSON ({error}); restore it from a copy") from error
    if not isinstance(content, dict):
        raise StudyError(f"{path} must hold a JSON object, got {type(content).__name__}; restore it from a copy")
    return content


def read_settings(root: Path) -> StudySettings:
    """Read the study's settings from its dataset.json.

    Raises:
        StudyError: dataset.json is missing, damaged, or not that of a study with .nii.gz files.
    """
    content = read_dataset_json(root)
    channels, labels = content.get("channel_names"), content.get("labels")
    if not isinstance(channels, dict) or not isinstance(labels, dict) or content.get("file_ending") != FILE_ENDING:
        raise StudyError(f"{root} is a data set but not a study; make one with `maskmatch import {root} STUDY`")
    try:
        label_names = {str(k): int(v) for k, v in labels.items() if k != IGNORE}
        ordered = tuple(str(channels[key]) for key in sorted(channels, key=int))
        colours = {str(name): str(colour) for name, colour in dict(content.get(COLOURS, {})).items()}
        return StudySettings(str(content.get("name", root.name)), ordered, label_names, colours)
    except (TypeError, ValueError) as error:
        raise StudyError(f"cannot use {root / 'dataset.json'}: {error}") from error


def write_dataset_json(root: Path, settings: StudySettings, labelled: Sequence[str], *, ignore: bool) -> bool:
    """Rewrite dataset.json where its content changes; keys of others are kept.

    Args:
        root: the study.
        settings: names of channels and classes.
        labelled: the cases with a label, which nnU-Net trains on.
        ignore: whether a label holds voxels not judged, so that nnU-Net must know their value.

    Returns:
        Whether the file was written.
    """
    path = root / "dataset.json"
    old = read_dataset_json(root) if path.is_file() else {}
    new = dataset_content(old, settings, labelled, ignore=ignore)
    if new == old:
        return False
    write_text(path, json.dumps(new, indent=1, ensure_ascii=False) + "\n")
    return True


def dataset_content(
    old: Mapping[str, Any], settings: StudySettings, labelled: Sequence[str], *, ignore: bool
) -> dict[str, Any]:
    """What dataset.json is to hold: the keys of ``old`` that are not ours are kept; the rest as above."""
    labels = dict(settings.label_names) | ({IGNORE: settings.ignore_value} if ignore else {})
    count = len(settings.channel_names)
    new = dict(old) | {
        "name": settings.name,
        "channel_names": {str(i): name for i, name in enumerate(settings.channel_names)},
        "labels": labels,
        "file_ending": FILE_ENDING,
        "numTraining": len(labelled),
        "dataset": {
            case: {
                "images": [f"imagesTr/{case}_{c:04d}{FILE_ENDING}" for c in range(count)],
                "label": f"labelsTr/{case}{FILE_ENDING}",
            }
            for case in labelled
        },
    }
    if settings.label_colours:
        new[COLOURS] = {name: colour for name, colour in settings.label_colours.items() if name in labels}
    return new
