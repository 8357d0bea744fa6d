"""Runs the cells of a benchmark, one process a cell and some on each device; what is finished is never done again."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from maskmatch_med.bench.cell import cell_folder, check_scored, read_result
from maskmatch_med.bench.design import FILE, LOCK, Cell, Design
from maskmatch_med.bench.prepare import prepare_study
from maskmatch_med.bench.summary import write_results, write_tables
from maskmatch_med.errors import MaskMatchError, TrainingError, listed
from maskmatch_med.progress import Progress, silent
from maskmatch_med.service.devices import resolve_device
from maskmatch_med.study import FolderLock

_POLL_S = 0.2


@dataclass
class BenchRequest:
    """How to run a benchmark.

    Args:
        devices: where trainings run.
        workers: trainings at a time on each device.
        progress: called with (cells done, cells in all, what was done last).
        say: told what the user should know, a sentence at a time.
    """

    devices: Sequence[str] = ("auto",)
    workers: int = 1
    progress: Progress = silent
    say: Callable[[str], None] = lambda sentence: None


@dataclass
class _Running:
    cell: Cell
    device: str
    process: subprocess.Popen[bytes]


@dataclass
class _Floor:
    """The cells that wait, run and failed."""

    root: Path
    waiting: list[Cell]
    slots: list[str]
    running: list[_Running] = field(default_factory=list)
    failed: list[Cell] = field(default_factory=list)

    def fill(self, environment: dict[str, str]) -> None:
        while self.waiting and self.slots:
            cell, device = self.waiting.pop(0), self.slots.pop(0)
            self.running.append(_Running(cell, device, _start(self.root, cell, device, environment)))

    def collect(self) -> list[Cell]:
        """The cells that have ended since the last call; their devices are free again."""
        ended = [run for run in self.running if run.process.poll() is not None]
        for run in ended:
            self.running.remove(run)
            self.slots.append(run.device)
            if read_result(self.root, run.cell) is None:
                self.failed.append(run.cell)
        return [run.cell for run in ended]


def run_bench(root: Path, design: Design, request: BenchRequest | None = None) -> Path:
    """Run every cell of a design that is not finished, and write tables and figures.

    The folder may be one that was killed at any moment, or that is to compare more recipes, seeds or label counts.

    Returns:
        The table, ``ROOT/table.md``.

    Raises:
        InputError: the design cannot be run, a scan to score on is missing, or the folder compares something else.
        TrainingError: cells failed; the others are finished and in the tables.
    """
    request = request or BenchRequest()
    for device in request.devices:
        resolve_device(device)
    design.check()
    check_scored(design)
    root.mkdir(parents=True, exist_ok=True)
    with FolderLock(root / LOCK, "running the benchmark").held(timeout_s=0):
        is_new = not (root / FILE).exists()
        design = design.keep_in(root)
        try:
            for labelled in design.labelled:
                prepare_study(root, design, labelled, request.progress)
        except MaskMatchError:
            if is_new:  # so that the command can be corrected
                shutil.rmtree(root / "studies", ignore_errors=True)
                (root / FILE).unlink()
            raise
        failed = _run_cells(root, design, request)
        table = write_results(root, design)
    if failed:
        told = listed([f"{cell.key}: {_last_line(cell_folder(root, cell) / 'log.txt')}" for cell in failed])
        raise TrainingError(f"{len(failed)} cells of the benchmark failed; run it again to repeat them:\n{told}")
    return table


def _last_line(log: Path) -> str:
    """What a cell said last, and where all of it stands."""
    text = log.read_text(encoding="utf-8", errors="replace") if log.is_file() else ""
    lines = [line for line in text.splitlines() if line.strip()]
    return f"{lines[-1].strip() if lines else 'it said nothing'} (all in {log})"


def _run_cells(root: Path, design: Design, request: BenchRequest) -> list[Cell]:
    cells = list(design.cells())
    waiting = [cell for cell in cells if read_result(root, cell) is None]
    done = len(cells) - len(waiting)
    slots = [device for device in request.devices for _ in range(request.workers)]
    if design.shared_start and len(slots) > 1:
        waiting = starts_first(waiting)
    if done:
        request.say(f"{done} of {len(cells)} cells are finished already")
    request.progress(done, len(cells), "")
    floor, environment = _Floor(root, waiting, slots), _environment(len(slots))
    try:
        while floor.waiting or floor.running:
            floor.fill(environment)
            for cell in floor.collect():
                done += 1
                request.progress(done, len(cells), cell.key)
                write_tables(root, design)
            time.sleep(_POLL_S)
    finally:
        for run in floor.running:
            run.process.terminate()
        for run in floor.running:
            run.process.wait()
    return floor.failed


def starts_first(cells: Sequence[Cell]) -> list[Cell]:
    """One cell of each start before the others, which would wait for it side by side."""
    first = {f"{cell.seed} {cell.labelled} {cell.mode}": cell.key for cell in reversed(cells)}.values()
    return sorted(cells, key=lambda cell: cell.key not in first)


def _start(root: Path, cell: Cell, device: str, environment: dict[str, str]) -> subprocess.Popen[bytes]:
    folder = cell_folder(root, cell)
    folder.mkdir(parents=True, exist_ok=True)
    own = psutil.Process()
    words = [str(root.resolve()), cell.key, device, str(own.pid), repr(own.create_time())]
    with (folder / "log.txt").open("ab") as log:
        command = [sys.executable, "-m", "maskmatch_med.bench", *words]
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment)


def _environment(at_a_time: int) -> dict[str, str]:
    """The variables of this process, and its cores shared out among the trainings that run at a time."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    threads = max(1, cores // at_a_time)
    return {"OMP_NUM_THREADS": str(threads), **os.environ}
