"""Import scans and labels into a study: everything is checked first, then written."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from maskmatch_med.errors import InputError, MaskMatchError, StudyError, listed
from maskmatch_med.io import nifti, read_volume
from maskmatch_med.io.archives import holds_scans, unpacked
from maskmatch_med.io.rasters import is_raster
from maskmatch_med.io.refusals import Refused
from maskmatch_med.progress import Progress, silent
from maskmatch_med.study import versions
from maskmatch_med.study.admission import SourceInfo, check_name
from maskmatch_med.study.label_source import label_reader, value_names
from maskmatch_med.study.labelling import LabelReader
from maskmatch_med.study.layouts import detect
from maskmatch_med.study.notices import Changes, empty_classes, few_labels
from maskmatch_med.study.options import ImportOptions, ImportSummary, Selection, group_of, select
from maskmatch_med.study.pairing import FoundCase
from maskmatch_med.study.records import MaskColours, SourceRecord
from maskmatch_med.study.sources import (
    SourceReader,
    case_sha256,
    content_sha256,
    label_name,
    source_format,
    source_name,
)
from maskmatch_med.study.study import Study
from maskmatch_med.study.versions import Authorship
from maskmatch_med.volume import Volume


@dataclass(frozen=True)
class _Checked:
    """A scan that may be written: what of it is new."""

    case: FoundCase
    sha256: tuple[str, ...]
    write_image: bool
    write_label: bool
    label_sha256: str | None


def import_scans(
    source: Path, root: Path, options: ImportOptions | None = None, progress: Progress | None = None
) -> ImportSummary:
    """Bring scans and labels into a study, which is made where there is none. The source is never changed.

    A case of the same name and bytes is left as it is, so an import may be repeated, also with more labels.

    Args:
        source: an nnU-Net raw data set, an MSD data set, a folder of scans or pictures with or without masks, a file,
            or a zip archive of one of these.
        root: the study.
        options: see :class:`ImportOptions`.
        progress: called as ``progress(done, total, text)``.

    A DICOM series that cannot be decoded is refused by its name and the others come in, as with all other series that
    are refused; any other scan or label that cannot be used stops the import, unless they are to be skipped.

    Raises:
        InputError: scans or labels cannot be used, or none can; nothing was written. It names all of them, but of masks
            that are pictures the first whose colours cannot be read.
        StudyError: the study has a case of the same name with other bytes, or somebody has changed its classes while
            the labels were read; nothing was written.
    """
    source, root, options = Path(source), Path(root), options or ImportOptions()
    if root.exists() and source.exists() and source.resolve() == root.resolve():
        raise InputError(f"the source and the study are the same folder {root}; give the study a place of its own")
    if not holds_scans(source):
        return _import(source, root, options, progress)
    with unpacked([source], root.parent, progress or silent) as places:
        folder = places[source]
        try:
            summary = _import(folder, root, replace(options, link=False), progress)
        except MaskMatchError as error:
            error.args = (str(error).replace(str(folder), str(source)),)
            raise
        told = [note.replace(str(folder), str(source)) for note in summary.notes]
        refused = [(name, reason.replace(str(folder), str(source))) for name, reason in summary.refused]
        return replace(summary, notes=tuple(told), refused=tuple(refused))


def _import(source: Path, root: Path, options: ImportOptions, progress: Progress | None) -> ImportSummary:
    unfit: Refused = []
    found = detect(source, options.labels_dir, options.channels, unfit if options.skip_broken else None)
    selection = select(found, options)
    study = Study.open(root) if root.is_dir() and any(root.iterdir()) else None
    classes = study.label_names if study else None
    groups = {case.name: group_of(case.name, options.group) for case in selection.found.cases}
    steps = _Steps(progress, 3 * len(selection.found.cases))
    steps.part(0, 0.0, "looking at the labels")
    job = _Job(study, selection, options, label_reader(study, selection, options))
    checked = job.check_all(steps)
    if study is None:
        labels = job.labels
        study = Study.create(
            root,
            channel_names=job.channel_names,
            label_names=labels.label_names,
            name=selection.found.name or None,
            label_colours=labels.colours,
        )
    changes = Changes()
    with study.editing(lambda done, total, name: steps.part(2, done / total, f"showing {name} to nnU-Net")):
        study.refuse_changed_classes(classes or study.label_names)
        if job.labels.label_names != study.label_names:
            study.set_label_names(job.labels.label_names, job.labels.colours)
        for item in checked:
            steps.next(f"importing {item.case.name}")
            changes.add(_write(study, item, job, groups[item.case.name]))
    steps.part(3, 0.0, "")
    groups = {item.case.name: groups[item.case.name] for item in checked} if options.group else {}
    summary = _summary(study, selection, checked, groups, changes)
    notes = (*summary.notes, *empty_classes(job.labels))
    return replace(summary, notes=notes, refused=(*unfit, *job.refused))


class _SeriesError(InputError):
    """A DICOM series that cannot be decoded."""


class _KindError(InputError):
    """A scan of another kind than the ones before: nothing is broken, and one of both is not meant to be here."""


class _Steps:
    def __init__(self, progress: Progress | None, total: int) -> None:
        self._progress, self._total, self._done = progress, total, 0

    def next(self, text: str) -> None:
        if self._progress is not None:
            self._progress(self._done, self._total, text)
        self._done += 1

    def part(self, part: int, share: float, text: str) -> None:
        """Tell how far one of the three parts is, which are checking, writing and showing."""
        if self._progress is not None:
            self._progress(round(self._total / 3 * (part + share)), self._total, text)


class _Job:
    """What the checks of all scans share: the channels that the first scan sets, and the reader of labels."""

    def __init__(self, study: Study | None, selection: Selection, options: ImportOptions, labels: LabelReader) -> None:
        self.study, self.selection, self.options, self.labels = study, selection, options, labels
        given = options.channel_names
        self.channel_names = study.channel_names if study else given or selection.found.channel_names or ()
        self.scans = SourceReader(options.frames, options.magnitude, len(self.channel_names) or None)
        self.begun = frozenset(study.folder.incomplete_names() if study else ())
        wanted = given or (selection.found.channel_names if selection.found.layout == "folder" else None)
        if study and wanted and wanted != study.channel_names:
            raise InputError(
                f"the study's channels are {', '.join(study.channel_names)}, not {', '.join(wanted)}; "
                "import scans of another kind into a study of their own"
            )
        self._taken = {name.casefold(): name for name in (case.name for case in study.cases())} if study else {}
        self.refused: list[tuple[str, str]] = []

    def check_all(self, steps: _Steps) -> list[_Checked]:
        """Check every scan; series that cannot be decoded, and what is to be skipped, are noted in ``refused``."""
        checked, cases = [], self.selection.found.cases
        broken: list[tuple[str, str]] = []
        for case in cases:
            channel_names = self.channel_names
            try:
                checked.append(self.check(case, steps))
            except _KindError:
                raise
            except InputError as error:
                self.channel_names = channel_names
                may_stay_out = self.options.skip_broken or isinstance(error, _SeriesError)
                (self.refused if may_stay_out else broken).append((case.name, str(error)))
        if broken and checked:
            raise InputError(_told(broken, len(cases)) + "; --skip-broken imports the others")
        if not checked and (given := broken + self.refused):
            raise InputError(_told(given, len(cases)))
        return checked

    def check(self, case: FoundCase, steps: _Steps) -> _Checked:
        """Read a scan and its label in full where they are new; nothing is written."""
        steps.next(f"checking {case.name}")
        check_name(case.name)
        twin = self._taken.setdefault(case.name.casefold(), case.name)
        if twin != case.name:
            raise StudyError(f"{case.files[0]} would be the case {case.name} beside {twin}; rename one of them")
        hashes = case_sha256(case)
        record = self._record(case.name)
        write_image = self._is_new(case, hashes, record)
        geometry = self._check_image(case).geometry if write_image else None
        wanted = case.label is not None and case.name in self.selection.with_label
        if not wanted or case.label is None:
            return _Checked(case, hashes, write_image, False, None)
        label_hash = content_sha256(case.label)
        write_label = self._label_is_new(case, label_hash, record)
        if write_label:
            self.labels.read(case.label, geometry or self.scans.read(case).geometry)
        return _Checked(case, hashes, write_image, write_label, label_hash)

    def _record(self, name: str) -> SourceRecord | None:
        return self.study.source(name) if self.study else None

    def _is_new(self, case: FoundCase, hashes: tuple[str, ...], record: SourceRecord | None) -> bool:
        if self.study is None:
            return True
        if record is not None and record.sha256 != hashes:
            raise self._clash(case)
        if record is None:
            self._refuse_other_images(case)
            return True
        self._refuse_other_frames(case, record)
        return case.name in self.begun

    def _refuse_other_frames(self, case: FoundCase, record: SourceRecord) -> None:
        wanted = self.scans.frames_of(case, every=True)
        held = record.frames or tuple(range(len(self.channel_names)))
        if wanted is not None and wanted != held:
            shown = [", ".join(str(frame) for frame in frames) for frames in (held, wanted)]
            raise StudyError(
                f"the study holds the frames {shown[0]} of {case.files[0]}, not {shown[1]}; import others into another "
                "study"
            )

    def _refuse_other_images(self, case: FoundCase) -> None:
        """Images without a sidecar are what an interrupted import left, or another program's: those must be equal."""
        if self.study is None:
            return
        images = self.study.root / "imagesTr"
        paths = [images / f"{case.name}_{channel:04d}.nii.gz" for channel in range(len(self.channel_names))]
        there = [(channel, path) for channel, path in enumerate(paths) if path.exists()]
        if there:
            scan = self._read(case).array
            for channel, path in there:
                old = read_volume(path).array[0]
                if channel >= len(scan) or not np.array_equal(old, scan[channel], equal_nan=True):
                    raise self._clash(case)

    def _clash(self, case: FoundCase) -> StudyError:
        return StudyError(
            f"the study has a case {case.name} with other content than {case.files[0]}; "
            "rename the scan or import it into another study"
        )

    def _read(self, case: FoundCase) -> Volume:
        try:
            return self.scans.read(case)
        except InputError as error:
            if case.series is None:
                raise
            raise _SeriesError(str(error)) from error

    def _check_image(self, case: FoundCase) -> Volume:
        scan = self._read(case)
        if not self.channel_names:
            self.channel_names = default_channel_names(scan.channels, case.is_raster)
        if scan.channels != len(self.channel_names):
            raise _KindError(
                f"{case.files[0]} has {scan.channels} channels, expected {len(self.channel_names)} "
                f"({', '.join(self.channel_names)}); import scans of one kind into one study"
            )
        return scan

    def _label_is_new(self, case: FoundCase, label_hash: str, record: SourceRecord | None) -> bool:
        if record is not None and record.label_sha256 is not None:
            if record.label_sha256 != label_hash:
                raise StudyError(
                    f"the label {case.label} differs from the one imported before for {case.name}; "
                    "add it as a new version in the program, or import into another study"
                )
            return False
        return not (self.study and self.study.versions(case.name))


