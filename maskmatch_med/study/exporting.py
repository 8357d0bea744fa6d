"""Write segmentations for other programs: NIfTI, an nnU-Net data set, PNG masks."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from maskmatch_med.errors import InputError
from maskmatch_med.io import nifti, write_mask_png, write_segmentation
from maskmatch_med.io.formats import strip_extension
from maskmatch_med.io.labels import UNJUDGED
from maskmatch_med.io.sinks import Sink
from maskmatch_med.study.case import Case
from maskmatch_med.study.records import LabelVersion
from maskmatch_med.study.settings import dataset_content
from maskmatch_med.study.study import Study
from maskmatch_med.volume import Geometry

Labels = NDArray[np.uint8]
Plane = Literal["axial", "coronal", "sagittal"]
Unjudged = Literal["marked", "background"]
_ACROSS = {"sagittal": 0, "coronal": 1, "axial": 2}
"""The canonical axis (left to right, back to front, feet to head) that crosses each plane."""
_PROVENANCE = (
    "file",
    "case",
    "kind",
    "version",
    "source",
    "author",
    "created",
    "judged",
    "made_from",
    "model",
    "scan_file",
    "sha256_of_version",
)


@dataclass(frozen=True, eq=False)
class Segmented:
    """One segmentation that is exported.

    Args:
        case: the scan.
        label: its label version; None where it is a prediction.
        model: whose prediction it is; None where it is a label.
        read: gives (X, Y, Z) uint8 in the study's classes, 255 = not judged.
    """

    case: Case
    label: LabelVersion | None
    model: str | None
    read: Callable[[], Labels]

    @property
    def folder(self) -> str:
        """Where it goes: labels and the predictions of each model are kept apart."""
        return "labels" if self.model is None else f"predictions/{self.model}"


@dataclass(frozen=True)
class Written:
    """Which file of an export holds which segmentation."""

    name: str
    segmented: Segmented


Step = Callable[[Segmented], None]
"""Told before each segmentation is written."""


def write_nifti(sink: Sink, items: Sequence[Segmented], unjudged: Unjudged, step: Step) -> list[Written]:
    """Write ``labels/CASE.nii.gz`` and ``predictions/MODEL/CASE.nii.gz``: uint8 on the scan's own grid.

    Args:
        sink: where to.
        items: what.
        unjudged: ``marked``: voxels that nobody judged are 255; ``background``: they are 0.
        step: told of each.
    """
    value = UNJUDGED if unjudged == "marked" else 0
    written = []
    for item in items:
        step(item)
        written.append(Written(f"{item.folder}/{item.case.name}.nii.gz", item))
        _put(sink, written[-1].name, item, value)
    return written


def write_nnunet(sink: Sink, study: Study, items: Sequence[Segmented], unjudged: Unjudged, step: Step) -> list[Written]:
    """Write a raw data set: the images of all scans, one label a segmented scan, dataset.json.

    ``marked`` gives voxels that nobody judged the value of nnU-Net's ``ignore``, which is declared where a label has
    such voxels; ``background`` makes them 0.
    """
    settings, written, partial = study.settings, list[Written](), False
    for case in study.cases():
        for path in case.image_paths:
            sink.copy(path, f"imagesTr/{path.name}")
    for item in items:
        step(item)
        ignored = unjudged == "marked" and item.label is not None and not item.label.complete
        partial |= ignored
        written.append(Written(f"labelsTr/{item.case.name}.nii.gz", item))
        _put(sink, written[-1].name, item, settings.ignore_value if ignored else 0)
    content = dataset_content({}, settings, [item.case.name for item in items], ignore=partial)
    sink.text("dataset.json", json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    return written


def write_png(
    sink: Sink, items: Sequence[Segmented], plane: Plane | None, classes: int, unjudged: Unjudged, step: Step
) -> list[Written]:
    """Write masks as PNG that import reads back: two classes as 0 and 255, more as a palette whose index is the class.

    Where a voxel that nobody judged is marked, all of them are palettes, so that 255 means one thing.

    A picture's mask has its size and its name. A volume becomes a picture a slice, ``CASE/axial_012.png``: the number
    is the slice's place along the axis of the file that crosses the plane; column and row are the other two axes of
    the file in their order. Voxels that nobody judged have the index 255 where they are ``marked``, else 0.

    Raises:
        InputError: a scan is no single slice and no plane was chosen.
    """
    solid = next((item.case for item in items if 1 not in item.case.shape), None)
    if solid is not None and plane is None:
        raise InputError(
            f"{solid.name} has {solid.shape} voxels and is no single slice; choose slices (axial, coronal or "
            "sagittal), or export it as nifti"
        )
    names, written = _picture_names([item.case for item in items]), list[Written]()
    if unjudged == "marked" and any(item.label is not None and not item.label.complete for item in items):
        classes = max(classes, 3)
    for item in items:
        step(item)
        labels, base = item.read(), f"{item.folder}/{names[item.case.name]}"
        labels = labels if unjudged == "marked" else np.where(labels == UNJUDGED, np.uint8(0), labels)
        if 1 in labels.shape:
            axis = max(axis for axis in range(3) if labels.shape[axis] == 1)
            slices = {f"{base}.png": labels.take([0], axis)}
        else:
            axis = _axis_across(nifti.read_geometry(item.case.image_paths[0]), plane or "axial")
            slices = {f"{base}/{plane}_{at:03d}.png": labels.take([at], axis) for at in range(labels.shape[axis])}
        for name, one in slices.items():
            with sink.place(name) as path:
                write_mask_png(path, np.moveaxis(one, axis, 2), classes=classes)
        written.append(Written(next(iter(slices)) if len(slices) == 1 else f"{base}/", item))
    return written


def provenance(written: Iterable[Written]) -> str:
    """A table (CSV) of what each file is, who made it and from what."""
    stream = io.StringIO()
    rows = csv.writer(stream, lineterminator="\n")
    rows.writerow(_PROVENANCE)
    for one in written:
        item, label = one.segmented, one.segmented.label
        if label is None:
            told = ["prediction", "", "", "", "", "every voxel", "", item.model or ""]
        else:
            judged = "every voxel" if label.complete else "in part"
            told = ["label", label.version, label.source, label.author, label.created, judged]
            told += [label.parent or "", label.model or ""]
        rows.writerow((one.name, item.case.name, *told, item.case.source_name, label.sha256 if label else ""))
    return stream.getvalue()


def label_table(label_names: Mapping[str, int], colours: Mapping[str, str], unjudged: int | None) -> str:
    """The names of the values as JSON."""
    content = {
        "notice": "Research use, not a medical device",
        "labels": dict(label_names),
        "colours": dict(colours),
        "not_judged": unjudged,
    }
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def unjudged_value(study: Study, format: str, unjudged: Unjudged) -> int | None:
    """The value that voxels nobody judged have in an export; None where they are background."""
    if unjudged == "background":
        return None
    return study.settings.ignore_value if format == "nnunet" else UNJUDGED


def _put(sink: Sink, name: str, item: Segmented, unjudged: int) -> None:
    """Write one segmentation; a version that needs no other value is copied as it lies in the history."""
    if item.label is not None and (item.label.complete or unjudged == UNJUDGED):
        sink.copy(item.label.path, name)
        return
    labels = item.read()
    with sink.place(name) as path:
        geometry = nifti.read_geometry(item.case.image_paths[0])
        write_segmentation(path, np.where(labels == UNJUDGED, np.uint8(unjudged), labels), geometry)


def _axis_across(geometry: Geometry, plane: Plane) -> int:
    """The axis of the file that crosses a plane."""
    directions = np.abs(geometry.affine[:3, :3]) / np.linalg.norm(geometry.affine[:3, :3], axis=0)
    return int(np.argmax(directions[_ACROSS[plane]]))


def _picture_names(cases: Sequence[Case]) -> dict[str, str]:
    """File name without extension of each case: that of its source, or of the case where two sources share one."""
    stems = [strip_extension(Path(case.source_name)) if case.is_raster else case.name for case in cases]
    return {c.name: s if stems.count(s) == 1 else c.name for c, s in zip(cases, stems, strict=True)}
