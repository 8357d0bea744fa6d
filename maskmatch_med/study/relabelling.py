"""Change the classes of a study: names, colours, order, added and removed ones.

Renaming, adding and colours change dataset.json alone. Where values change, because classes were reordered or removed,
every label gets a new version and every draft new voxels. What is to be done is noted in ``history/relabelling.json``
first, so that a change cut short is finished when the study is opened next.
"""

from __future__ import annotations

import hashlib
import json
import re
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from maskmatch_med.errors import InputError, LabelsInUseError, StudyError
from maskmatch_med.io import LabelMap
from maskmatch_med.io.atomic import write_text
from maskmatch_med.io.labels import UNJUDGED
from maskmatch_med.study import draft as drafting
from maskmatch_med.study import versions
from maskmatch_med.study.draft import Draft
from maskmatch_med.study.journal import Journal
from maskmatch_med.study.lock import FolderLock
from maskmatch_med.study.settings import check_label_names, names_to_labels
from maskmatch_med.study.struck import REMOVED, TOLD
from maskmatch_med.study.versions import Authorship

if TYPE_CHECKING:
    from maskmatch_med.study.study import Study

DRAFT = "draft.journal"
_COLOUR = re.compile(r"^#[0-9a-fA-F]{6}$")


@dataclass(frozen=True)
class LabelDefinition:
    """A class as it shall be.

    Args:
        name: its name.
        colour: ``#rrggbb``; None leaves it as it is.
        was: the name that it has now; None for a new class.
    """

    name: str
    colour: str | None = None
    was: str | None = None