def _told(broken: list[tuple[str, str]], cases: int) -> str:
    """Which scans cannot be used, each with its reason."""
    reasons = [reason for _, reason in broken]
    return reasons[0] if len(reasons) == 1 else f"{len(reasons)} of {cases} scans cannot be used:\n{listed(reasons)}"


def default_channel_names(count: int, is_raster: bool) -> tuple[str, ...]:
    """Names for channels that nothing names: nnU-Net's R, G, B for coloured pictures, else numbered."""
    if count == 1:
        return ("grey" if is_raster else "image",)
    if is_raster and count == 3:
        return ("R", "G", "B")
    return tuple(f"channel_{channel}" for channel in range(count))


def _write(study: Study, item: _Checked, job: _Job, group: str | None) -> list[tuple[str, str]]:
    """Write what is new of a scan; gives what was changed on the way, as (name, sentence)."""
    case = item.case
    said: list[str] = []
    if item.write_image:
        notes = job.scans.notes(case)
        files = job.scans.as_stored(case)
        # Channels on other grids are noted where the files themselves are placed.
        info = SourceInfo(
            name=source_name(case),
            format=source_format(case),
            is_raster=case.is_raster,
            sha256=item.sha256,
            notes=() if files is not None else notes,
            frames=job.scans.frames_of(case),
        )
        image = job.scans.read(case) if files is None else files
        study.add_case(case.name, image, source=info, group=group, link=job.options.link, resume=True)
        said += notes
    elif job.options.group is not None:
        study.set_group(case.name, group)
    if case.label is not None and item.label_sha256 is not None:
        said += _write_label(study, item, case.label, job)
    return [(case.name, note) for note in said]


