"""Take in what somebody dropped: good scans come in, each other file is refused by its name with the reason.

What came in can be taken out again, and put back.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from glob import escape
from pathlib import Path

from maskmatch_med.errors import InputError, MaskMatchError, StudyError
from maskmatch_med.io.archives import holds_scans
from maskmatch_med.io.atomic import copy_file
from maskmatch_med.io.formats import is_readable, unreadable
from maskmatch_med.io.refusals import Refused
from maskmatch_med.jobs import JobQueue
from maskmatch_med.progress import Progress, silent
from maskmatch_med.service.archived import sources_in
from maskmatch_med.study import ImportOptions, Study, import_scans
from maskmatch_med.study.layouts import detect
from maskmatch_med.study.pairing import FoundCase
from maskmatch_med.study.removal import Aside
from maskmatch_med.study.removal import remove_scan as take_out
from maskmatch_med.study.removal import removed_scans as taken_out
from maskmatch_med.study.removal import restore_scan as put_back
from maskmatch_med.study.sources import case_sha256

READING = "Files with several volumes"
"""What the page Scans calls the choice of frames and magnitudes."""
_ON_THE_PAGE = ("--frames", "--magnitude")
_NOT_SCANS = {"dataset.json", "splits.json"}
_VOXELS_OF_A_HEADER = (".raw", ".zraw", ".raw.gz")


@dataclass(frozen=True)
class Refusal:
    """A file that did not come in.

    Args:
        name: of the file.
        reason: a sentence.
    """

    name: str
    reason: str


@dataclass
class Intake:
    """What came of a drop.

    Args:
        added: cases that are new.
        unchanged: cases that were there already with the same content.
        labelled: cases that got a label.
        refused: files that stay out.
        notes: what should be known, in sentences.
    """

    added: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    labelled: list[str] = field(default_factory=list)
    refused: list[Refusal] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def take_in(source: Path, root: Path, options: ImportOptions | None = None, progress: Progress | None = None) -> Intake:
    """Bring the scans of a folder into a study, which is made where there is none. The source is never changed.

    Where all are sound and new it is one import; otherwise scan by scan, so that a wrong file keeps no other out. Of
    zip archives :func:`~maskmatch_med.service.archived.sources_in` tells what belongs together.

    Args:
        source: a folder of files, or one file.
        root: the study.
        options: see :class:`ImportOptions`.
        progress: called as ``progress(done, total, text)``.

    Raises:
        StudyError: the study cannot be written.
    """
    options = options or ImportOptions()
    archives = [path for path in (sorted(source.glob("[!.]*")) if source.is_dir() else [source]) if holds_scans(path)]
    if not archives:
        return _take_in(source, root, options, progress)
    broken: Refused = []
    result = Intake()
    with sources_in(source, archives, root, progress or silent, broken) as sources:
        for name, part in sources:
            inside = _take_in(part, root, options, progress)
            inside.refused = [replace(one, name=name) if one.name == part.name else one for one in inside.refused]
            _add(inside, result)
    _refuse(broken, result, source)
    return result


def _add(part: Intake, whole: Intake) -> None:
    for listed in ("added", "unchanged", "labelled", "refused", "notes"):
        getattr(whole, listed).extend(one for one in getattr(part, listed) if one not in getattr(whole, listed))


def _take_in(source: Path, root: Path, options: ImportOptions, progress: Progress | None) -> Intake:
    result = Intake(refused=_unreadable_files(source))
    unfit: Refused = []
    try:
        found = detect(source, options.labels_dir, options.channels, unfit)
    except MaskMatchError as error:
        _refuse(unfit, result, source)
        if not result.refused or _holds_more(source):
            _refuse([(source.name, str(error))], result, source)
        return result
    _refuse(unfit, result, source)
    within = [case for case in found.cases if found.layout == "folder" or _lies_in(source, case)]
    elsewhere = "dataset.json lists files of it that lie elsewhere; add the folder that they lie in"
    _refuse([(case.name, elsewhere) for case in found.cases if case not in within], result, source)
    fresh = _without_copies(within, root, result)
    if len(fresh) == len(found.cases) and not unfit:
        try:
            _import(source, root, options, result, progress)
            return result
        except MaskMatchError:
            pass  # one of them is wrong; found below, where each comes in by itself
    result.notes += [_told(note, source) for note in found.notes]
    for done, case in enumerate(fresh):
        if progress is not None:
            progress(done, len(fresh), case.name)
        try:
            _import_one(case, source, root, options, result)
        except MaskMatchError as error:
            refused = [(_shown(case, source), str(error))]
            if case.label is not None and case.series is None:
                refused = _without_label(case, source, root, options, result, str(error))
            _refuse(refused, result, source)
    return result


def remove_scan(root: Path, name: str, author: str = "") -> Path:
    """Take a scan out of a study; all that was known of it is kept in the folder that this gives, and nowhere else.

    Raises:
        StudyError: there is no such scan, or a training or prediction runs that may read it.
    """
    queue = JobQueue(root)
    if any(job.status == "running" for job in queue.jobs()):
        raise StudyError(f"{name} may be in use by the work that runs; stop that on the page Train, or let it end")
    gone = take_out(Study.open(root), name, author)
    queue.strike(name, gone.stand_in)
    return gone.folder


def removed_scans(root: Path) -> list[Aside]:
    """The scans that were taken out of a study and can come back, the last first."""
    return taken_out(Study.at(root))


def restore_scan(root: Path, folder: Path) -> str:
    """Bring a scan of :func:`removed_scans` back, with all that was known of it; gives its name.

    Raises:
        StudyError: it is not there any more, or the study has a scan of that name by now.
    """
    back = put_back(Study.open(root), folder)
    JobQueue(root).strike(back.stand_in, back.name)
    return back.name


def _unreadable_files(source: Path) -> list[Refusal]:
    """What lies directly in the folder and is of no format that can be read; hidden files are passed over."""
    files = sorted(source.iterdir()) if source.is_dir() else [source] if source.is_file() else []
    names = {path.name.lower() for path in files}
    headers = any(name.endswith((".mhd", ".nhdr")) for name in names)
    found = []
    for path in files:
        voxels = headers and path.name.lower().endswith(_VOXELS_OF_A_HEADER)
        other = path.is_dir() or path.name.startswith(".") or path.name in _NOT_SCANS
        if other or voxels or is_readable(path):
            continue
        told = f"{path.name} is an archive within another; unpack it and add it by itself"
        found.append(Refusal(path.name, told if holds_scans(path) else _without_folder(str(unreadable(path)), source)))
    return found


def _lies_in(source: Path, case: FoundCase) -> bool:
    """Whether a scan's files lie where its source does: what is dropped must not name other files of this computer.

    Links, which a drop cannot bring, are not followed: a folder of the user's own may consist of them.
    """
    folder = os.path.normpath((source if source.is_dir() else source.parent).absolute())
    files = [*case.files, *([case.label] if case.label else [])]
    return all(Path(os.path.normpath(path.absolute())).is_relative_to(folder) for path in files)


def _without_copies(cases: Iterable[FoundCase], root: Path, result: Intake) -> list[FoundCase]:
    """The cases whose content neither the study nor another of them has under another name."""
    known: dict[tuple[str, ...], str] = {}
    if (root / "dataset.json").is_file():
        study = Study.at(root)
        records = {name: study.source(name) for name in study.folder.names()}
        known = {record.sha256: name for name, record in records.items() if record is not None and record.sha256}
    fresh = []
    for case in cases:
        try:
            twin = known.setdefault(case_sha256(case), case.name)
        except MaskMatchError:
            twin = case.name  # its import tells what is wrong with it
        if twin == case.name:
            fresh.append(case)
        else:
            result.refused.append(Refusal(case.files[0].name, f"it is the same scan as {twin}, which is kept"))
    return fresh


def _import(source: Path, root: Path, options: ImportOptions, result: Intake, progress: Progress | None = None) -> None:
    summary = import_scans(source, root, options, progress)
    result.added += summary.added
    result.unchanged += summary.unchanged
    result.labelled += summary.labelled
    _refuse([*summary.refused], result, source)
    result.notes += [told for note in summary.notes if (told := _told(note, source)) not in result.notes]


def _import_one(case: FoundCase, source: Path, root: Path, options: ImportOptions, result: Intake) -> None:
    """Import one scan from a folder in which nothing else lies, or by its name where that is not its file's."""
    if not (case.series.name if case.series else case.files[0].name).startswith(case.name):
        _import(source, root, replace(options, only=frozenset({case.name}), skip_broken=True), result)
        return
    if case.series is not None or case.files[0].is_dir():
        _import(case.files[0], root, replace(options, only=frozenset({case.name})), result)
        return
    # Beside the study, so that a link can stand for a copy.
    with tempfile.TemporaryDirectory(dir=root.parent, prefix=".intake-") as parent:
        folder = Path(parent) / root.name  # a new study takes its name from there
        folder.mkdir()
        for path in (*case.files, *_companions(case.files)):
            _link(path, folder / path.name)
        try:
            _import(folder, root, replace(options, labels_dir=case.label, splits=None, labelled=None), result)
        except MaskMatchError as error:
            raise InputError(_without_folder(str(error), folder)) from error