class Relabelling(BaseModel):
    """What is to be done: the new classes, and the new value of each old one; 255 for those removed."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str
    label_names: dict[str, int]
    colours: dict[str, str]
    renamed: dict[str, str]
    values: dict[int, int]
    author: str

    @property
    def renumbers(self) -> bool:
        """Whether a value changes."""
        return any(old != new for old, new in self.values.items())

    def table(self) -> NDArray[np.uint8]:
        """(256,) the new value of each old one."""
        table = np.full(256, UNJUDGED, np.uint8)
        for old, new in self.values.items():
            table[old] = new
        return table


def define_labels(
    study: Study, definitions: Sequence[LabelDefinition], *, author: str = "", remove_used: bool = False
) -> None:
    """Make the classes of a study these, in this order; the background stays.

    Args:
        study: an open study.
        definitions: all classes but the background.
        author: who changes them.
        remove_used: remove classes that are painted somewhere; their voxels become voxels that nobody has judged.

    Raises:
        InputError: a name or colour cannot be used, or no class is left.
        LabelsInUseError: a class that is painted somewhere would be removed.
        StudyError: another process keeps the study locked.
    """
    with study.editing():
        change = _planned(study, definitions, author)
        removed = [name for name, value in study.label_names.items() if change.values[value] == UNJUDGED]
        if removed and not remove_used and (uses := _uses(study, removed)):
            told = ", ".join(
                f"{name!r} on {len(scans)} scan{'s' if len(scans) > 1 else ''}" for name, scans in uses.items()
            )
            raise LabelsInUseError(
                f"{told} would no longer be a label: its voxels would become voxels that nobody has judged "
                "(earlier versions keep them); remove it all the same?",
                uses,
            )
        write_text(_pending(study.root), change.model_dump_json(indent=1) + "\n")
        _carry_out(study, change)
    _pending(study.root).unlink(missing_ok=True)


def finish_relabelling(study: Study) -> None:
    """Finish a change of classes that was cut short.

    Raises:
        StudyError: what was noted of it is damaged, or another process keeps the study locked.
    """
    with study.editing():
        try:
            change = Relabelling.model_validate_json(_pending(study.root).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return
        except ValueError as error:
            raise StudyError(f"{_pending(study.root)} is damaged; restore it from a copy") from error
        _carry_out(study, change)
    _pending(study.root).unlink(missing_ok=True)


def is_relabelling_unfinished(root: Path) -> bool:
    """Whether a change of classes was cut short."""
    return _pending(root).is_file()


def names_now(root: Path, label_names: Mapping[str, int]) -> dict[str, int]:
    """Classes as they were once, under the names that the study has for them now."""
    renamed = _renamed(root)
    return {renamed.get(name, name): value for name, value in label_names.items()}


def follow_label(study: Study, case: str) -> None:
    """Give the label of a scan that was away, while the classes changed, the values that these have now.

    A new version where a value changes; voxels of classes that the study has no more become voxels that nobody has
    judged, as those of its other scans did. A version knows its classes itself, so that none follows twice.

    Args:
        study: an open study; it is locked.
        case: the scan; its ``history`` is there already.
    """
    name = versions.latest_name(study.root, case)
    change = None if name is None else _to_now(study, versions.load_version(study.root, case, name).label_names)
    if change is not None and change.renumbers:
        (study.root / "labelsTr" / f"{case}.nii.gz").unlink(missing_ok=True)  # it is made anew from the history
        _renumber_label(study.root, case, change)


def follow_draft(study: Study, aside: Path, case: str, label_names: Mapping[str, int]) -> None:
    """The same for what is painted on it, before it is back among the drafts that every change of classes takes along.

    Args:
        study: an open study; it is locked.
        aside: the folder that holds the scan, laid out as a study's.
        case: the scan.
        label_names: the classes that its draft was painted in.
    """
    change, folder = _to_now(study, label_names), aside / "drafts" / case
    if change.renumbers and folder.is_dir():
        _renumber_draft(aside, folder, change)


def _to_now(study: Study, label_names: Mapping[str, int]) -> Relabelling:
    """From the classes of once to those of now; the same change has the same name."""
    now = study.label_names
    values = {value: now.get(name, UNJUDGED) for name, value in names_now(study.root, label_names).items()}
    key = hashlib.sha256(json.dumps([sorted(label_names.items()), sorted(now.items())]).encode()).hexdigest()[:32]
    return Relabelling(id=key, label_names=now, colours={}, renamed={}, values=values, author="")


def _planned(study: Study, definitions: Sequence[LabelDefinition], author: str) -> Relabelling:
    current = study.label_names
    label_names = names_to_labels([definition.name.strip() for definition in definitions])
    check_label_names(label_names, "the study")
    former = [definition.was for definition in definitions if definition.was is not None]
    unknown = next((name for name in former if current.get(name, 0) == 0), None)
    if unknown is not None or len(set(former)) < len(former):
        raise InputError(f"the classes {former} are not those of the study, {list(current)}; load the page again")
    if len(label_names) != len(definitions) + 1:
        raise InputError("the background is always there; give the other classes other names")
    odd = next((d.colour for d in definitions if d.colour is not None and not _COLOUR.match(d.colour)), None)
    if odd is not None:
        raise InputError(f"a colour needs the form #rrggbb, got {odd!r}")
    renamed = _all_renamed(_renamed(study.root), current, definitions)
    values = dict.fromkeys(current.values(), UNJUDGED) | {0: 0}
    values |= {current[d.was]: label_names[d.name.strip()] for d in definitions if d.was is not None}
    colours = {
        d.name.strip(): colour
        for d in definitions
        if (colour := d.colour or study.label_colours.get(d.was or "")) is not None
    }
    return Relabelling(
        id=uuid.uuid4().hex,
        label_names=label_names,
        colours=colours,
        renamed=renamed,
        values=values,
        author=author,
    )


def _all_renamed(
    earlier: Mapping[str, str], current: Mapping[str, int], definitions: Sequence[LabelDefinition]
) -> dict[str, str]:
    """Every name that a class ever had to its new one; a name never passes from one class to another.

    Models and versions know the classes by their names, so that such a name would mean two things.
    """
    renamed = dict(earlier)
    for definition in definitions:
        name, was = definition.name.strip(), definition.was
        owner = renamed.get(name, name if name in current else None)
        if owner is not None and owner != was:
            raise InputError(f"{name!r} is or was the name of another class ({owner!r}); choose another")
        if was is not None and was != name:
            renamed = {old: name if new == was else new for old, new in renamed.items()} | {was: name}
            renamed.pop(name, None)
    return renamed


def _uses(study: Study, names: Sequence[str]) -> dict[str, list[str]]:
    """The scans on which classes are painted, in labels or drafts; also those taken out, which can come back."""
    values = {study.label_names[name]: name for name in names}
    uses: dict[str, set[str]] = {}
    for case in study.labelled_cases():
        label = case.read_label()
        for value in () if label is None else label.values:
            if value in values:
                uses.setdefault(values[value], set()).add(case.name)
    for draft, _ in _drafts(study.root):
        painted = set(np.unique(draft.labels[draft.judged]).tolist())
        for value in painted & set(values):
            uses.setdefault(values[value], set()).add(draft.case)
    for folder in sorted(study.root.glob(f"{REMOVED}/*/")):
        with suppress(StudyError, InputError):  # what is damaged there cannot come back
            for scan, painted_then in _painted_aside(folder):
                for name in set(names_now(study.root, painted_then)) & set(names):
                    uses.setdefault(name, set()).add(f"{scan} (removed)")
    return {name: sorted(scans) for name, scans in sorted(uses.items())}


def _painted_aside(root: Path) -> Iterator[tuple[str, dict[str, int]]]:
    """A scan that was taken out, and the classes in its current label and in its draft, under the names of then."""
    for folder in sorted((root / "history").glob("[!.]*/")):
        name = versions.latest_name(root, folder.name)
        if name is not None:
            version = versions.load_version(root, folder.name, name)
            painted = version.read().values
            yield folder.name, {name: value for name, value in version.label_names.items() if value in painted}
    with suppress(OSError, ValueError):
        then = json.loads((root / TOLD).read_text(encoding="utf-8")).get("label_names") or {}
        for draft, _ in _drafts(root):
            painted = np.unique(draft.labels[draft.judged]).tolist()
            yield draft.case, {name: value for name, value in then.items() if value in painted}


def _carry_out(study: Study, change: Relabelling) -> None:
    """Every step may have been done before. The catalogue and labelsTr follow when the study's lock is given up."""
    if change.renumbers:
        for case in study.labelled_cases():
            _renumber_label(study.root, case.name, change)
        for folder in sorted((study.root / "drafts").glob("[!.]*/")):
            with FolderLock(folder / ".lock", f"changing the classes of {folder.name}").held():
                _renumber_draft(study.root, folder, change)
    write_text(_renames_path(study.root), json.dumps(change.renamed, indent=1) + "\n")
    _follow_in_plan(study.root / "plan.json", change)
    study.set_label_names(change.label_names, change.colours)


