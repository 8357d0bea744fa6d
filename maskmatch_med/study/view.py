"""labelsTr and dataset.json: what nnU-Net sees, kept in step with the history.

For each label file the view remembers its hash, size and time, so that a file which another program has changed is
noticed and becomes a new version of the history.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from maskmatch_med.errors import InputError
from maskmatch_med.io import LabelMap, nifti, read_labels, write_segmentation
from maskmatch_med.io.atomic import copy_file, write_text
from maskmatch_med.io.labels import UNJUDGED
from maskmatch_med.progress import Progress
from maskmatch_med.study.alignment import on_grid, refuse_unknown_values
from maskmatch_med.study.records import LabelVersion, file_sha256
from maskmatch_med.study.settings import (
    FILE_ENDING,
    IGNORE,
    StudySettings,
    read_dataset_json,
    write_dataset_json,
)
from maskmatch_med.study.versions import Authorship, add_version, is_withdrawn, latest_name, load_version


class ViewEntry(BaseModel):
    """What was last written to labelsTr for one case."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: str
    sha256: str
    size: int
    mtime_ns: int
    ignore: int | None
    """The value written for voxels not judged; None where all are judged."""


@dataclass(frozen=True)
class LabelView:
    """The view of one study.

    Args:
        root: the study.
        settings: names of channels and classes.
        cases: names of all cases.
    """

    root: Path
    settings: StudySettings
    cases: Sequence[str]

    def is_stale(self, *, by_content: bool = False) -> bool:
        """Whether labelsTr or dataset.json differs from what the history asks for.

        Args:
            by_content: read label files whose time is another than remembered, as in a copy of the study; where not,
                names, sizes and times alone tell.
        """
        same = _same_content if by_content else _untouched
        entries = load_entries(self.root)
        for case in self.cases:
            current, entry = latest_name(self.root, case), entries.get(case)
            if current is None and not self._file(case).exists():
                continue
            if entry is None or entry.version != current or not same(self._file(case), entry):
                return True
            if entry.ignore not in {None, self.settings.ignore_value}:
                return True
        content = read_dataset_json(self.root)
        partial = any(entry.ignore is not None for entry in entries.values())
        if content["labels"].get(IGNORE) != (self.settings.ignore_value if partial else None):
            return True
        listed = content.get("dataset")
        return not isinstance(listed, dict) or set(listed) != set(entries) & set(self.cases)

    def refresh(self, progress: Progress | None = None) -> list[str]:
        """Adopt labels changed by other programs, then write what differs from the history. Needs the study's lock.

        What the view remembers is written last, so that a process that dies before leaves a view known to be stale.

        Args:
            progress: called as ``progress(done, total, case)``.

        Returns:
            Names of the cases whose changed label became a new version.
        """
        old = load_entries(self.root)
        declared = read_dataset_json(self.root).get("labels", {}).get(IGNORE)
        adopted, broken, entries = [], [], {}
        partial = False
        for done, case in enumerate(self.cases):
            if progress is not None:
                progress(done, len(self.cases), case)
            entry = old.get(case)
            try:
                adopted += [case] if self._adopt(case, entry, declared) else []
            except InputError:
                broken.append(case)
            name = latest_name(self.root, case)
            if name is None:
                withdrawn = entry is not None and is_withdrawn(self.root, case, entry.version)
                if entry is not None and withdrawn and _untouched(self._file(case), entry):
                    self._file(case).unlink()
                continue
            version = load_version(self.root, case, name)
            partial |= not version.complete
            entries[case] = entry if case in broken and entry else self._write(version, entry)
        write_dataset_json(self.root, self.settings, sorted(entries), ignore=partial)
        if entries != old:
            _save_entries(self.root, entries)
        return adopted

    def edit_problem(self, case: str) -> str | None:
        """Why a label file changed by another program cannot become a version; None where nothing stands against it."""
        declared = read_dataset_json(self.root).get("labels", {}).get(IGNORE)
        try:
            self._edited(case, load_entries(self.root).get(case), declared)
        except InputError as error:
            return str(error)
        return None

    def _file(self, case: str) -> Path:
        return self.root / "labelsTr" / f"{case}{FILE_ENDING}"

    def _adopt(self, case: str, entry: ViewEntry | None, declared: int | None) -> bool:
        labels = self._edited(case, entry, declared)
        if labels is None:
            return False
        name = latest_name(self.root, case)
        if name is not None:
            current = load_version(self.root, case, name).read()
            if np.array_equal(current.array, labels.array):
                return False
        authorship = Authorship(
            source="edited elsewhere" if name else "import", parent=entry.version if entry else None
        )
        add_version(self.root, case, labels, self.settings.label_names, authorship)
        return True

    def _edited(self, case: str, entry: ViewEntry | None, declared: int | None) -> LabelMap | None:
        """The labels in labelsTr where another program has written them, else None.

        Raises:
            InputError: they cannot be used.
        """
        path = self._file(case)
        if not path.is_file() or (entry and (_untouched(path, entry) or file_sha256(path) == entry.sha256)):
            return None
        name = latest_name(self.root, case)
        if name is not None and self._shows(path, load_version(self.root, case, name)):
            return None
        unjudged = entry.ignore if entry and entry.ignore is not None else declared
        image = self.root / "imagesTr" / f"{case}_0000{FILE_ENDING}"
        labels, _ = on_grid(read_labels(path, unjudged=unjudged), nifti.read_geometry(image), path)
        refuse_unknown_values(labels, self.settings.label_names, path)
        return labels

    def _shows(self, path: Path, version: LabelVersion) -> bool:
        """Whether a file shows this version already: it was written by a process that died before it noted so."""
        try:
            shown = read_labels(path, unjudged=self.settings.ignore_value)
        except InputError:
            return False
        return bool(np.array_equal(shown.array, version.read().array))

    def _write(self, version: LabelVersion, entry: ViewEntry | None) -> ViewEntry:
        path = self._file(version.case)
        ignore = None if version.complete else self.settings.ignore_value
        if entry and (entry.version, entry.ignore) == (version.version, ignore) and path.is_file():
            if _untouched(path, entry):
                return entry
            if file_sha256(path) == entry.sha256:
                return _entry(path, version.version, ignore)
        if ignore is None:
            copy_file(version.path, path)
        else:
            labels = version.read()
            shown = np.where(labels.array == UNJUDGED, np.uint8(ignore), labels.array)
            write_segmentation(path, shown, labels.geometry)
        return _entry(path, version.version, ignore)


