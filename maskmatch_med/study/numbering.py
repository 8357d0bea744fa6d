"""Whether whoever paints means the classes that the study has: its values are numbers, which pass to other classes."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from maskmatch_med.errors import BusyError, ClassesError
from maskmatch_med.study.relabelling import is_relabelling_unfinished, names_now
from maskmatch_med.study.settings import read_settings
from maskmatch_med.study.study import Study


def classes_of(root: Path) -> tuple[str, ...]:
    """The names of the classes 1, 2, … as they are on disk.

    Raises:
        StudyError: the folder is no study.
    """
    label_names = read_settings(root).label_names
    return tuple(sorted((name for name, value in label_names.items() if value), key=label_names.__getitem__))


def values_now(root: Path, classes: Sequence[str]) -> list[int | None]:
    """The value that each of some classes has now, found by its name or the one it got since; None where it is gone.

    Args:
        root: the study.
        classes: the names of the classes 1, 2, … as they were once.
    """
    current = read_settings(root).label_names
    renamed = names_now(root, {name: rank for rank, name in enumerate(classes)})
    found = {rank: current.get(name) or None for name, rank in renamed.items()}
    return [found.get(rank) for rank in range(len(classes))]


def refuse_other_classes(root: Path, classes: Sequence[str] | None) -> None:
    """Refuse what is in the numbers of other classes. Renamed classes, and further ones behind them, are no others.

    Args:
        root: the study.
        classes: the names of the classes 1, 2, … of who paints; None where they are not known.

    Raises:
        BusyError: the classes are being changed at this moment.
        ClassesError: a value means another class now.
    """
    if is_relabelling_unfinished(root):
        raise BusyError("the classes of this study are being changed at the moment; try again in a few seconds")
    if classes is None or values_now(root, classes) == list(range(1, len(classes) + 1)):
        return
    raise ClassesError(
        f"this window paints with the classes {', '.join(classes)}, the study has "
        f"{', '.join(classes_of(root))} by now; "
        "nothing was saved, load the page again"
    )


def origin_of(study: Study, case: str) -> str:
    """What tells a scan from any other, also from one of the same name in a study of the same name."""
    record = study.source(case)
    told = [] if record is None else [record.added or "", *record.sha256]
    return hashlib.sha256("\n".join([case, *told]).encode()).hexdigest()[:16]