def _renumber_label(root: Path, case: str, change: Relabelling) -> None:
    name = versions.latest_name(root, case)
    if name is None:
        return
    version = versions.load_version(root, case, name)
    if f"classes changed {change.id}" in version.notes:
        return
    label = version.read()
    moved = LabelMap(change.table()[label.array], label.geometry)
    notes = (f"classes changed {change.id}",)
    authorship = Authorship("classes changed", change.author, name, notes)
    versions.add_version(root, case, moved, change.label_names, authorship)


def _renumber_draft(root: Path, folder: Path, change: Relabelling) -> None:
    journal = Journal(folder / DRAFT)
    entries, _ = journal.read()
    if not entries or entries[0].header.get("relabelling") == change.id:
        return
    draft = drafting.replay(folder.name, entries, tuple(entries[0].header["shape"]))
    if draft is None:
        return
    labels = change.table()[draft.labels]
    judged = draft.judged & (labels != UNJUDGED)
    parent = versions.latest_name(root, folder.name) if draft.parent is not None else None
    moved = replace(
        draft,
        labels=np.where(labels == UNJUDGED, np.uint8(0), labels),
        judged=judged,
        parent=parent,
        revision=draft.revision + 1,
        window="",  # what a window painted before is in the numbers of before
        since=draft.revision + 1,
    )
    entry = drafting.whole(moved)
    journal.start([replace(entry, header=entry.header | {"relabelling": change.id})])


def _follow_in_plan(path: Path, change: Relabelling) -> None:
    """A plan that was made for the study keeps everything but the classes."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return
    if isinstance(content, dict) and content.get("label_names") != change.label_names:
        write_text(path, json.dumps(content | {"label_names": change.label_names}, indent=2) + "\n")


def _drafts(root: Path) -> Iterator[tuple[Draft, Path]]:
    for path in sorted((root / "drafts").glob(f"[!.]*/{DRAFT}")):
        entries, _ = Journal(path).read()
        draft = drafting.replay(path.parent.name, entries, tuple(entries[0].header["shape"])) if entries else None
        if draft is not None:
            yield draft, path


def _pending(root: Path) -> Path:
    return root / "history" / "relabelling.json"


def _renames_path(root: Path) -> Path:
    return root / "history" / "renamed.json"


def _renamed(root: Path) -> dict[str, str]:
    try:
        content = json.loads(_renames_path(root).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise StudyError(f"{_renames_path(root)} is damaged; restore it from a copy") from error
    return {str(old): str(new) for old, new in content.items()}
