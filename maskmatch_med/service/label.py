"""Label: define classes, paint on drafts, mark as complete, start from or accept a prediction, restore a version."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from maskmatch_med.errors import InputError
from maskmatch_med.evaluation.pictures import PALETTE
from maskmatch_med.io import LabelMap, nifti, read_labels
from maskmatch_med.io.labels import UNJUDGED
from maskmatch_med.planning import Plan
from maskmatch_med.study import Draft, Drafts, LabelDefinition, LabelVersion, Study, names_now, versions
from maskmatch_med.study import define_labels as define
from maskmatch_med.study.alignment import on_grid
from maskmatch_med.study.versions import Authorship

StudyPath = Study | Path | str


def label_definitions(study: StudyPath) -> list[LabelDefinition]:
    """The classes of a study in their order, without the background, each with a colour."""
    opened = study if isinstance(study, Study) else Study.at(Path(study))
    names = sorted((value, name) for name, value in opened.label_names.items() if value)
    colours = opened.label_colours
    return [
        LabelDefinition(name, colours.get(name, PALETTE[(value - 1) % len(PALETTE)]), name) for value, name in names
    ]


def define_labels(
    study: StudyPath, definitions: Sequence[LabelDefinition], author: str = "", *, remove_used: bool = False
) -> None:
    """Rename, add, reorder, colour and remove the classes of a study.

    Args:
        study: the study.
        definitions: all classes in their order; ``was`` is the present name of those that are kept.
        author: who changes them.
        remove_used: remove classes that are painted somewhere; their voxels count as not judged then.

    Raises:
        LabelsInUseError: a class that is painted would be removed; ask, then repeat with ``remove_used``.
        InputError: a name or colour cannot be used.
    """
    define(Study.open(_root(study)), definitions, author=author, remove_used=remove_used)


def restore_version(study: StudyPath, case: str, version: str, author: str = "") -> LabelVersion:
    """Make an earlier label version the current one, as a new version; classes are found by their names.

    What is painted on the scan and in no version yet becomes a version of its own before, so that nothing is lost.

    Raises:
        InputError: there is no such version, or it holds a class that the study no longer has.
    """
    opened = Study.open(_root(study))
    found = next((known for known in opened.versions(case) if known.version == version), None)
    if found is None:
        raise InputError(f"{case} has no label version {version!r}; its history lists them")
    geometry = nifti.read_geometry(opened.case(case).image_paths[0])
    authorship = Authorship(found.source, author, version, (*found.notes, f"restored from version {version}"))
    with opened.editing():
        own = names_now(opened.root, found.label_names)
        labels = _renumbered(opened, found.read().array, own, f"version {version} of {case}")
        Drafts(opened).make_version(case)
        return versions.add_version(opened.root, case, LabelMap(labels, geometry), opened.label_names, authorship)


def open_draft(study: StudyPath, case: str) -> Draft:
    """What is painted on a scan: the strokes not yet in a version, else its current label.

    Raises:
        StudyError: there is no such scan, or the study cannot be written.
    """
    return _drafts(study).open(case)


def save_strokes(
    study: StudyPath,
    case: str,
    revision: int,
    labels: NDArray[np.uint8],
    judged: NDArray[np.bool_],
    author: str = "",
) -> int:
    """Keep what was painted; it is on disk when this returns. See :meth:`maskmatch_med.study.Drafts.save`.

    Returns:
        The new revision, which the next save goes on from.

    Raises:
        ConflictError: another window has saved first; load its draft.
        InputError: shape or values do not fit the scan and the classes.
        StudyError: the disk is full or may not be written.
    """
    return _drafts(study).save(case, revision, labels, judged, author).revision


def complete_slice(study: StudyPath, case: str, revision: int, axis: int, index: int, author: str = "") -> Draft:
    """Mark every voxel of a slice across a file axis (0, 1, 2) as judged, and make a label version.

    Raises:
        ConflictError: another window has saved first.
        InputError: there is no such slice.
    """
    return _drafts(study, writes=True).complete(case, revision, author, axis=axis, index=index)


def complete_scan(study: StudyPath, case: str, revision: int, author: str = "") -> Draft:
    """Mark every voxel of a scan as judged, and make a label version.

    Raises:
        ConflictError: another window has saved first.
    """
    return _drafts(study, writes=True).complete(case, revision, author)


def save_label(study: StudyPath, case: str, author: str | None = None) -> LabelVersion | None:
    """Make a label version of a scan's draft, on Save and on leaving the scan; None where nothing is unsaved."""
    return _drafts(study, writes=True).make_version(case, author)


