"""One cell of a benchmark in a process of its own: train, predict with the last weights, score.

``python -m maskmatch_med.bench FOLDER KEY DEVICE PID CREATED`` is what :mod:`maskmatch_med.bench.run` starts. The
training keeps its state as any other does, so a cell that was killed goes on where it was; when the process that
started it is gone, it saves and ends.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from maskmatch_med import service
from maskmatch_med.bench.design import Cell, Design
from maskmatch_med.bench.prepare import study_of
from maskmatch_med.bench.shared_start import begin_from_shared_start
from maskmatch_med.errors import InputError, MaskMatchError
from maskmatch_med.evaluation import Evaluation
from maskmatch_med.evaluation.results import METRICS, value
from maskmatch_med.evaluation.scoring import pair_files
from maskmatch_med.io import find_scans
from maskmatch_med.io.atomic import write_text
from maskmatch_med.io.cases import LABEL_FOLDERS
from maskmatch_med.io.rasters import is_raster
from maskmatch_med.io.volumes import read_header
from maskmatch_med.jobs.processes import Identity
from maskmatch_med.nets import ModelFolder
from maskmatch_med.service.apply import selected_cases
from maskmatch_med.study import FolderLock
from maskmatch_med.study.alignment import lies_on

UNFINISHED = 3
"""Exit code of a cell that was asked to stop."""
_PATIENCE_S = 7 * 24 * 3600.0


def cell_folder(root: Path, cell: Cell) -> Path:
    """Where a cell keeps its predictions, scores and log."""
    return root / "cells" / cell.key


def model_of(root: Path, cell: Cell) -> ModelFolder:
    """The model that a cell trains."""
    return ModelFolder(study_of(root, cell.labelled) / "models" / cell.key)


def read_result(root: Path, cell: Cell) -> dict[str, Any] | None:
    """What a finished cell found, see :func:`run_cell`; None where it is not finished."""
    try:
        return dict(json.loads((cell_folder(root, cell) / "result.json").read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return None


def run_cell(root: Path, design: Design, cell: Cell, device: str, stop_requested: Callable[[], bool]) -> bool:
    """Train, predict and score one cell; whether it is finished now (False: stopped on request).

    ``result.json`` appears last and whole: iterations, seconds, device, and one row a scan and structure.

    Raises:
        MaskMatchError: what training, predicting or scoring raise.
    """
    folder = cell_folder(root, cell)
    folder.mkdir(parents=True, exist_ok=True)
    with FolderLock(folder / "lock", f"the benchmark's {cell.key}").held(timeout_s=_PATIENCE_S, waiting=print):
        if read_result(root, cell) is not None:
            return True
        study, config = study_of(root, cell.labelled), design.config_of(cell, device)
        if design.shared_start and not begin_from_shared_start(study, config, cell.key, stop_requested):
            return False
        request = service.TrainRequest(name=cell.key, resume=True, stop_requested=stop_requested)
        model = service.train(study, config, request)
        metrics = model.metrics()
        if not metrics.get("finished"):
            return False
        predict = service.PredictRequest(only=design.scored_cases(), device=device, scales=design.scales)
        service.predict(model, design.data, folder / "predictions", predict)
        options = service.EvaluateOptions(nsd_mm=design.nsd_mm)
        scores = service.evaluate(folder / "predictions", references_of(design.data), options, folder / "scores")
        told = {name: metrics[name] for name in ("iterations", "seconds", "device", "precision", "memory_mib")}
        write_text(
            folder / "result.json",
            json.dumps({**told, "unit": scores.units.length, "rows": score_rows(scores)}, indent=1) + "\n",
        )
    return True


def check_scored(design: Design) -> None:
    """Refuse scans to score on that cannot be, before anything is trained.

    Raises:
        InputError: a scan or its label is not among the data, or the label does not lie on the scan's grid.
    """
    names = design.scored_cases()
    scans = selected_cases(find_scans([design.data]).cases, names)
    pairs = pair_files({name: Path(f"{name}.nii.gz") for name in names}, references_of(design.data), {"any": 1})
    for scan in scans:
        label = pairs.references.paths[scan.name]
        if scan.series is None and not is_raster(scan.channels[0]) and not is_raster(label):
            own, grid = read_header(label).geometry, read_header(scan.channels[0]).geometry
            if not lies_on(own, grid):
                raise InputError(f"the label {label} does not lie on the grid of its scan; a benchmark cannot score it")


def references_of(data: Path) -> Path:
    """The folder of labels of a data set."""
    return next((data / name for name in LABEL_FOLDERS if (data / name).is_dir()), data)


def score_rows(scores: Evaluation) -> list[dict[str, Any]]:
    """One row a scan and structure, ready for JSON; a number that does not exist is None."""
    rows = []
    for row in scores.rows:
        numbers = {key: value(row, key) for key in METRICS}
        kept = {key: None if math.isnan(number) else number for key, number in numbers.items()}
        rows.append({"case": row.case, "structure": row.class_name, **kept})
    return rows


def main(words: list[str]) -> int:
    """Run the cell that the words name; the exit code is 0 when it is finished."""
    root, key, device, pid, created = Path(words[0]), words[1], words[2], int(words[3]), float(words[4])
    parent = Identity(pid, created)
    try:
        design = Design.load(root)
        cell = next((cell for cell in design.cells() if cell.key == key), None)
        if cell is None:
            raise InputError(f"{root} has no cell {key!r}")
        return 0 if run_cell(root, design, cell, device, lambda: not parent.alive()) else UNFINISHED
    except MaskMatchError as error:
        print(f"{error}", file=sys.stderr)
        return 2