def _without_label(
    case: FoundCase, source: Path, root: Path, options: ImportOptions, result: Intake, reason: str
) -> list[tuple[str, str]]:
    """Import the scan alone, as its label may be what is wrong; gives what stays out, with the reason."""
    try:
        _import_one(replace(case, label=None), source, root, options, result)
    except MaskMatchError:
        return [(case.files[0].name, reason)]
    return [] if case.label is None else [(case.label.name, f"its scan {case.name} came in without it, as {reason}")]


def _companions(files: Iterable[Path]) -> list[Path]:
    """The files of voxels that headers of the same stem belong to."""
    return [
        other
        for path in files
        for other in path.parent.glob(f"{escape(path.name.split('.')[0])}.*")
        if other not in files and other.name.lower().endswith((*_VOXELS_OF_A_HEADER, ".img", ".brik", ".mat"))
    ]


def _link(source: Path, target: Path) -> None:
    try:
        target.hardlink_to(source)
    except OSError:
        copy_file(source, target)


def _shown(case: FoundCase, source: Path) -> str:
    return case.name if case.series is not None or case.files[0] == source else case.files[0].name


def _refuse(refused: Refused, result: Intake, source: Path) -> None:
    told = [Refusal(name, _told(reason, source)) for name, reason in refused]
    result.refused += [one for one in told if one not in result.refused]


def _holds_more(source: Path) -> bool:
    """Whether a folder holds other things than files that cannot be read."""
    return source.is_dir() and any(path.is_dir() or is_readable(path) for path in source.glob("[!.]*"))


def _told(text: str, source: Path) -> str:
    """A message for whoever has dropped the files: an option that it names is one of the command line."""
    told = _without_folder(text, source)
    if any(option in told for option in _ON_THE_PAGE):
        return f"{told} (on the page Scans: {READING})"
    return f"{told} (an option of `maskmatch import` on the command line)" if " --" in told else told


def _without_folder(text: str, source: Path) -> str:
    """The message with names of files alone: where an upload lay for a moment says nothing to anybody."""
    folder = source if source.is_dir() else source.parent
    return text.replace(f"{folder}/", "").replace(f"{folder}\\", "").replace(str(folder), "the upload")