def start_from_prediction(study: StudyPath, case: str, revision: int, model: str, author: str = "") -> Draft:
    """Lay ``predictions/MODEL/CASE.nii.gz`` under what is judged already; it stays unjudged until marked complete.

    Raises:
        InputError: there is no such prediction, or it does not fit the scan or the classes.
        ConflictError: another window has saved first.
    """
    drafts = _drafts(study)
    return drafts.suggest(case, revision, predicted_labels(drafts.study, case, model), model, author)


def accept_prediction(study: StudyPath, case: str, model: str, author: str = "") -> LabelVersion:
    """Take a prediction as the complete label of a scan; what somebody has judged before stays as it was judged.

    Raises:
        InputError: there is no such prediction, or it does not fit the scan or the classes.
    """
    drafts = _drafts(study, writes=True)
    draft = drafts.open(case)
    labels = predicted_labels(drafts.study, case, model)
    draft = drafts.suggest(case, draft.revision, labels, model, author)
    drafts.complete(case, draft.revision, author)
    return drafts.study.versions(case)[-1]


def predicted_labels(study: StudyPath, case: str, model: str) -> NDArray[np.uint8]:
    """The prediction of a model for a scan: (X, Y, Z) uint8 in the study's classes.

    The classes of a model that was trained here are found by their names; predictions that came from elsewhere hold the
    study's own values.

    Raises:
        InputError: there is none, or it does not fit the scan or the classes.
    """
    opened = study if isinstance(study, Study) else Study.at(Path(study))
    path = opened.predictions_dir / opened.model_dir(model).name / f"{case}.nii.gz"
    if not path.is_file():
        raise InputError(f"there is no prediction {path}; predict this scan with {model} first")
    geometry = nifti.read_geometry(opened.case(case).image_paths[0])
    labels = on_grid(read_labels(path, unjudged=None), geometry, path)[0]
    return in_classes_of_now(opened, labels, model, path).array


def in_classes_of_now(study: Study, labels: LabelMap, model: str, path: Path) -> LabelMap:
    """A model's prediction, as it lies in its file, with the values that the study has for its classes now.

    Raises:
        InputError: it holds what is no class of the study.
    """
    return LabelMap(_renumbered(study, labels.array, classes_of_model(study, model), str(path)), labels.geometry)


def classes_of_model(study: Study, model: str) -> dict[str, int]:
    """The classes by their names of now and the values that a model's predictions have for them.

    Predictions that came from elsewhere hold the study's own values.
    """
    plan = study.model_dir(model) / "plan.json"
    return names_now(study.root, Plan.load(plan).label_names) if plan.is_file() else study.label_names


def _renumbered(study: Study, labels: NDArray[np.uint8], label_names: dict[str, int], where: str) -> NDArray[np.uint8]:
    """Labels with the values that the study gives to the names of their classes; 255 stays."""
    names = {value: name for name, value in label_names.items()}
    table = np.zeros(256, np.uint8)
    table[UNJUDGED] = UNJUDGED
    for value in np.unique(labels).tolist():
        name = names.get(value)
        if value != UNJUDGED and name not in study.label_names:
            told, known = f"the value {value}" if name is None else f"the class {name!r}", ", ".join(study.label_names)
            raise InputError(f"{where} holds {told}, which is no class of the study ({known}); define it first")
        if name is not None:
            table[value] = study.label_names[name]
    return table[labels]


def _root(study: StudyPath) -> Path:
    return study.root if isinstance(study, Study) else Path(study)


def _drafts(study: StudyPath, *, writes: bool = False) -> Drafts:
    """The drafts; what changes labels adopts those edited by other programs first."""
    if isinstance(study, Study):
        return Drafts(study)
    return Drafts(Study.open(Path(study)) if writes else Study.at(Path(study)))
