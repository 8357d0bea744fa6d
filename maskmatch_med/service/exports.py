"""Export: segmentations, tables and models for use elsewhere, to a folder or as a zip to download."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import time
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from maskmatch_med.config import TrainConfig
from maskmatch_med.errors import InputError
from maskmatch_med.io import itksnap
from maskmatch_med.io.atomic import atomic_path
from maskmatch_med.io.segments import Segment
from maskmatch_med.io.sinks import FolderSink, Sink, ZipSink
from maskmatch_med.nets import ModelFolder
from maskmatch_med.progress import Progress, silent
from maskmatch_med.service.display import cache_of
from maskmatch_med.service.export_notes import readme
from maskmatch_med.service.label import label_definitions, predicted_labels
from maskmatch_med.service.results import metrics_table
from maskmatch_med.service.tallies import prediction_of
from maskmatch_med.service.volumetry import volumes_table
from maskmatch_med.study import Case, Study
from maskmatch_med.study.exported import ExportRecord, record_export
from maskmatch_med.study.exporting import (
    Plane,
    Segmented,
    Unjudged,
    Written,
    label_table,
    provenance,
    unjudged_value,
    write_nifti,
    write_nnunet,
    write_png,
)
from maskmatch_med.study.verdicts import verdict_on

ExportFormat = Literal["nifti", "nnunet", "png", "tables", "model"]
_FORMATS = ("nifti", "nnunet", "png", "tables", "model")
_KEPT_S = 24 * 3600.0
_KEY, _ZIP = re.compile(r"[0-9a-f]{24}"), re.compile(r"[\w.-]+\.zip", re.ASCII)
_MODEL_FILES = ("weights.safetensors", "plan.json", "metrics.json", "calibration.json", "MODEL_CARD.md")
"""What leaves with a model beside its settings; its ``labels.json`` names scans and stays."""


@dataclass(frozen=True)
class ExportOrder:
    """What to export, and how.

    Args:
        format: ``nifti``; ``nnunet``, a raw data set; ``png``; ``tables``, volumes and metrics as CSV; ``model``.
        accepted: also take labels that are a model's prediction which somebody accepted as it was.
        model: whose predictions to take for the scans without such a label, save those that somebody rejected; for
            ``model`` the model itself.
        scans: their names; all where not given.
        unjudged: ``marked``: voxels that nobody judged are 255, in an nnU-Net data set its ``ignore``; ``background``:
            they are 0, as if somebody had found nothing there.
        plane: the slices that volumes become as PNG.
        author: who asks for it, for the history of the scans.
    """

    format: ExportFormat = "nifti"
    accepted: bool = True
    model: str | None = None
    scans: tuple[str, ...] | None = None
    unjudged: Unjudged = "marked"
    plane: Plane | None = None
    author: str = ""


@dataclass(frozen=True)
class Download:
    """A zip that waits to be fetched.

    Args:
        key: names its folder; the same export of the same study has the same.
        name: of the file.
        size: bytes.
        scans: how many it holds.
    """

    key: str
    name: str
    size: int
    scans: int


def export_study(
    study: Study | Path | str, out: Path | str, order: ExportOrder | None = None, progress: Progress = silent
) -> list[Path]:
    """Write an export to a new folder, with a README, the names of the labels and where each file comes from.

    Args:
        study: the study.
        out: a folder that does not exist or is empty.
        order: what to export; all labels as NIfTI by default.
        progress: called with (done, total, scan).

    Returns:
        The files written.

    Raises:
        InputError: the folder holds something, there is nothing to export, or the format does not fit the scans.
        StudyError: there is no such scan or model.
    """
    opened, target, order = _opened(study), Path(out), order or ExportOrder()
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise InputError(f"{target} exists and is not an empty folder; choose another place for the export")
    items = _items(opened, order)
    sink = FolderSink(target)
    _write(opened, order, items, sink, progress)
    _record(opened, order, items, target.name)
    return [target / name for name in sink.names]


def prepare_download(study: Study | Path | str, order: ExportOrder, progress: Progress = silent) -> Download:
    """Write an export as a zip that the server can hand out; one that is there already is not written again.

    Zips older than a day are removed.

    Raises:
        InputError, StudyError: as :func:`export_study`.
    """
    opened = _opened(study)
    items = _items(opened, order)
    place = cache_of(opened) / "exports"
    _forget_old(place)
    key, name = _key(opened, order, items), f"{_top(opened, order)}.zip"
    path = place / key / name
    if not path.is_file():
        with atomic_path(path) as part, zipfile.ZipFile(part, "w") as archive:
            _write(opened, order, items, ZipSink(archive, _top(opened, order)), progress)
    _record(opened, order, items, name)
    return Download(key, name, path.stat().st_size, len(items))


def download_path(study: Study | Path | str, key: str, name: str) -> Path:
    """Where a prepared zip lies.

    Raises:
        InputError: there is none, or no longer.
    """
    opened = _opened(study)
    path = cache_of(opened) / "exports" / key / name
    if not (_KEY.fullmatch(key) and _ZIP.fullmatch(name) and path.is_file()):
        raise InputError(f"the export {name} is no longer there; prepare it anew on the page Results")
    return path


def exportable(study: Study | Path | str, order: ExportOrder) -> tuple[int, int]:
    """How many labels and how many predictions an export would hold."""
    opened = _opened(study)
    chosen = [_choice(opened, case, order) for case in _cases(opened, order)]
    return sum(one == "label" for one in chosen), sum(one == "prediction" for one in chosen)


def _opened(study: Study | Path | str) -> Study:
    return study if isinstance(study, Study) else Study.at(Path(study))


def _cases(study: Study, order: ExportOrder) -> list[Case]:
    return study.cases() if order.scans is None else [study.case(name) for name in order.scans]


def _choice(study: Study, case: Case, order: ExportOrder) -> Literal["label", "prediction"] | None:
    """What an export takes of a scan."""
    if case.label is not None and (order.accepted or case.label.source != "model accepted"):
        return "label"
    if order.model is None:
        return None
    path = prediction_of(study, study.model_dir(order.model).name, case)
    if path is None:
        return None
    verdict = verdict_on(path)
    return None if verdict is not None and verdict.verdict == "rejected" else "prediction"


def _items(study: Study, order: ExportOrder) -> list[Segmented]:
    if order.format not in _FORMATS:
        raise InputError(f"the export format {order.format!r} is unknown; expected {', '.join(_FORMATS)}")
    if order.format == "model":
        if order.model is None:
            raise InputError("name the model to export")
        return []
    items = []
    for case in _cases(study, order):
        choice = _choice(study, case, order)
        if choice is not None:
            items.append(_item(study, case, order.model if choice == "prediction" else None))
    if not items:
        raise InputError(f"{study.root} has nothing of that to export: no label, and no prediction of a chosen model")
    return items


def _item(study: Study, case: Case, model: str | None) -> Segmented:
    if model is not None:
        return Segmented(case, None, model, lambda: predicted_labels(study, case.name, model))
    label = case.label
    if label is None:
        raise InputError(f"{case.name} has no label")
    return Segmented(case, label, None, lambda: label.read().array)


def _write(study: Study, order: ExportOrder, items: Sequence[Segmented], sink: Sink, progress: Progress) -> None:
    done = 0

    def step(item: Segmented) -> None:
        nonlocal done
        progress(done, len(items), item.case.name)
        done += 1

    if order.format == "model":
        _write_model(study, order, sink)
    elif order.format == "tables":
        sink.text("volumes.csv", volumes_table(study, order.model, [item.case.name for item in items]))
        sink.text("metrics.csv", metrics_table(study, progress=progress))
    else:
        written = _write_segmentations(study, order, items, sink, step)
        sink.text("provenance.csv", provenance(written))
    if order.format == "nifti":
        named = [Segment(study.label_names[one.name], one.name, one.colour) for one in label_definitions(study)]
        for folder in sorted({item.folder for item in items}):
            sink.text(f"{folder}/label_description.txt", itksnap.description(named))
    if order.format != "model":
        value = unjudged_value(study, order.format, order.unjudged)
        sink.text("labels.json", label_table(study.label_names, study.label_colours, value))
    sink.text("README.txt", readme(study, order.format, order.unjudged, items, order.plane))
    progress(len(items), len(items), "")


def _write_segmentations(
    study: Study, order: ExportOrder, items: Sequence[Segmented], sink: Sink, step: Callable[[Segmented], None]
) -> list[Written]:
    if order.format == "nifti":
        return write_nifti(sink, items, order.unjudged, step)
    if order.format == "nnunet":
        return write_nnunet(sink, study, items, order.unjudged, step)
    return write_png(sink, items, order.plane, len(study.label_names), order.unjudged, step)


def _write_model(study: Study, order: ExportOrder, sink: Sink) -> None:
    folder = ModelFolder(study.model_dir(order.model or ""))
    if not folder.weights_path.is_file():
        raise InputError(f"{folder.root} holds no finished model; train one, or choose another")
    for name in _MODEL_FILES:
        if (folder.root / name).is_file():
            sink.copy(folder.root / name, name)
    if folder.config_path.is_file():
        # Where the model lies that it was begun from is of use here alone, and tells names of users and folders.
        config = TrainConfig.load(folder.config_path).model_copy(update={"start_from": None})
        sink.text(folder.config_path.name, f"{config.model_dump_json(indent=2)}\n")


def _record(study: Study, order: ExportOrder, items: Sequence[Segmented], name: str) -> None:
    """Note the export in the history of its scans, where the study may be written."""
    if os.access(study.root, os.W_OK):
        labels = {item.case.name: item.label.version for item in items if item.label is not None}
        predictions = {item.case.name: item.model for item in items if item.model is not None}
        record = ExportRecord(
            name=name, format=order.format, author=order.author, labels=labels, predictions=predictions
        )
        record_export(study.root, record)


def _key(study: Study, order: ExportOrder, items: Sequence[Segmented]) -> str:
    """A hash of all that an export is made from."""
    made_from: list[object] = [study.name, study.label_names, study.label_colours, {**asdict(order), "author": ""}]
    for item in items:
        path = study.predictions_dir / str(item.model) / f"{item.case.name}.nii.gz"
        made_from.append([item.case.name, item.label.sha256 if item.label else path.stat().st_mtime_ns])
    if order.format in {"model", "tables"}:
        watched = sorted([*study.models_dir.glob("*/*.json"), *study.models_dir.glob("*/*.safetensors")])
        watched += sorted(study.predictions_dir.glob("*/*.nii.gz"))
        made_from += [[str(path), path.stat().st_mtime_ns] for path in watched]
    if order.format == "nnunet":
        made_from += [[path.name, path.stat().st_mtime_ns] for case in study.cases() for path in case.image_paths]
    return hashlib.sha256(json.dumps(made_from).encode()).hexdigest()[:24]


def _forget_old(place: Path) -> None:
    now = time.time()
    for folder in place.glob("*"):
        if now - folder.stat().st_mtime > _KEPT_S:
            shutil.rmtree(folder, ignore_errors=True)


def _top(study: Study, order: ExportOrder) -> str:
    """The folder within the zip; that of an nnU-Net data set is named as nnU-Net asks."""
    name = _plain(study.name)
    if order.format == "nnunet":
        return f"Dataset501_{name}"
    return f"{name}-{order.model if order.format == 'model' else order.format}"


def _plain(name: str) -> str:
    """A name of letters, digits, hyphens and underscores."""
    return "".join(sign if (sign.isalnum() and sign.isascii()) or sign in "-_" else "_" for sign in name) or "study"
