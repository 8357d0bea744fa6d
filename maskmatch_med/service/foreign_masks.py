"""Take in masks of another program as predictions, to be reviewed like those of a model."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from maskmatch_med.errors import InputError, StudyError, not_written
from maskmatch_med.io import nifti, write_segmentation
from maskmatch_med.io.cases import files_in, without_label_ending
from maskmatch_med.io.formats import is_readable, strip_extension, unreadable
from maskmatch_med.io.labels import UNJUDGED
from maskmatch_med.io.rasters import is_raster
from maskmatch_med.io.segmentations import read_segmentation, segments_of
from maskmatch_med.service.intake import Refusal
from maskmatch_med.study import Case, Study
from maskmatch_med.study.admission import check_name
from maskmatch_med.study.label_source import mask_code
from maskmatch_med.study.labelling import LabelReader
from maskmatch_med.study.verdicts import PREDICTION_ENDING
from maskmatch_med.volume import Geometry


@dataclass
class MaskIntake:
    """What came of a folder of masks.

    Args:
        taken: the scans that now have a mask of it.
        refused: files that stay out.
        notes: what should be known, in sentences.
    """

    taken: list[str] = field(default_factory=list)
    refused: list[Refusal] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def take_in_masks(folder: Path | str, study: Study | Path | str, name: str) -> MaskIntake:
    """Put masks of another program into ``predictions/NAME/``, each on its scan's grid. The source is never changed.

    A mask belongs to the scan whose name, or whose source file's name, it has, also with ``_mask`` or alike behind;
    else to the one scan on whose grid it lies. Its values are those of the study's classes, or its file names
    its classes.

    Args:
        folder: masks in any format that import reads, directly in it; or one file.
        study: the study.
        name: what to call where they come from, such as the other program.

    Raises:
        InputError: there is no such folder, no file in it, or the name is that of a model of the study.
        StudyError: the study cannot be written.
    """
    opened = study if isinstance(study, Study) else Study.at(Path(study))
    source = Path(folder)
    _check(opened, source, name)
    result = MaskIntake(refused=_unreadable(source))
    files = files_in(source) if source.is_dir() else [source] if is_readable(source) else []
    pictures, scans = [path for path in files if is_raster(path)], _Scans(opened)
    for path in files:
        try:
            case, how = scans.of(path)
            if case.name in result.taken:
                raise InputError(f"another file is a mask of {case.name} already; keep one of them")
            notes = _write(opened, case, path, name, _reader(opened, path, pictures))
        except InputError as error:
            result.refused.append(Refusal(path.name, str(error).replace(str(path), path.name)))
            continue
        result.taken.append(case.name)
        result.notes += [note for note in (how, *notes) if note]
    done = [case for case in result.taken if (label := opened.case(case).label) is not None and label.complete]
    if done:
        result.notes.append(f"{len(done)} of these scans have a complete label, which stays: {', '.join(done[:5])}")
    return result


def _check(study: Study, source: Path, name: str) -> None:
    check_name(name, "model")
    if not source.exists():
        raise InputError(f"there is no folder {source}; give one that this computer can read")
    if source.is_dir() and not any(path.is_file() and not path.name.startswith(".") for path in source.iterdir()):
        raise InputError(f"there is no file in {source}; give the folder in which the masks lie")
    if (study.models_dir / name).exists():
        raise InputError(f"{name} is a model of this study; give the masks another name")
    if not os.access(study.root, os.W_OK):
        raise StudyError(f"{study.root} may only be read, so no masks can be added to it; check its rights")


def _unreadable(source: Path) -> list[Refusal]:
    files = sorted(source.iterdir()) if source.is_dir() else [source]
    wrong = [p for p in files if p.is_file() and not p.name.startswith(".") and not is_readable(p)]
    return [Refusal(path.name, str(unreadable(path)).replace(str(path), path.name)) for path in wrong]


def _reader(study: Study, path: Path, pictures: Sequence[Path]) -> LabelReader:
    """How a mask is read: each by the classes that it names itself, pictures all by one code."""
    code = mask_code(study, list(pictures)) if is_raster(path) else None
    return LabelReader(study.label_names, code=code, described=segments_of([path])).named(study.label_names)


def _write(study: Study, case: Case, path: Path, name: str, reader: LabelReader) -> tuple[str, ...]:
    """Lay a mask on its scan's grid and put it into its place."""
    labels, notes = reader.read(path, nifti.read_geometry(case.image_paths[0]))
    if UNJUDGED in labels.values:
        raise InputError(f"{path.name} holds voxels that nobody has judged (255); a prediction has a class everywhere")
    target = study.predictions_dir / name / f"{case.name}{PREDICTION_ENDING}"
    try:
        write_segmentation(target, labels.array, labels.geometry)
    except OSError as error:
        raise not_written(study.root, error) from error
    return notes


class _Scans:
    """Finds the scan that a mask belongs to."""

    def __init__(self, study: Study) -> None:
        self._cases = study.cases()
        self._by_name: dict[str, Case] = {}
        for case in self._cases:
            self._by_name.setdefault(strip_extension(Path(case.source_name)), case)
        self._by_name |= {case.name: case for case in self._cases}

    def of(self, path: Path) -> tuple[Case, str]:
        """The scan of a mask, and a sentence where its grid told it.

        Raises:
            InputError: none has its name, and not exactly one lies on its grid.
        """
        stem = strip_extension(path)
        found = self._by_name.get(stem) or self._by_name.get(without_label_ending(stem))
        if found is not None:
            return found, ""
        alike = [] if is_raster(path) else self._on_grid(read_segmentation(path, unjudged=UNJUDGED).labels.geometry)
        if len(alike) == 1:
            return alike[0], f"{path.name} was taken for a mask of {alike[0].name}, on whose grid alone it lies"
        told = f"{len(alike)} scans have its grid" if alike else "none has its grid"
        raise InputError(f"no scan is called {without_label_ending(stem)}, and {told}; name the mask as its scan")

    def _on_grid(self, geometry: Geometry) -> list[Case]:
        alike = [case for case in self._cases if case.shape == geometry.shape]
        return [case for case in alike if nifti.read_geometry(case.image_paths[0]).same_grid(geometry)]
