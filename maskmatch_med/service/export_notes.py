"""The README that goes with every export: what it is, what its values mean, and that it is no medical device."""

from __future__ import annotations

from collections.abc import Sequence

from maskmatch_med.study import Study
from maskmatch_med.study.exporting import Plane, Segmented, Unjudged, unjudged_value
from maskmatch_med.version import __version__

NOTICE = "Research use, not a medical device."
_HOLDS = {
    "nifti": "labels/CASE.nii.gz and predictions/MODEL/CASE.nii.gz: one segmentation a scan, uint8, on the scan's own\n"
    "grid (the same shape and affine as the scan). label_description.txt beside them has names and colours for\n"
    "ITK-SNAP (Segmentation, Import Label Descriptions), and for `maskmatch import`.",
    "nnunet": "A raw data set of nnU-Net: imagesTr holds every scan, labelsTr a segmentation of those listed in\n"
    "dataset.json. Put this folder into nnUNet_raw; rename it where the number 501 is taken there.",
    "png": "Masks as PNG. Two classes are 0 and 255; more are a palette picture whose index is the class.",
    "tables": "volumes.csv: the volume of each structure in each scan. metrics.csv: models against reference labels,\n"
    "only on scans whose labels the model did not learn from.",
    "model": "weights.safetensors, plan.json, config.json and metrics.json are read by\n"
    "`maskmatch predict FOLDER SCANS -o OUT`. MODEL_CARD.md says what the model was made from and what it is for.",
}


def readme(
    study: Study, format: str, unjudged: Unjudged, items: Sequence[Segmented], plane: Plane | None = None
) -> str:
    """The text of README.txt.

    Args:
        study: where the export comes from.
        format: of the export.
        unjudged: how voxels that nobody judged are written.
        items: the segmentations it holds.
        plane: the slices that volumes became.
    """
    parts = [
        f"{study.name}\n{'=' * len(study.name)}\n\n{NOTICE}\nWritten by maskmatch-med {__version__}.",
        _HOLDS[format],
    ]
    if format in {"nifti", "nnunet", "png"}:
        parts += [*_segmentations(study, format, unjudged, items), *_slices(format, plane)]
    if format != "model":
        named = "\n".join(f"  {value}  {name}" for name, value in study.label_names.items())
        parts.append(f"Values (labels.json):\n{named}")
    return "\n\n".join(parts) + "\n"


def _segmentations(study: Study, format: str, unjudged: Unjudged, items: Sequence[Segmented]) -> list[str]:
    labels = [item.label for item in items if item.label is not None]
    accepted = sum(label.source == "model accepted" for label in labels)
    partial = sum(not label.complete for label in labels)
    told = f"Labels: {len(labels)}; of them accepted predictions: {accepted}, judged in part: {partial}. "
    told += f"Predictions that nobody has accepted: {len(items) - len(labels)}.\n"
    told += "provenance.csv says of each file who made it, when and from what."
    value = unjudged_value(study, format, unjudged)
    if value is None:
        how = "Voxels that nobody judged are written as 0, as if they were background."
    elif format == "nnunet":
        how = f'Voxels that nobody judged have the value {value}, declared as "ignore" where there are any.'
    else:
        how = f"Voxels that nobody judged have the value {value}; it is no structure."
    return [told, how]


def _slices(format: str, plane: Plane | None) -> list[str]:
    if format != "png" or plane is None:
        return []
    return [
        f"A volume is a folder of {plane} slices. The number is the slice's place along the axis of the file that\n"
        "crosses the plane, from 0; column and row are the file's other two axes in their order."
    ]
