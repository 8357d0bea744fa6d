"""Take a scan out of a study: what was known of it is moved aside, what names it is struck, copies are deleted.

``removed/NAME-TIME/`` gets the scan's files, each at its place in the study, and ``removed.json``, which says who
removed it and when, and keeps the rows that tables had of it. Records that say which scans a training or an export took
keep their count: a stand-in takes the place of the name (:mod:`maskmatch_med.study.struck`).
"""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from glob import escape
from pathlib import Path
from typing import Any

from maskmatch_med.errors import StudyError
from maskmatch_med.io.atomic import PART_SUFFIX, write_bytes, write_text
from maskmatch_med.study.relabelling import follow_draft, follow_label
from maskmatch_med.study.struck import REMOVED, TOLD, mentions, renamed, stand_in
from maskmatch_med.study.study import Study

_PREDICTED = r"(\.nii\.gz|\.png|\.review\.json|_uncertainty\.nii\.gz|_probabilities_\d+\.nii\.gz)"
_TABLES = ("predictions/*/*.csv", "models/*/*.csv")
_RECORDS = ("exports.jsonl", "models/*/labels.json")
_PAGES = ("*.html", "models/*/*.html", "predictions/*/*.html")
_MIXED_COPIES = ("exports", "results")
"""Folders of the cache whose files hold many scans at once."""


@dataclass(frozen=True)
class Removed:
    """Where a scan went.

    Args:
        folder: it holds the scan now.
        stand_in: what stands for its name in records.
    """

    folder: Path
    stand_in: str


@dataclass(frozen=True)
class Aside:
    """A scan that was taken out and can come back.

    Args:
        folder: it holds the scan.
        name: of the scan.
        author: who removed it; may be empty.
        removed: when, UTC in ISO 8601.
        stand_in: what stands for its name in records.
    """

    folder: Path
    name: str
    author: str
    removed: str
    stand_in: str


def remove_scan(study: Study, name: str, author: str = "") -> Removed:
    """Move a scan and all that is known of it to ``removed/NAME-TIME/``, each file at its place in the study.

    :func:`restore_scan` brings it back, and so does moving the folders there into the study, where ``removed.json`` has
    to stay where it is. Nothing may train or predict meanwhile.

    Args:
        study: the study.
        name: of the scan.
        author: who removes it; may be empty.

    Raises:
        StudyError: there is no such scan, or the study is in use.
    """
    case = study.case(name)
    now = datetime.now(UTC)
    moment = f"{now:%Y%m%dT%H%M%S%f}"
    gone = Removed(study.root / REMOVED / f"{name}-{moment}", stand_in(moment))
    with study.editing():
        # The images first: without them it is no scan of the study, whatever a crash leaves behind.
        for path in (*case.image_paths, *_known_of(study, name)):
            target = gone.folder / path.relative_to(study.root)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.move(path, target)
        rows = {path: found for path in _found(study.root, _TABLES) if (found := _rows_of(path, name))}
        told = {"scan": name, "author": author, "removed": now.isoformat(timespec="milliseconds")}
        told |= {"stand_in": gone.stand_in}
        kept = {path.relative_to(study.root).as_posix(): lines for path, lines in rows.items()}
        heads = {path.relative_to(study.root).as_posix(): _text(path).splitlines()[0] for path in rows}
        _tell(gone.folder, {**told, "label_names": study.label_names, "heads": heads, "rows": kept})
        for path, lines in rows.items():
            _without_rows(path, lines)
        _strike_records(study.root, {name: gone.stand_in})
        _delete_copies(study, name)
    return gone


def removed_scans(study: Study) -> list[Aside]:
    """The scans that were taken out and are not back, the last first; what is damaged is left out."""
    found = []
    for path in study.root.glob(f"{REMOVED}/*/{TOLD}"):
        with suppress(OSError, ValueError, KeyError, TypeError):
            told = json.loads(path.read_text(encoding="utf-8"))
            one = Aside(path.parent, *(str(told[word]) for word in ("scan", "author", "removed", "stand_in")))
            if (path.parent / "imagesTr").is_dir():
                found.append(one)
    return sorted(found, key=lambda one: one.removed, reverse=True)


def restore_scan(study: Study, folder: Path) -> Aside:
    """Bring a scan back that :func:`remove_scan` has moved to ``folder``, with all that was known of it.

    Its rows come back into the tables that are still there, and its name into what trainings and exports have noted;
    pages and pictures that were made anew meanwhile stay. Where the classes have changed, its label and draft follow
    (:mod:`maskmatch_med.study.relabelling`). ``folder`` goes, so that it names the scan no longer than
    the study does.

    Returns:
        Which scan it was.

    Raises:
        StudyError: nothing of the kind lies there, the study has a scan of that name by now, or the study is in use.
    """
    aside = next((one for one in removed_scans(study) if one.folder.resolve() == folder.resolve()), None)
    if aside is None:
        raise StudyError(f"{folder} holds no scan that was removed from this study")
    with study.editing():
        if aside.name.casefold() in {name.casefold() for name in study.folder.names()}:
            raise StudyError(f"the study has a scan {aside.name} by now; remove that first")
        told = json.loads((aside.folder / TOLD).read_text(encoding="utf-8"))
        follow_draft(study, aside.folder, aside.name, _classes_then(aside, told))
        _tell(aside.folder, {**told, "label_names": study.label_names})
        # The images last: without them it is no scan of the study, whatever a crash leaves behind.
        files = [path for path in sorted(aside.folder.rglob("*")) if path.is_file() and path.name != TOLD]
        images = [path for path in files if path.relative_to(aside.folder).parts[0] == "imagesTr"]
        _move_back(study, aside, [path for path in files if path not in images])
        follow_label(study, aside.name)
        _move_back(study, aside, images)
        for table, lines in (told.get("rows") or {}).items():
            head = (told.get("heads") or {}).get(table)
            if head is not None and (study.root / table).is_file():
                _with_rows(study.root / table, head, lines)
        _strike_records(study.root, {aside.stand_in: aside.name})
        shutil.rmtree(aside.folder)
    return aside


