"""What ``predict`` writes: segmentations, maps, and a row of ``summary.csv`` for each scan."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from glob import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maskmatch_med.inference import Prediction
from maskmatch_med.io import CaseFiles, write_map, write_mask_png, write_segmentation
from maskmatch_med.io.atomic import atomic_path, write_text
from maskmatch_med.planning import Plan
from maskmatch_med.volume import Volume

if TYPE_CHECKING:
    from maskmatch_med.evaluation.conformal import DiceOffsets

SUMMARY = "summary.csv"


def write_case(
    target: Path, case: CaseFiles, volume: Volume, prediction: Prediction, classes: int, row: Mapping[str, Any]
) -> None:
    """Write one scan's row of the summary when what it tells of is there."""
    if not (target / SUMMARY).is_file():  # from here on what lies there is known as predictions
        write_text(target / SUMMARY, "case\n")
    write_segmented(target, case, volume, prediction, classes)
    _write_summary(target, row)


def write_segmented(target: Path, case: CaseFiles, volume: Volume, prediction: Prediction, classes: int) -> None:
    """Write one scan's segmentation and maps; maps that an earlier prediction left beside it go."""
    path = target / f"{case.name}.nii.gz"
    if path.is_file():
        for stale in maps_beside(target, case.name):
            stale.unlink()
    write_segmentation(path, prediction.labels, volume.geometry)
    if case.is_raster:
        write_mask_png(target / f"{case.name}.png", prediction.labels, classes=classes)
    if prediction.uncertainty is not None:
        write_map(target / f"{case.name}_uncertainty.nii.gz", prediction.uncertainty, volume.geometry)
    if prediction.probabilities is not None:
        for label, probability in enumerate(prediction.probabilities):
            write_map(target / f"{case.name}_probabilities_{label:02d}.nii.gz", probability, volume.geometry)


def maps_beside(target: Path, name: str) -> list[Path]:
    """The maps beside a segmentation, which an earlier prediction may have left."""
    probabilities = target.glob(f"{escape(name)}_probabilities_[0-9][0-9].nii.gz")
    return [path for path in (target / f"{name}_uncertainty.nii.gz", *probabilities) if path.is_file()]


def volumes_ml(volume: Volume, prediction: Prediction, plan: Plan) -> dict[str, float]:
    """The volume of each structure in ml, under the names of its columns."""
    voxel_ml = volume.geometry.voxel_mm3 / 1000
    structures = {label: value for label, value in plan.label_names.items() if value}
    return {f"{k}_ml": round(int((prediction.labels == v).sum()) * voxel_ml, 4) for k, v in structures.items()}


def doubts(prediction: Prediction, offsets: DiceOffsets | None) -> dict[str, float]:
    """What the model says of its own certainty, of what was measured."""
    row = {}
    if prediction.uncertainty is not None:
        row["mean_uncertainty"] = round(float(prediction.uncertainty.mean()), 5)
    if prediction.expected_dice is not None:
        row["dice_expected"] = round(prediction.expected_dice, 4)
        if offsets is not None:
            low, middle, high = offsets.around(prediction.expected_dice)
            row |= {"dice_expected": round(middle, 4), "dice_low": round(low, 4), "dice_high": round(high, 4)}
    return row


def summary_rows(target: Path) -> list[Mapping[str, Any]]:
    """The rows of ``summary.csv`` whose segmentations still lie beside it."""
    path = target / SUMMARY
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as stream:
        rows = [row for row in csv.DictReader(stream) if row.get("case") and None not in row]
    return [row for row in rows if (target / f"{row['case']}.nii.gz").is_file()]


def _write_summary(target: Path, new: Mapping[str, Any]) -> None:
    """Write ``summary.csv``: this row after those that it has, as far as their segmentations are still there."""
    path, kept = target / SUMMARY, [row for row in summary_rows(target) if row["case"] != new["case"]]
    everything = [*kept, new]
    with atomic_path(path) as part, part.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, fieldnames=list(dict.fromkeys(key for row in everything for key in row)))
        writer.writeheader()
        writer.writerows(everything)
