"""The history of a case's labels. Versions are added, never changed."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from maskmatch_med.errors import InputError, NewerError, StudyError
from maskmatch_med.io import LabelMap, read_labels, write_segmentation
from maskmatch_med.io.labels import UNJUDGED
from maskmatch_med.study.records import LabelVersion, file_sha256, load_record, save_record

_NUMBER = re.compile(r"^(\d{4,})\.(nii\.gz|json)$")
_EVER = re.compile(r"^(\d{4,})\.")
_WITHDRAWN = ".withdrawn"


@dataclass(frozen=True)
class Authorship:
    """Who made a label and from what.

    Args:
        source: ``human``, ``import``, ``model accepted``, ``model corrected`` or ``edited elsewhere``.
        author: a name; may be empty.
        parent: the version it was made from; the current one where not given.
        notes: what was changed on the way in, in sentences.
    """

    source: str = "human"
    author: str = ""
    parent: str | None = None
    notes: tuple[str, ...] = ()


def versions_of(root: Path, case: str) -> list[LabelVersion]:
    """All versions of a case's label, oldest first. A version counts once its JSON is there.

    Raises:
        StudyError: a sidecar is damaged.
    """
    folder = root / "history" / case
    if not folder.is_dir():
        return []
    names = sorted((p.stem for p in folder.glob("*.json") if _NUMBER.match(p.name)), key=int)
    return [load_version(root, case, name) for name in names]


def latest_name(root: Path, case: str) -> str | None:
    """Name of the current version, without reading it; None where the case has no label."""
    numbers = [int(p.stem) for p in (root / "history" / case).glob("*.json") if _NUMBER.match(p.name)]
    return f"{max(numbers):04d}" if numbers else None


def load_version(root: Path, case: str, version: str) -> LabelVersion:
    """Read one version's sidecar.

    Raises:
        StudyError: it is missing or damaged.
    """
    folder = root / "history" / case
    return load_record(folder / f"{version}.json", LabelVersion, path=folder / f"{version}.nii.gz")


def add_version(
    root: Path, case: str, labels: LabelMap, label_names: dict[str, int], authorship: Authorship
) -> LabelVersion:
    """Write a new version: first the voxels, then the sidecar that makes them count.

    A process that dies in between leaves voxels that nothing refers to; their number is not used again.
    """
    folder = root / "history" / case
    folder.mkdir(parents=True, exist_ok=True)
    taken = [int(m[1]) for m in (_EVER.match(p.name) for p in folder.iterdir()) if m]
    name = f"{max(taken, default=0) + 1:04d}"
    path = folder / f"{name}.nii.gz"
    parent = authorship.parent or latest_name(root, case)
    write_segmentation(path, labels.array, labels.geometry)
    return _save(path, labels, label_names, replace(authorship, parent=parent))


def withdraw_version(root: Path, case: str, version: str) -> None:
    """Let a version count no longer, as if it had not been made; its files stay beside the others, and its number used.

    The sidecar goes first: what dies in between leaves voxels that nothing refers to.
    """
    for ending in ("json", "nii.gz"):
        path = root / "history" / case / f"{version}.{ending}"
        path.replace(path.with_name(f"{path.name}{_WITHDRAWN}"))


def is_withdrawn(root: Path, case: str, version: str) -> bool:
    """Whether a version was made and taken back."""
    return (root / "history" / case / f"{version}.json{_WITHDRAWN}").is_file()


def recover_version(root: Path, case: str, version: str, label_names: dict[str, int]) -> bool:
    """Write a damaged sidecar anew from its voxels, with the source ``recovered``; whether that was done.

    Raises:
        NewerError: a newer version of the program has written it; it stays as it is.
    """
    try:
        load_version(root, case, version)
    except NewerError:
        raise
    except StudyError:
        path = root / "history" / case / f"{version}.nii.gz"
        try:
            labels = read_labels(path, unjudged=UNJUDGED)
        except InputError:
            return False
        _save(path, labels, label_names, Authorship("recovered"))
        return True
    return False


def _save(path: Path, labels: LabelMap, label_names: dict[str, int], authorship: Authorship) -> LabelVersion:
    name = path.name.removesuffix(".nii.gz")
    version = LabelVersion(
        case=path.parent.name,
        version=name,
        created=datetime.now(UTC).isoformat(timespec="milliseconds"),
        author=authorship.author,
        source=authorship.source,
        parent=authorship.parent,
        complete=not bool((labels.array == UNJUDGED).any()),
        label_names=label_names,
        sha256=file_sha256(path),
        path=path,
        notes=authorship.notes,
    )
    save_record(path.with_name(f"{name}.json"), version)
    return version
