"""Simulate which scan to label next, on a data set that is labelled already: python -m benchmarks.rank DATA OUT.

Every strategy begins with the first scans of ``label_order`` and their labels. In each round `supervised` is trained
from the start, the scans without a label are ordered by :func:`maskmatch_med.service.rank_scans`, those that come first
get their true label, and so on. Each model is scored on ``test``. A killed simulation goes on with the same command;
larger counts, more strategies and more seeds may be added to it.

All labelled scans train: nothing is held out for validation, as others are there to score on.
"""

from __future__ import annotations

import argparse
import math
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import psutil

from benchmarks.rank_rounds import Round, Simulation, result_path
from benchmarks.scored import POINTS, add_scales, markdown_table, points, read_json, write_json
from maskmatch_med.bench.design import Cell, LabelBudget, Variant
from maskmatch_med.bench.runs import Run
from maskmatch_med.bench.statistics import Paired, mean_over_seeds, mean_sd, paired_difference
from maskmatch_med.bench.summary import cases_csv, paired_over_seeds
from maskmatch_med.cli.learn import pairs
from maskmatch_med.cli.listed import numbers
from maskmatch_med.errors import InputError, MaskMatchError, TrainingError
from maskmatch_med.io.atomic import write_text
from maskmatch_med.ranking import STRATEGIES
from maskmatch_med.study import FolderLock

REPOSITORY = Path(__file__).resolve().parents[1]
BASELINE = "foreground-random"
Chains = Mapping[str, Mapping[int, Mapping[int, Run]]]
"""Finished runs by strategy, seed and label count."""


def area(counts: Sequence[int], dice: Sequence[float]) -> float:
    """The area under a learning curve by trapezoids, divided by its width: the mean Dice between first and last count.

    A curve of one count is that point. NaN where a value is.
    """
    if len(counts) == 1:
        return float(dice[0])
    return float(np.trapezoid(dice, counts)) / (counts[-1] - counts[0])


def finished(root: Path, what: Simulation) -> Chains:
    """What is finished."""
    chains: dict[str, dict[int, dict[int, Run]]] = {name: {} for name in what.strategies}
    for this in what.rounds():
        told = read_json(result_path(root, this))
        if told is not None:
            variant = Variant(name=this.strategy, method="supervised")
            cell = Cell(LabelBudget(scans=this.count), variant, this.seed, "iterations", what.iterations)
            chains[this.strategy].setdefault(this.seed, {})[this.count] = Run(cell, told)
    return chains


def curves(what: Simulation, seeds: Mapping[int, Mapping[int, Run]]) -> dict[int, dict[str, float]]:
    """For each seed that has finished every count, the area under each test scan's own learning curve."""
    whole = {seed: runs for seed, runs in seeds.items() if set(what.counts) <= set(runs)}
    found = {}
    for seed, runs in whole.items():
        by_count = [runs[count].by_case("dice") for count in what.counts]
        found[seed] = {case: area(what.counts, [dice[case] for dice in by_count]) for case in by_count[0]}
    return found


def area_difference(what: Simulation, chains: Chains, strategy: str) -> Paired:
    """How the area differs from the baseline's, scan by scan, on the seeds that both have finished."""
    one, other = (curves(what, chains[name]) for name in (strategy, BASELINE))
    both = one.keys() & other.keys()
    sides = [mean_over_seeds([found[seed] for seed in sorted(both)]) for found in (one, other)]
    return paired_difference(*sides)


def page(what: Simulation, chains: Chains) -> str:
    """The Markdown page: Dice by strategy and label count, and the differences to chance below it."""
    done = sum(len(runs) for seeds in chains.values() for runs in seeds.values())
    lines = [f"# {what.data.name}: which scan to label next", ""]
    lines += [
        f"Dice on `test` of `supervised`, {what.iterations} iterations, preset `{what.preset}`, last weights, by "
    ]
    lines[-1] += f"labelled scans; {done} of {sum(1 for _ in what.rounds())} rounds are finished. Mean over structures "
    lines[-1] += "of the mean over scans; ± is the standard deviation over seeds. Area: mean Dice from the first label "
    lines[-1] += "count to the last, by trapezoids."
    heads = ["strategy", "seeds", *(str(count) for count in what.counts), "area"]
    lines += ["", *markdown_table(heads, [_row(what, name, seeds) for name, seeds in chains.items()])]
    rows = _differences(what, chains)
    if rows:
        note = (
            "Paired by scan after averaging over the seeds that both have; bootstrap over scans, so it does not tell "
        )
        note += (
            "what another seed or another first scan would change; p is not corrected for the number of comparisons."
        )
        lines += ["", *markdown_table(("difference in Dice points", "at", *POINTS, "seeds"), rows), "", note]
    return "\n".join(lines) + "\n"


def _row(what: Simulation, name: str, seeds: Mapping[int, Mapping[int, Run]]) -> list[str]:
    columns = [[runs[count].overall("dice") for runs in seeds.values() if count in runs] for count in what.counts]
    whole = [runs for runs in seeds.values() if set(what.counts) <= set(runs)]
    columns.append([area(what.counts, [runs[count].overall("dice") for count in what.counts]) for runs in whole])
    return [f"`{name}`", str(len(seeds)), *(_with_spread(values) for values in columns)]


def _with_spread(values: Sequence[float]) -> str:
    mean, sd = mean_sd(values)
    if math.isnan(mean):
        return "–"
    return f"{mean:.4f}" if math.isnan(sd) else f"{mean:.4f} ± {sd:.4f}"


