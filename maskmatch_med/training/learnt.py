"""Which label versions a training learnt from: ``models/MODEL/labels.json``, an entry a start of the training.

The file is for the study alone: it holds names of scans, so it does not leave with the model. A scan that was taken out
of the study is counted there by a stand-in for its name (:mod:`maskmatch_med.study.struck`).
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from maskmatch_med.errors import StudyError
from maskmatch_med.io.atomic import write_text
from maskmatch_med.study.struck import back_again, renamed

FILE = "labels.json"
"""Name of the file in a model's folder."""


class LearntFrom(BaseModel):
    """The scans of one start of a training.

    Args:
        labelled: the label version of each scan that was learnt from.
        held_out: the label version of each scan that was only checked on.
        unlabelled: the scans that took part by their voxels that nobody has judged.
        inherited: the scans whose labels the model learnt from whose weights were the start; None where that is not
            known.
        begun: when, UTC in ISO 8601.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    labelled: dict[str, str]
    held_out: dict[str, str]
    unlabelled: tuple[str, ...] = ()
    inherited: tuple[str, ...] | None = ()
    begun: str = Field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="milliseconds"))


def record_learnt(folder: Path, entry: LearntFrom, start: Path | None) -> None:
    """Add the start of a training to a model's ``labels.json``.

    Args:
        folder: of the model.
        entry: what it learns from.
        start: folder of the model whose weights were the start; None where there was none.

    Raises:
        StudyError: the file of one of the models is damaged.
    """
    if start is not None:
        known = labels_seen(start)
        entry = entry.model_copy(update={"inherited": None if known is None else tuple(sorted(known))})
    entries = [*read_learnt(folder), entry]
    write_text(folder / FILE, json.dumps([one.model_dump() for one in entries], indent=1) + "\n")


def labels_seen(folder: Path) -> set[str] | None:
    """The scans whose labels a model learnt from, or the models it was begun with; None where that is not known.

    Raises:
        StudyError: the file is damaged.
    """
    entries = read_learnt(folder)
    if not entries or any(entry.inherited is None for entry in entries):
        return None
    return {name for entry in entries for name in (*entry.labelled, *(entry.inherited or ()))}


def read_learnt(folder: Path) -> list[LearntFrom]:
    """The starts of a model's training, oldest first; none where nothing was recorded.

    Raises:
        StudyError: the file is damaged.
    """
    path, back = folder / FILE, back_again(folder.parent.parent)
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
        return [LearntFrom.model_validate(renamed(one, back)) for one in entries]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise StudyError(f"cannot read {path}, which says what the model learnt from: {error}") from error
