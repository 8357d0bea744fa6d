"""Take a scan out of a study; what was known of it is kept aside, never deleted."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from maskmatch_med.io.atomic import write_text
from maskmatch_med.study.study import Study


def remove_scan(study: Study, name: str, author: str = "") -> Path:
    """Move a scan with its labels, drafts and predictions to ``removed/NAME-TIME/``, each at its place in the study.

    Moving the files back brings the scan back.

    Args:
        study: the study.
        name: of the scan.
        author: who removes it; may be empty.

    Returns:
        The folder that holds it now.

    Raises:
        StudyError: there is no such scan, or the study is in use.
    """
    case = study.case(name)
    now = datetime.now(UTC)
    aside = study.root / "removed" / f"{name}-{now:%Y%m%dT%H%M%S%f}"
    with study.editing():
        # The images first: without them it is no scan of the study, whatever a crash leaves behind.
        for path in (*case.image_paths, *_known_of(study, name)):
            target = aside / path.relative_to(study.root)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.move(path, target)
        told = {"scan": name, "author": author, "removed": now.isoformat(timespec="milliseconds")}
        write_text(aside / "removed.json", json.dumps(told, indent=1, ensure_ascii=False) + "\n")
    return aside


def _known_of(study: Study, name: str) -> Iterator[Path]:
    """Files and folders about a scan, beside its images."""
    places = [study.root / "labelsTr" / f"{name}.nii.gz", study.folder.sidecar(name)]
    places += [study.root / folder / name for folder in ("history", "drafts")]
    for model in sorted(path for path in study.predictions_dir.glob("*") if path.is_dir()):
        places += [model / f"{name}{ending}" for ending in (".nii.gz", "_uncertainty.nii.gz")]
    yield from (place for place in places if place.exists())