def _write_label(study: Study, item: _Checked, path: Path, job: _Job) -> tuple[str, ...]:
    name = item.case.name
    notes: tuple[str, ...] = ()
    shown = label_name(path)
    if item.write_label:
        label, said = job.labels.read(path, nifti.read_geometry(study.folder.image_paths(name)[0]))
        notes = tuple(note.replace(path.name, shown) for note in said)
        authorship = Authorship("import", notes=notes)
        versions.add_version(study.root, name, label, study.label_names, authorship)
    record = study.source(name)
    if record is not None and record.label_sha256 is None:
        code = job.labels.code if is_raster(path) else None
        colours = MaskColours(kind=code.kind, levels=code.levels, colours=code.colours) if code else None
        study.remember_source(
            name,
            label_name=shown,
            label_sha256=item.label_sha256,
            mask_colours=colours,
            label_values=value_names(job.labels, path),
            notes=(*record.notes, *notes),
        )
    return notes


def _summary(
    study: Study, selection: Selection, checked: list[_Checked], groups: dict[str, str | None], changes: Changes
) -> ImportSummary:
    notes = [*selection.found.notes, *changes.sentences(), *few_labels(study)]
    alone = [name for name, group in groups.items() if group is None]
    if alone:
        notes.append(f"--group does not match {len(alone)} names, such as {alone[0]}; each stands alone")
    kept = [c.case.name for c in checked if c.label_sha256 and not c.write_label and not c.write_image]
    own = [name for name in kept if not any(v.source == "import" for v in study.versions(name))]
    if own:
        notes.append(f"{len(own)} cases had a label of their own, such as {own[0]}, which was kept")
    return ImportSummary(
        study=study.root,
        layout=selection.found.layout,
        added=tuple(c.case.name for c in checked if c.write_image),
        unchanged=tuple(c.case.name for c in checked if not c.write_image),
        labelled=tuple(c.case.name for c in checked if c.write_label),
        left_out=selection.left_out,
        notes=tuple(notes),
    )
