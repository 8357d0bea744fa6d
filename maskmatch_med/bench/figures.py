"""Figures of a benchmark: learning curves, and the scans on which the last recipe did worst, middling and best."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from maskmatch_med.bench.cell import cell_folder, model_of, references_of
from maskmatch_med.bench.design import Design
from maskmatch_med.bench.runs import Run
from maskmatch_med.evaluation import CasePicture, worst_median_best
from maskmatch_med.evaluation.curves import curve_figure
from maskmatch_med.evaluation.figures import png_bytes
from maskmatch_med.evaluation.pictures import case_figure
from maskmatch_med.evaluation.scoring import pair_up
from maskmatch_med.io import find_scans
from maskmatch_med.io.atomic import write_bytes
from maskmatch_med.training import read_log


def write_figures(root: Path, design: Design, group: str, runs: Mapping[str, Run]) -> None:
    """Write ``figures/GROUP_curves.png`` and ``figures/GROUP_{worst,median,best}.png``.

    Args:
        root: the benchmark's folder.
        design: where the scans lie.
        group: label count and budget, for the file names.
        runs: by recipe, the one to show; the last recipe decides which scans.
    """
    folder = root / "figures"
    curves = curve_figure({name: read_log(model_of(root, run.cell).log_path) for name, run in runs.items()})
    if curves is not None:
        write_bytes(folder / f"{group}_curves.png", png_bytes(curves))
    for place, case in worst_median_best(list(runs.values())[-1].by_case("dice")).items():
        picture, classes = _picture(root, design, case, runs)
        write_bytes(folder / f"{group}_{place}.png", png_bytes(case_figure(picture, classes)))


def _picture(root: Path, design: Design, case: str, runs: Mapping[str, Run]) -> tuple[CasePicture, Mapping[str, int]]:
    """One scan with what every recipe says of it, and the structures' values."""
    pairs = {
        name: pair_up(cell_folder(root, run.cell) / "predictions", references_of(design.data))
        for name, run in runs.items()
    }
    read = {name: found.read(case) for name, found in pairs.items()}
    last = list(runs)[-1]
    scan = next(found for found in find_scans([design.data]).cases if found.name == case)
    picture = CasePicture(
        title=case,
        image=scan.read(),
        reference=read[last][1].array,
        predictions={name: found.array for name, (found, _) in read.items()},
        notes={name: f"Dice {run.by_case('dice')[case]:.3f}" for name, run in runs.items()},
    )
    return picture, pairs[last].classes
