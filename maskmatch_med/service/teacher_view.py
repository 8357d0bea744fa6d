"""The pseudo-label microscope of a training: what its teacher said of a few unlabelled scans, now and earlier."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from maskmatch_med.errors import StudyError
from maskmatch_med.evaluation import teacher_pictures
from maskmatch_med.evaluation.pictures import VIEWS
from maskmatch_med.nets import ModelFolder
from maskmatch_med.planning import Plan
from maskmatch_med.service.label import label_definitions
from maskmatch_med.study import Study, names_now
from maskmatch_med.training import Snapshot, read_snapshots, read_stack

Layer = Literal["labels", "confidence"]


@dataclass(frozen=True)
class Microscope:
    """What there is to look at.

    Args:
        snapshots: oldest first; empty where the recipe learns from labels alone, or has not come so far yet.
        slices: by scan, the slice to show: where the newest snapshot shows most of the structures.
        colours: by structure, as ``#rrggbb``.
        heat: colours of the confidence, from unsure to sure.
    """

    snapshots: tuple[Snapshot, ...]
    slices: dict[str, int]
    colours: dict[str, str]
    heat: tuple[str, ...]


def microscope(study: Study | Path | str, model: str) -> Microscope:
    """What a training's teacher said of a few unlabelled scans over the run.

    Raises:
        StudyError: the folder is no study.
        InputError: no model can have such a name.
    """
    opened, folder = _found(study, model)
    snapshots = tuple(read_snapshots(folder.microscope_dir))
    slices = {glimpse.case: glimpse.fullest for glimpse in snapshots[-1].glimpses} if snapshots else {}
    return Microscope(snapshots, slices, _colours(opened), tuple(teacher_pictures.heat_colours()))


def microscope_picture(
    study: Study | Path | str, model: str, iteration: int, case: str, at: int, layer: Layer
) -> bytes:
    """One slice of one snapshot as PNG.

    Args:
        study: the study.
        model: whose training.
        iteration: of the snapshot.
        case: the scan.
        at: the slice, from 0; the nearest one where there are fewer.
        layer: the teacher's labels over the scan, or its confidence.

    Raises:
        StudyError: there is no such snapshot, scan or study, or its file is damaged.
    """
    opened, folder = _found(study, model)
    for snapshot in read_snapshots(folder.microscope_dir):
        names = [glimpse.case for glimpse in snapshot.glimpses]
        if snapshot.iteration == iteration and case in names:
            number = names.index(case)
            break
    else:
        raise StudyError(f"the training of {model} has not looked at {case!r} at iteration {iteration}")
    glimpse = snapshot.glimpses[number]
    try:
        stack = read_stack(folder.microscope_dir, iteration, number)
    except (OSError, KeyError, ValueError, EOFError) as error:
        raise StudyError(f"{folder.microscope_dir} is damaged at iteration {iteration}: {error}") from error
    at = min(max(at, 0), stack.labels.shape[glimpse.axis] - 1)
    image, labels, confidence = (
        teacher_pictures.upright(part, glimpse.axis, at) for part in (stack.image, stack.labels, stack.confidence)
    )
    across, up = VIEWS[glimpse.axis][1]
    aspect = glimpse.spacing_mm[up] / glimpse.spacing_mm[across]
    if layer == "confidence":
        return teacher_pictures.confidence_picture(confidence, labels, aspect)
    named = _colours(opened)
    values = names_now(opened.root, Plan.load(folder.plan_path).label_names)
    colours = {value: named[name] for name, value in values.items() if name in named}
    return teacher_pictures.label_picture(image, labels, colours, aspect)


def _found(study: Study | Path | str, model: str) -> tuple[Study, ModelFolder]:
    opened = study if isinstance(study, Study) else Study.at(Path(study))
    return opened, ModelFolder(opened.model_dir(model))


def _colours(study: Study) -> dict[str, str]:
    return {one.name: one.colour for one in label_definitions(study) if one.colour is not None}
