"""The study folder: an nnU-Net raw data set plus the history of its labels, its models and its predictions."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from maskmatch_med.errors import InputError, StudyError, UnknownScanError
from maskmatch_med.io import LabelMap, nifti
from maskmatch_med.io.labels import UNJUDGED, as_uint8
from maskmatch_med.io.rasters import is_raster
from maskmatch_med.progress import Progress
from maskmatch_med.study import admission, versions
from maskmatch_med.study.admission import SourceInfo
from maskmatch_med.study.alignment import refuse_unknown_values
from maskmatch_med.study.case import Case
from maskmatch_med.study.catalogue import write_catalogue
from maskmatch_med.study.folder import CaseFolder
from maskmatch_med.study.lock import FolderLock
from maskmatch_med.study.records import LabelVersion, SourceRecord, save_record
from maskmatch_med.study.relabelling import finish_relabelling, is_relabelling_unfinished
from maskmatch_med.study.settings import StudySettings, check_label_names, read_settings, write_dataset_json
from maskmatch_med.study.sources import content_sha256, short_format
from maskmatch_med.study.versions import Authorship
from maskmatch_med.study.view import LabelView
from maskmatch_med.volume import Array, Volume


class Study:
    """A study folder. Make one with :meth:`create`, open one with :meth:`open`.

    Every object reads the files afresh, so several may be open on one folder; what writes does so under one lock.
    """

    def __init__(self, root: Path, settings: StudySettings) -> None:
        self.root = root
        self._settings = settings
        self.folder = CaseFolder(root, len(settings.channel_names))
        self._lock = FolderLock(root / ".lock", "writing to the study")

    @classmethod
    def create(
        cls,
        root: Path,
        *,
        channel_names: Sequence[str],
        label_names: Mapping[str, int],
        name: str | None = None,
        label_colours: Mapping[str, str] | None = None,
    ) -> Study:
        """Make an empty study.

        Args:
            root: a folder that does not exist yet or is empty.
            channel_names: one a channel, in order.
            label_names: class name to value: background 0, then 1, 2, … without gaps.
            name: the folder's name where not given.
            label_colours: class name to ``#rrggbb``, for classes that have one.

        Raises:
            StudyError: the folder holds something.
            InputError: the names cannot be used.
        """
        root = Path(root)
        colours = dict(label_colours or {})
        settings = StudySettings(name or root.name, tuple(channel_names), dict(label_names), colours)
        if root.exists() and (not root.is_dir() or any(root.iterdir())):
            raise StudyError(f"{root} exists and is not an empty folder; choose another place for the study")
        for folder in ("imagesTr", "labelsTr", "history", "sources", "models", "predictions"):
            (root / folder).mkdir(parents=True, exist_ok=True)
        write_dataset_json(root, settings, [], ignore=False)
        study = cls(root, settings)
        write_catalogue(root, [])
        return study

    @classmethod
    def open(cls, root: Path | str) -> Study:
        """Open a study. Labels that another program has changed in labelsTr become new versions.

        Raises:
            StudyError: the folder is no study, or another process keeps it locked.
        """
        study = cls.at(Path(root))
        writable = os.access(study.root, os.W_OK)
        if writable and is_relabelling_unfinished(study.root):
            finish_relabelling(study)
        if writable and study.view().is_stale():
            with study.editing():
                pass
        return study

    @classmethod
    def at(cls, root: Path) -> Study:
        """As :meth:`open`, but look only: nothing in the folder changes.

        Raises:
            StudyError: the folder is no study.
        """
        root = Path(root)
        if not root.is_dir():
            raise StudyError(f"there is no study {root}; make one with `maskmatch import SRC {root}`")
        return cls(root, read_settings(root))

    @property
    def settings(self) -> StudySettings:
        """The names of the study, its channels and its classes."""
        return self._settings

    @property
    def name(self) -> str:
        """The study's name."""
        return self._settings.name

    @property
    def channel_names(self) -> tuple[str, ...]:
        """One name a channel, in order."""
        return self._settings.channel_names

    @property
    def label_names(self) -> dict[str, int]:
        """Class name to value, background 0; without nnU-Net's ``ignore``."""
        return dict(self._settings.label_names)

    @property
    def label_colours(self) -> dict[str, str]:
        """Class name to ``#rrggbb``, for the classes whose makers gave them a colour."""
        return dict(self._settings.label_colours)

    @property
    def spatial_dims(self) -> Literal[2, 3]:
        """2 where every scan is a single slice, else 3."""
        cases = self.cases()
        return 2 if cases and all(min(case.shape) == 1 for case in cases) else 3

    @property
    def models_dir(self) -> Path:
        """Where the models lie, a folder each."""
        return self.root / "models"

    @property
    def predictions_dir(self) -> Path:
        """Where the predictions lie, a folder a model."""
        return self.root / "predictions"

    @property
    def cache_dir(self) -> Path:
        """Where what can be computed again may be kept."""
        return self.root / ".cache"

    def model_dir(self, name: str) -> Path:
        """The folder of one model; it need not exist.

        Raises:
            InputError: the name cannot be a folder's.
        """
        admission.check_name(name, "model")
        return self.models_dir / name

    def cases(self) -> list[Case]:
        """All cases with every channel present, in order of their names.

        Raises:
            StudyError: a sidecar is damaged.
        """
        return [self.folder.load(name) for name in self.folder.names()]

    def case(self, name: str) -> Case:
        """One case.

        Raises:
            UnknownScanError: there is none of that name.
        """
        if not all(path.is_file() for path in self.folder.image_paths(name)):
            raise UnknownScanError(f"{self.root} has no case {name!r}; `maskmatch info {self.root}` lists them")
        return self.folder.load(name)

    def labelled_cases(self) -> list[Case]:
        """The cases with a label, complete or partial."""
        return [case for case in self.cases() if case.label is not None]

    def is_of_pictures(self) -> bool:
        """Whether it has scans, and all are 2D pictures, whose pixels have no size."""
        cases = self.cases()
        return bool(cases) and all(case.is_raster for case in cases)

    def source(self, name: str) -> SourceRecord | None:
        """Where a case came from; None where it was put into the folder by another program."""
        return self.folder.source(name)

    def versions(self, name: str) -> list[LabelVersion]:
        """All label versions of a case, oldest first."""
        return versions.versions_of(self.root, name)

    def add_case(
        self,
        name: str,
        image: Path | Sequence[Path] | Volume,
        *,
        source: SourceInfo | None = None,
        group: str | None = None,
        link: bool = False,
        resume: bool = False,
    ) -> Case:
        """Add a scan.

        Args:
            name: its name in the study.
            image: its file, its files (one a channel), or the scan itself.
            source: what to remember of it; told from the files where not given.
            group: the patient group that must stay in one fold.
            link: let image files that can serve as they are be the same files, instead of copies.
            resume: write over what an interrupted import has left of this case.

        Raises:
            InputError: the name, the files or the number of channels do not fit.
            StudyError: the study has a case of that name already.
        """
        files = [image] if isinstance(image, Path) else image
        admission.check_name(name)
        count = admission.channel_count(files)
        if count != len(self.channel_names):
            raise InputError(
                f"the scan {name} has {count} channels, the study {len(self.channel_names)} "
                f"({', '.join(self.channel_names)}); import scans of one kind into one study"
            )
        info = source or _told_from(files, name)
        with self.editing():
            images = any(path.exists() for path in self.folder.image_paths(name))
            if not resume and (images or self.folder.sidecar(name).exists()):
                raise StudyError(f"{self.root} has a case {name!r} already; rename the new scan")
            self._write_case(name, files, info, group=group, link=link)
        return self.folder.load(name)

    def add_label(
        self,
        name: str,
        labels: NDArray[np.uint8] | Array,
        *,
        source: str = "human",
        author: str = "",
        complete: bool | None = None,
        parent: str | None = None,
    ) -> LabelVersion:
        """Add a label version; earlier ones are kept.

        Args:
            name: the case.
            labels: (X, Y, Z) values of ``label_names``, 255 where nobody has judged the voxel.
            source: ``human``, ``import``, ``model accepted`` or ``model corrected``.
            author: who made it.
            complete: True states that all voxels are judged, and 255 is refused; where not given, 255 tells it.
            parent: the version it was made from; the current one where not given.

        Raises:
            InputError: shape or values do not fit, or ``complete`` contradicts the voxels.
            StudyError: somebody has changed the classes since the study was opened, so the values may mean others.
        """
        case, numbered_by = self.case(name), self.label_names
        array = as_uint8(np.asarray(labels), f"the label of {name}")
        label = LabelMap(array, nifti.read_geometry(case.image_paths[0]))
        refuse_unknown_values(label, self.label_names, f"the new label of {name}")
        if complete and UNJUDGED in label.values:
            raise InputError(f"the label of {name} was called complete but holds voxels not judged (255)")
        authorship = Authorship(source, author, parent)
        with self.editing():
            self.refuse_changed_classes(numbered_by)
            return versions.add_version(self.root, name, label, self.label_names, authorship)

    def refuse_changed_classes(self, numbered_by: Mapping[str, int]) -> None:
        """Refuse label values whose classes have changed meanwhile; to be asked while the study is being edited.

        Args:
            numbered_by: the classes, name to value, as they were when the values were made.

        Raises:
            StudyError: the study has other classes now.
        """
        if self.label_names != dict(numbered_by):
            raise StudyError(
                f"the classes of {self.root} were changed meanwhile, from {_listed(numbered_by)} to "
                f"{_listed(self.label_names)}; nothing was written, do it again with the classes of now"
            )

    def set_label_names(self, label_names: Mapping[str, int], colours: Mapping[str, str] | None = None) -> None:
        """Rename or add classes, with their colours where given.

        Raises:
            InputError: the values have gaps, or a label uses a value that would no longer be declared.
        """
        check_label_names(label_names, "the study")
        with self.editing():
            for case in self.labelled_cases():
                label = case.read_label()
                if label is not None:
                    refuse_unknown_values(label, label_names, f"the label of {case.name}")
            kept = self.label_colours | dict(colours or {})
            self._settings = replace(self._settings, label_names=dict(label_names), label_colours=kept)

    def set_group(self, name: str, group: str | None) -> None:
        """Put a case into a patient group, or take it out with None."""
        record = self.folder.source_or_image(name)
        if record.group != group:
            with self.editing():
                save_record(self.folder.sidecar(name), record.model_copy(update={"group": group}))

    def remember_source(self, name: str, **changes: object) -> None:
        """Change fields of a case's :class:`SourceRecord`."""
        record = self.folder.source_or_image(name)
        with self.editing():
            save_record(self.folder.sidecar(name), record.model_copy(update=changes))

    @contextmanager
    def editing(self, progress: Progress | None = None) -> Iterator[None]:
        """Hold the study's lock; at the end labelsTr, dataset.json and the catalogue follow what was written.

        Blocks may be nested; many changes in one block are made visible once.

        Args:
            progress: called as ``progress(done, total, case)`` while they follow.

        Raises:
            StudyError: another living process keeps the study locked.
        """
        with self._lock.held() as outermost:
            if outermost:
                self._settings = read_settings(self.root)  # the classes may have been changed since it was opened
                if self.view().is_stale():
                    self.view().refresh()
            yield
            if outermost:
                self.view().refresh(progress)
                write_catalogue(self.root, self.cases())

    @property
    def lock(self) -> FolderLock:
        """The lock under which the study is written."""
        return self._lock

    def view(self) -> LabelView:
        """What nnU-Net sees of this study."""
        return LabelView(self.root, self._settings, self.folder.names())

    def _write_case(
        self, name: str, image: Sequence[Path] | Volume, info: SourceInfo, *, group: str | None, link: bool
    ) -> None:
        """The sidecar last: a case whose import was cut short has none and is written again."""
        shape, notes = admission.write_images(self.root, name, image, link=link)
        record = SourceRecord(
            source_name=info.name,
            format=info.format,
            is_raster=info.is_raster,
            sha256=info.sha256,
            shape=shape,
            group=group,
            notes=(*info.notes, *notes),
            frames=info.frames,
            added=datetime.now(UTC).isoformat(timespec="milliseconds"),
        )
        save_record(self.folder.sidecar(name), record)


def _told_from(image: Sequence[Path] | Volume, name: str) -> SourceInfo:
    if isinstance(image, Volume):
        return SourceInfo(name)
    hashes = tuple(content_sha256(path) for path in image)
    return SourceInfo(image[0].name, short_format(image[0]), is_raster(image[0]), hashes)


def _listed(label_names: Mapping[str, int]) -> str:
    return ", ".join(f"{value} {name}" for name, value in label_names.items() if value)