def _move_back(study: Study, aside: Aside, files: list[Path]) -> None:
    for path in files:
        target = study.root / path.relative_to(aside.folder)
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.move(path, target)


def _tell(folder: Path, told: Mapping[str, Any]) -> None:
    write_text(folder / TOLD, json.dumps(told, indent=1, ensure_ascii=False) + "\n")


def _classes_then(aside: Aside, told: Mapping[str, Any]) -> dict[str, int]:
    """The classes of the study when the scan was removed; of folders that do not say it, those of its last label."""
    history = sorted((aside.folder / "history" / aside.name).glob("*.json"))
    then = told.get("label_names")
    if then is None and history:
        then = json.loads(history[-1].read_text(encoding="utf-8"))["label_names"]
    return dict(then or {})


def _found(root: Path, patterns: tuple[str, ...]) -> list[Path]:
    return sorted({path for pattern in patterns for path in root.glob(pattern) if path.is_file()})


def _known_of(study: Study, name: str) -> Iterator[Path]:
    """Files and folders about a scan, beside its images; pages and pictures that show it among others too."""
    root = study.root
    places = [root / "labelsTr" / f"{name}.nii.gz", study.folder.sidecar(name)]
    places += [root / folder / name for folder in ("history", "drafts")]
    yield from (place for place in places if place.exists())
    others = {other for other in study.folder.names() if other != name}
    predicted = re.compile(re.escape(name) + _PREDICTED)
    for path in _found(root, (f"predictions/*/{escape(name)}*",)):
        if predicted.fullmatch(path.name) and path.name.removesuffix(".nii.gz") not in others:
            yield path
    named = mentions(name)
    yield from (path for path in _found(root, _PAGES) if named(path.read_text(encoding="utf-8", errors="replace")))
    for path in _found(root, ("models/*/microscope/*.json",)):
        if name in _looked_at(path):
            yield from (part for part in (path.with_suffix(".npz"), path) if part.exists())


def _looked_at(snapshot: Path) -> list[str]:
    """The scans that a snapshot of the pseudo-label microscope shows."""
    try:
        content = json.loads(snapshot.read_text(encoding="utf-8"))
        return [str(glimpse["case"]) for glimpse in content["glimpses"]]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def _rows_of(table: Path, name: str) -> list[str]:
    """The lines of a table whose column ``case`` holds the scan; none where it has no such column."""
    lines = _text(table).splitlines()
    head = next(csv.reader(lines[:1]), [])
    if "case" not in head:
        return []
    at = head.index("case")
    cells = (next(csv.reader([line]), []) for line in lines)
    return [line for line, row in zip(lines, cells, strict=True) if at < len(row) and row[at] == name]


def _without_rows(table: Path, rows: list[str]) -> None:
    kept = [line for line in _text(table).splitlines(keepends=True) if line.rstrip("\r\n") not in rows]
    write_bytes(table, "".join(kept).encode("utf-8", "surrogateescape"))


def _with_rows(table: Path, head: str, rows: list[str]) -> None:
    """Put lines back, each cell under its own heading, as the table may have others by now."""
    there = _text(table).splitlines()
    before, now = (next(csv.reader([line]), []) for line in (head, there[0] if there else head))
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    for row in csv.reader(rows):
        cells = dict(zip(before, row, strict=False))
        writer.writerow([cells.get(name, "") for name in now])
    missing = [line for line in stream.getvalue().splitlines() if line not in there]
    write_bytes(table, "".join(f"{line}\n" for line in [*there, *missing]).encode("utf-8", "surrogateescape"))


def _text(path: Path) -> str:
    return path.read_bytes().decode("utf-8", "surrogateescape")


def _strike_records(root: Path, names: Mapping[str, str]) -> None:
    """Let a stand-in take the scan's place in what trainings and exports have noted; what is damaged stays."""
    for path in _found(root, _RECORDS):
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".jsonl":
            write_text(path, "".join(f"{_struck_line(line, names)}\n" for line in text.splitlines()))
        else:
            with suppress(ValueError, AttributeError, TypeError):
                write_text(path, json.dumps([renamed(one, names) for one in json.loads(text)], indent=1) + "\n")


def _struck_line(line: str, names: Mapping[str, str]) -> str:
    with suppress(ValueError, AttributeError, TypeError):
        return json.dumps(renamed(json.loads(line), names), ensure_ascii=False, separators=(",", ":"))
    return line


def _delete_copies(study: Study, name: str) -> None:
    """Delete what was computed from the scan, and what a process that died has left of it."""
    about = re.compile(re.escape(name) + r"(?:[._].*)?")
    for path in sorted(study.cache_dir.rglob(f"{escape(name)}*")):
        if about.fullmatch(path.name):
            _delete(path)
    for folder in _MIXED_COPIES:
        _delete(study.cache_dir / folder)
    for scratch in study.models_dir.glob("*/.calibrate-*"):
        if (scratch / f"{name}.nii.gz").exists():
            _delete(scratch)
    for place in ("imagesTr", "labelsTr", "sources", "predictions/*", ".cache/**"):
        for part in study.root.glob(f"{place}/.{escape(name)}*{PART_SUFFIX}"):
            _delete(part)


def _delete(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