def load_entries(root: Path) -> dict[str, ViewEntry]:
    """What the view remembers of each label file; empty where it remembers nothing or cannot be read."""
    try:
        content = json.loads((root / "history" / "view.json").read_text(encoding="utf-8"))
        return {str(case): ViewEntry.model_validate(entry) for case, entry in content.items()}
    except (OSError, ValueError, AttributeError, ValidationError):
        return {}


def _save_entries(root: Path, entries: dict[str, ViewEntry]) -> None:
    content = {case: entry.model_dump() for case, entry in entries.items()}
    write_text(root / "history" / "view.json", json.dumps(content, indent=1) + "\n")


def _entry(path: Path, version: str, ignore: int | None) -> ViewEntry:
    state = path.stat()
    return ViewEntry(
        version=version, sha256=file_sha256(path), size=state.st_size, mtime_ns=state.st_mtime_ns, ignore=ignore
    )


def _untouched(path: Path, entry: ViewEntry) -> bool:
    try:
        state = path.stat()
    except OSError:
        return False
    return (state.st_size, state.st_mtime_ns) == (entry.size, entry.mtime_ns)


def _same_content(path: Path, entry: ViewEntry) -> bool:
    return _untouched(path, entry) or (
        path.is_file() and path.stat().st_size == entry.size and file_sha256(path) == entry.sha256
    )
