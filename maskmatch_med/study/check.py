"""Check a study: everything that would spoil training or mislead who reads its results; and repair what can be."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from maskmatch_med.errors import InputError, StudyError
from maskmatch_med.io.atomic import PART_SUFFIX
from maskmatch_med.io.labels import UNJUDGED
from maskmatch_med.study.alignment import refuse_unknown_values
from maskmatch_med.study.case import Case
from maskmatch_med.study.catalogue import read_catalogue, write_catalogue
from maskmatch_med.study.records import file_sha256
from maskmatch_med.study.study import Study
from maskmatch_med.study.versions import recover_version
from maskmatch_med.volume import Geometry, Volume

Severity = Literal["error", "warning", "note"]
REPAIR = "run `maskmatch check --repair`"


@dataclass(frozen=True)
class Finding:
    """One thing found in a study.

    Args:
        severity: ``error`` spoils training or results; ``warning`` may; ``note`` is good to know.
        case: the case, or None where it concerns the study.
        message: what was found, with the file's name.
        todo: what to do about it.
    """

    severity: Severity
    case: str | None
    message: str
    todo: str


def check_study(root: Path, progress: Callable[[int, int, str], None] | None = None) -> list[Finding]:
    """Read every scan and label of a study and list what is wrong, errors first. Nothing is written.

    Raises:
        StudyError: the folder is no study.
    """
    study = Study.at(root)
    findings = list(_study_findings(study))
    names = study.folder.names()
    for done, name in enumerate(names):
        if progress is not None:
            progress(done, len(names), f"checking {name}")
        findings += _case_findings(study, name)
    order = {"error": 0, "warning": 1, "note": 2}
    return sorted(findings, key=lambda f: (order[f.severity], f.case or "", f.message))


def repair_study(root: Path) -> list[str]:
    """Rebuild what can be rebuilt from the files: sidecars, labelsTr, dataset.json, the catalogue; clear leftovers.

    No scan, no label version and no model is changed.

    Returns:
        What was done, in sentences.

    Raises:
        StudyError: the folder is no study, or a living process keeps it locked.
    """
    study = Study.at(root)
    done = []
    if study.lock.remove_if_dead():
        done.append("removed the lock of a process that has ended")
    with study.lock.held():
        for path in _leftovers(study.root):
            path.unlink()
            done.append(f"removed the unfinished file {path.relative_to(study.root)}")
        done += [f"wrote sources/{n}.json anew from the scan" for n in study.folder.names() if _restore(study, n)]
        catalogue_was_right = _catalogue_is_right(study)
        done += [f"wrote {p.relative_to(study.root)} anew" for p in _recover_versions(study)]
        adopted = study.view().refresh()
        write_catalogue(study.root, study.cases())
        done += [f"the label of {name}, changed by another program, became a new version" for name in adopted]
        if not catalogue_was_right:
            done.append("rebuilt the catalogue study.sqlite from the files")
    return done


def _study_findings(study: Study) -> Iterator[Finding]:
    root = study.root
    for name in study.folder.incomplete_names():
        yield Finding("error", name, f"{root / 'imagesTr'} lacks a channel of {name}", "import its scan again")
    known = {*study.folder.names(), *study.folder.incomplete_names()}
    for folder, names in (("labelsTr", _label_names(root)), ("history", _history_names(root))):
        for name in sorted(names - known):
            todo = f"add its scan as imagesTr/{name}_0000.nii.gz or move the label away"
            yield Finding("error", name, f"{root / folder} has a label {name} without a scan", todo)
    if not study.folder.names():
        yield Finding("warning", None, f"{root} holds no scan", "import some with `maskmatch import`")
    if study.lock.path.exists() and study.lock.holder() is None:
        yield Finding("note", None, f"{study.lock.path} was left by a process that has ended", REPAIR)
    for path in _leftovers(root):
        yield Finding("note", None, f"{path} was left unfinished by a process that has ended", REPAIR)
    if not _catalogue_is_right(study):
        yield Finding("note", None, f"{root / 'study.sqlite'} does not agree with the files", REPAIR)
    if study.view().is_stale():
        yield Finding("note", None, f"{root / 'labelsTr'} does not show the current label versions", REPAIR)


def _case_findings(study: Study, name: str) -> Iterator[Finding]:
    try:
        case = study.case(name)
        scan = case.read_image()
    except StudyError as error:
        yield Finding("error", name, str(error), REPAIR)
        return
    except InputError as error:
        yield Finding("error", name, str(error), "replace the file, or remove the case")
        return
    yield from _scan_findings(study, case, scan)
    problem = study.view().edit_problem(name)
    if problem:
        yield Finding("error", name, problem, "correct the file, or delete it to get the last version back")
    yield from _label_findings(study, case, scan.geometry)


def _scan_findings(study: Study, case: Case, scan: Volume) -> Iterator[Finding]:
    if case.shape != scan.geometry.shape:
        message = f"the scan of {case.name} has {scan.geometry.shape} voxels, {case.shape} when it was imported"
        yield Finding("error", case.name, message, "restore the image file that was imported")
    for channel, path in zip(scan.array, case.image_paths, strict=True):
        finite = np.isfinite(channel)
        if not finite.all():
            count = int((~finite).sum())
            todo = "training takes them as the median of the other voxels; correct the scan if they cover the structure"
            yield Finding("warning", case.name, f"{path} holds {count} NaN or infinite voxels", todo)
        if not finite.any() or np.ptp(channel[finite]) == 0:
            value = "NaN" if not finite.any() else f"{float(channel[finite][0]):g}"
            todo = "remove the case or export the scan anew"
            yield Finding("error", case.name, f"{path} is empty: every voxel is {value}", todo)


def _label_findings(study: Study, case: Case, geometry: Geometry) -> Iterator[Finding]:
    for version in study.versions(case.name):
        if not version.path.is_file() or file_sha256(version.path) != version.sha256:
            message = f"{version.path} is missing or not as it was written"
            yield Finding("error", case.name, message, "restore it from a copy; the other versions are not concerned")
    try:
        label = case.read_label()
        if label is None:
            return
        refuse_unknown_values(label, study.label_names, case.label.path if case.label else case.name)
    except InputError as error:
        yield Finding("error", case.name, str(error), "make a corrected version, or declare the class")
        return
    if not label.geometry.same_grid(geometry):
        message = f"the label of {case.name} does not lie on the scan's grid"
        yield Finding("error", case.name, message, "export the label on the scan's own grid and import it again")
    if set(label.values) == {UNJUDGED}:
        yield Finding("warning", case.name, f"the label of {case.name} has no judged voxel", "judge a part of it")
    elif set(label.values) <= {0, UNJUDGED}:
        yield Finding("warning", case.name, f"the label of {case.name} holds background only", "see if this is meant")


def _restore(study: Study, name: str) -> bool:
    try:
        return study.folder.restore_sidecar(name)
    except InputError:
        return False


def _recover_versions(study: Study) -> list[Path]:
    """Write damaged version sidecars anew from the voxels they describe; those are not touched."""
    return [
        path
        for name in study.folder.names()
        for path in sorted((study.root / "history" / name).glob("[0-9]*.json"))
        if recover_version(study.root, name, path.stem, study.label_names)
    ]


def _catalogue_is_right(study: Study) -> bool:
    try:
        cases = study.cases()
    except (StudyError, InputError):
        return False
    expected = {c.name: (c.judged, c.label.version if c.label else None) for c in cases}
    return read_catalogue(study.root) == expected


def _leftovers(root: Path) -> list[Path]:
    places = [root / "imagesTr", root / "labelsTr", root / "sources", *(root / "history").glob("*/"), root / "history"]
    return sorted({path for place in places for path in place.glob(f".*{PART_SUFFIX}")})


def _label_names(root: Path) -> set[str]:
    return {p.name.removesuffix(".nii.gz") for p in (root / "labelsTr").glob("[!.]*.nii.gz")}


def _history_names(root: Path) -> set[str]:
    return {p.name for p in (root / "history").glob("*/") if any(p.glob("*.json"))}