def _differences(what: Simulation, chains: Chains) -> list[list[str]]:
    """Each strategy against the baseline: the area, then the last count that both have."""
    rows = []
    for name in (name for name in chains if name != BASELINE and BASELINE in chains):
        title = f"`{name}` − `{BASELINE}`"
        shared = curves(what, chains[name]).keys() & curves(what, chains[BASELINE]).keys()
        if shared:
            rows.append([title, "area", *points(area_difference(what, chains, name)), str(len(shared))])
        for count in reversed(what.counts):
            one, other = ([runs[count] for runs in chains[side].values() if count in runs] for side in (name, BASELINE))
            seeds = {run.cell.seed for run in one} & {run.cell.seed for run in other}
            if seeds:
                rows.append([title, str(count), *points(paired_over_seeds(one, other)), str(len(seeds))])
                break
    return rows


def write_tables(root: Path, what: Simulation) -> Path:
    """Write ``table.md``, ``cases.csv`` and ``results.json`` of what is finished; returns the first."""
    chains = finished(root, what)
    runs = [run for seeds in chains.values() for by_count in seeds.values() for run in by_count.values()]
    write_text(root / "cases.csv", cases_csv(runs))
    told = [
        {"strategy": run.cell.variant.name, "seed": run.cell.seed, "count": run.cell.labelled.scans}
        | {"dice": run.overall("dice"), "labelled": run.result["labelled"], "same_as": run.result.get("same_as")}
        for run in runs
    ]
    write_json(root / "results.json", {"simulation": what.model_dump(mode="json"), "rounds": told})
    write_text(root / "table.md", page(what, chains))
    return root / "table.md"


def run_rounds(root: Path, what: Simulation, threads: int) -> Path:
    """Run every round that is not finished, one process each; returns the table.

    Raises:
        TrainingError: a round failed.
    """
    rounds = list(what.rounds())
    for place, this in enumerate(rounds, 1):
        if read_json(result_path(root, this)) is None:
            print(f"{place} of {len(rounds)}: {this.key}", file=sys.stderr, flush=True)
            _run_apart(root, this, threads)
            write_tables(root, what)
    return write_tables(root, what)


def _run_apart(root: Path, this: Round, threads: int) -> None:
    own, log = psutil.Process(), result_path(root, this).with_name("log.txt")
    log.parent.mkdir(parents=True, exist_ok=True)
    words = [str(root), this.key, str(own.pid), repr(own.create_time())]
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    with log.open("ab") as stream:
        process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.rank_rounds", *words],
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
            cwd=REPOSITORY,
            env=environment,
        )
    try:
        code = process.wait()
    finally:
        process.terminate()
        process.wait()
    if code:
        raise TrainingError(f"the round {this.key} failed; see {log}; the same command tries it again")


def _numbers(text: str) -> tuple[int, ...]:
    words = [word.strip() for word in text.split(",")]
    if not all(word.isdigit() for word in words):
        raise InputError(f"expected whole numbers separated by commas, got {text!r}")
    return tuple(int(word) for word in words)


def _parsed(words: Sequence[str] | None) -> argparse.Namespace:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    parser = argparse.ArgumentParser(prog="python -m benchmarks.rank", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("data", type=Path, help="data set of which every scan has a label")
    parser.add_argument("out", type=Path, help="folder of the simulation; the same command goes on in it")
    parser.add_argument("--splits", type=Path, required=True, help="JSON with label_order and test")
    parser.add_argument("--strategies", default=",".join(STRATEGIES), help="separated by commas; default: %(default)s")
    parser.add_argument("--seeds", default="0", help="separated by commas")
    parser.add_argument("--counts", default="3,5,8,12,20", help="labelled scans of each round; default: %(default)s")
    parser.add_argument("--iterations", type=int, default=1000, help="of each training; default: %(default)s")
    parser.add_argument("--scans", type=int, help="score on the first N of test; on all by default")
    parser.add_argument("--preset", choices=("quick", "balanced", "best"), default="balanced")
    parser.add_argument("--set", action="append", metavar="KEY=VALUE", help="a setting of all trainings")
    parser.add_argument("--plan", action="append", metavar="KEY=VALUE", help="a value of the plan")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int, default=int(os.environ.get("OMP_NUM_THREADS", cores)))
    add_scales(parser)
    return parser.parse_args(words)


def main(words: Sequence[str] | None = None) -> int:
    """Read the command line, simulate, and print the table."""
    args = _parsed(words)
    root = args.out.expanduser().resolve()
    try:
        what = Simulation(
            data=args.data.expanduser().resolve(),
            splits=args.splits.expanduser().resolve(),
            counts=_numbers(args.counts),
            strategies=tuple(word.strip() for word in args.strategies.split(",")),
            seeds=_numbers(args.seeds),
            iterations=args.iterations,
            scans=args.scans,
            preset=args.preset,
            settings=pairs(args.set),
            plan=pairs(args.plan),
            device=args.device,
            scales=numbers(args.scales),
        )
        root.mkdir(parents=True, exist_ok=True)
        with FolderLock(root / "lock", "simulating").held(timeout_s=0):
            table = run_rounds(root, what.keep(root), args.threads)
    except MaskMatchError as error:
        print(error, file=sys.stderr)
        return 2
    print(table.read_text(encoding="utf-8"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
