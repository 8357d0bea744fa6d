"""What the files of a study tell without reading a voxel: labels without scan, scans whose label is elsewhere."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from maskmatch_med.errors import InputError, StudyError
from maskmatch_med.io.atomic import PART_SUFFIX
from maskmatch_med.io.formats import format_of, strip_extension
from maskmatch_med.study.catalogue import read_catalogue
from maskmatch_med.study.checking.finding import REPAIR, Finding
from maskmatch_med.study.study import Study

_KEPT_FOR_ITSELF = {"history", "sources", "models", "predictions", "drafts", "cohorts", "jobs"}
_LABEL_WORDS = re.compile(r"([_\-.](seg|segmentation|label|labels|mask|gt|manual|seg-manual|0000))+$", re.IGNORECASE)


def study_findings(study: Study) -> Iterator[Finding]:
    """Findings about the folder as a whole."""
    root = study.root
    for name in study.folder.incomplete_names():
        yield Finding("error", name, f"{root / 'imagesTr'} lacks a channel of {name}", "import its scan again")
    yield from _labels_without_scan(study)
    yield from _labels_elsewhere(study)
    if not study.folder.names():
        yield Finding("warning", None, f"{root} holds no scan", "import some with `maskmatch import`")
    if study.lock.path.exists() and study.lock.holder() is None:
        yield Finding("note", None, f"{study.lock.path} was left by a process that has ended", REPAIR)
    for path in leftovers(root):
        yield Finding("note", None, f"{path} was left unfinished by a process that has ended", REPAIR)
    for name in study.folder.names():
        if not study.folder.sidecar(name).is_file():
            message = f"{study.folder.sidecar(name)} is missing: another program put {name} into the study"
            yield Finding("note", name, message, REPAIR)
    if not catalogue_is_right(study):
        yield Finding("note", None, f"{root / 'study.sqlite'} does not agree with the files", REPAIR)
    if study.view().is_stale(by_content=True):
        yield Finding("note", None, f"{root / 'labelsTr'} does not show the current label versions", REPAIR)


def catalogue_is_right(study: Study) -> bool:
    """Whether the index says what the files say."""
    try:
        cases = study.cases()
    except (StudyError, InputError):
        return False
    expected = {c.name: (c.judged, c.label.version if c.label else None) for c in cases}
    return read_catalogue(study.root) == expected


def leftovers(root: Path) -> list[Path]:
    """Files that a process which ended did not finish writing."""
    places = [root / "imagesTr", root / "labelsTr", root / "sources", *(root / "history").glob("*/"), root / "history"]
    return sorted({path for place in places for path in place.glob(f".*{PART_SUFFIX}")})


def _labels_without_scan(study: Study) -> Iterator[Finding]:
    root, names = study.root, study.folder.names()
    known = {*names, *study.folder.incomplete_names()}
    unlabelled = {_plain(name): name for name in names if name not in _label_names(root)}
    for folder, found in (("labelsTr", _label_names(root)), ("history", _history_names(root))):
        for name in sorted(found - known):
            todo = f"add its scan as imagesTr/{name}_0000.nii.gz or move the label away"
            meant = unlabelled.get(_plain(name))
            if meant and folder == "labelsTr":
                todo = f"it seems to be the label of {meant}: rename it to labelsTr/{meant}.nii.gz"
            yield Finding("error", name, f"{root / folder} has a label {name} without a scan", todo)


def _labels_elsewhere(study: Study) -> Iterator[Finding]:
    """Scans without a label of whose name there is a readable file elsewhere in the study, at any depth."""
    labelled = _label_names(study.root) | _history_names(study.root)
    without = {_plain(name): name for name in study.folder.names() if name not in labelled}
    for path in _foreign_files(study) if without else ():
        name = without.get(_plain(strip_extension(path)))
        if name is None or not _may_hold_labels(path):
            continue
        how = "copy it to" if path.name.endswith(".nii.gz") else "save it as"
        todo = f"if it is the label, {how} {study.root / 'labelsTr' / f'{name}.nii.gz'}"
        yield Finding("warning", name, f"{name} has no label, but there is {path}", todo, "labels")


def _may_hold_labels(path: Path) -> bool:
    """Whether a file is of a format in which labels may come."""
    row = format_of(path)
    return row is not None and row.labels


def _foreign_files(study: Study) -> Iterator[Path]:
    """Files of the study that are neither its scans nor its labels nor among what it keeps for itself."""
    root = study.root
    own = {path for name in study.folder.names() for path in study.folder.image_paths(name)}
    for where, folders, files in os.walk(root):
        here = Path(where)
        kept = _KEPT_FOR_ITSELF if here == root else set()
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name not in kept)
        paths = (here / name for name in sorted(files) if not name.startswith("."))
        in_view = here == root / "labelsTr"
        yield from (p for p in paths if p not in own and not (in_view and p.name.endswith(".nii.gz")))


def _plain(name: str) -> str:
    """A name without what label files add, so that two spellings of one case meet."""
    return re.sub(r"[^0-9a-z]+", "_", _LABEL_WORDS.sub("", name).lower())


def _label_names(root: Path) -> set[str]:
    return {p.name.removesuffix(".nii.gz") for p in (root / "labelsTr").glob("[!.]*.nii.gz")}


def _history_names(root: Path) -> set[str]:
    return {p.name for p in (root / "history").glob("*/") if any(p.glob("*.json"))}
