"""Small pictures of scans and labels, and where copies made for looking at lie."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path

from maskmatch_med.errors import InputError
from maskmatch_med.evaluation.thumbnails import thumbnail
from maskmatch_med.io.atomic import write_bytes
from maskmatch_med.study import Study


def thumbnail_of(root: Path, name: str, version: str | None = None) -> Path:
    """A JPEG of a scan's middle slices with the outlines of its label, or of an earlier version of it.

    Raises:
        StudyError: there is no such scan.
        InputError: it cannot be read, or has no such version.
    """
    study = Study.at(root)
    case = study.case(name)
    label = case.label
    if version is not None:
        label = next((one for one in study.versions(case.name) if one.version == version), None)
        if label is None:
            raise InputError(f"{name} has no label version {version!r}; its history lists them")
    path = cache_of(study) / "thumbnails" / f"{name}.{label.version if label else 'none'}.jpg"
    if not is_fresh(path, case.image_paths[0], study.root / "dataset.json"):
        names = label.label_names if label else study.label_names
        write_bytes(path, thumbnail(case.read_image(), label.read() if label else None, names))
    return path


def is_fresh(path: Path, *sources: Path) -> bool:
    """Whether a copy is there and no older than what it is made from."""
    return path.is_file() and all(path.stat().st_mtime_ns >= source.stat().st_mtime_ns for source in sources)


def cache_of(study: Study) -> Path:
    """Where copies lie: in the study's cache, or among the temporary files where the study may not be written."""
    if os.access(study.root, os.W_OK):
        return study.cache_dir
    key = hashlib.sha256(str(study.root.resolve()).encode()).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"maskmatch-{key}"
