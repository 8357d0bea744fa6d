"""What a painter asks the server for: growing a structure from strokes, filling in between painted slices.

Both give a proposal and keep nothing; who paints applies and saves it as any stroke.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from maskmatch_med.editing import GrowOptions, box_around, grow, interpolate
from maskmatch_med.errors import InputError
from maskmatch_med.io import nifti
from maskmatch_med.service.strokes import look_at_draft
from maskmatch_med.study import Box, Draft, Study

Mask = NDArray[np.bool_]


def grow_strokes(study: Path, case: str, label: int, options: GrowOptions) -> Box | None:
    """Grow a structure from what is painted as it, against what is painted as anything else.

    Args:
        study: its folder.
        case: the scan.
        label: the structure's value.
        options: how far, and on which slice.

    Returns:
        The voxels of a box as they would be, or None where nothing would change.

    Raises:
        InputError: there is no such structure or slice, or no stroke of it.
        StudyError: there is no such scan.
    """
    opened = Study.at(study)
    _refuse_unknown(opened, label)
    strokes, others = look_at_draft(study, case, lambda draft: _strokes(draft, label))
    paths = opened.case(case).image_paths
    spacing_mm = nifti.read_geometry(paths[0]).spacing_mm
    place = box_around(strokes, spacing_mm, options)
    image = [nifti.read_part(path, place) for path in paths]
    if options.slice_axis is not None:
        options = replace(options, slice_index=0)
    inner, found = grow(image, strokes[place], others[place], spacing_mm, options)
    whole = np.zeros(strokes.shape, bool)
    whole[place][inner] = found
    return _proposed(study, case, label, whole)


def interpolate_slices(study: Path, case: str, label: int, axis: int | None = None) -> Box | None:
    """Fill in a structure between the slices on which it is painted.

    Args:
        study: its folder.
        case: the scan.
        label: the structure's value.
        axis: 0, 1 or 2 of the file, across which the painted slices lie; found where not given.

    Returns:
        The voxels of a box as they would be, or None where nothing would change.

    Raises:
        InputError: there is no such structure or axis, or nothing lies between painted slices.
        StudyError: there is no such scan.
    """
    opened = Study.at(study)
    _refuse_unknown(opened, label)
    painted, others = look_at_draft(study, case, lambda draft: _strokes(draft, label))
    geometry = nifti.read_geometry(opened.case(case).image_paths[0])
    return _proposed(study, case, label, interpolate(painted, others, geometry.spacing_mm, axis))


def _refuse_unknown(study: Study, label: int) -> None:
    if label not in study.label_names.values() or label == 0:
        names = ", ".join(f"{value} {name}" for name, value in study.label_names.items() if value)
        raise InputError(f"{label} is no structure of the study; it has {names}")


def _strokes(draft: Draft, label: int) -> tuple[Mask, Mask]:
    """What is judged as the structure, and what as anything else."""
    own = draft.labels == label
    return draft.judged & own, draft.judged & ~own


def _proposed(study: Path, case: str, label: int, found: Mask) -> Box | None:
    """The box around what was found, as the draft would be with it; what is judged by now stays as it is."""
    spans = [np.flatnonzero(found.any(axis=tuple(other for other in range(3) if other != own))) for own in range(3)]
    if not spans[0].size:
        return None
    place = tuple(slice(int(span[0]), int(span[-1]) + 1) for span in spans)
    labels, judged = look_at_draft(study, case, lambda draft: (draft.labels[place].copy(), draft.judged[place].copy()))
    new = found[place] & ~judged
    labels[new], judged[new] = label, True
    corner = (place[0].start, place[1].start, place[2].start)
    return Box(corner, labels, judged) if new.any() else None
