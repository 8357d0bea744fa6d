"""Compare `supervised` with nnU-Net v2 at equal training time.

nnU-Net comes from PyPI and stays in an environment of its own:

    python3.11 -m venv nnunet-env && nnunet-env/bin/pip install -c constraints.txt nnunetv2

Both train on all of the same labelled scans, one after the other on the same processor with the same number of threads,
for the same minutes of wall time. Preprocessing is left out for both: scans are prepared before either clock starts.
Up to 2 s of ours are kept back for writing the model; nnU-Net's clock stops before it writes. Validation, which
nnU-Net does on 50 batches after every 250, is left out, and its learning rate falls by the share of the time
(``nnunet_peer.py``).
Both predict with the last weights and mirror images and are scored by the same code; nnU-Net at one scale in windows
half a patch apart, ours at the scales of its preset, or of ``--scales``.

``--small`` adds a row: nnU-Net with batch, patch, channels and strides of our plan, so that an iteration costs alike.
A killed comparison goes on with the same command; our training goes on where it was, one of nnU-Net begins anew.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from benchmarks.scored import (
    POINTS,
    add_scales,
    markdown_table,
    peer_environment,
    points,
    read_json,
    scored_study,
    write_json,
)
from maskmatch_med import service
from maskmatch_med.bench.cell import score_rows
from maskmatch_med.bench.design import Cell, LabelBudget, Variant
from maskmatch_med.bench.runs import Run
from maskmatch_med.bench.statistics import paired_difference
from maskmatch_med.bench.summary import cases_csv
from maskmatch_med.cli.learn import pairs
from maskmatch_med.cli.listed import numbers
from maskmatch_med.config import TrainConfig
from maskmatch_med.data.cache import cache_cases
from maskmatch_med.errors import InputError, MaskMatchError, TrainingError
from maskmatch_med.io.atomic import copy_file, write_text
from maskmatch_med.io.nifti import read_geometry
from maskmatch_med.nets import ModelFolder
from maskmatch_med.planning import Plan
from maskmatch_med.study import FolderLock, Study

REPOSITORY = Path(__file__).resolve().parents[1]
OURS = "supervised"
PEERS = {"nnU-Net": "3d_fullres", "nnU-Net small": "3d_small"}
"""Row of the table to nnU-Net's configuration."""


@dataclass(frozen=True)
class Comparison:
    """What is compared; a folder holds one comparison.

    Args:
        data: an nnU-Net or MSD data set of 3D scans.
        splits: its ``splits.json``.
        labelled: train on the first so many of ``label_order``.
        minutes: of training, for each.
        seed: of both trainings.
        scans: score on the first so many of ``test``; on all where None.
        nsd_mm: tolerance of the surface Dice.
        scales: that our predictions average over; those of the preset where None.
        plan: values of our plan to replace.
    """

    data: str
    splits: str
    labelled: int
    minutes: float
    seed: int = 0
    scans: int | None = None
    nsd_mm: float = 1.0
    scales: tuple[float, ...] | None = None
    plan: dict[str, str] = field(default_factory=dict)

    def keep(self, root: Path) -> None:
        """Write it to its folder, or refuse to mix it with another.

        Raises:
            InputError: the folder compares something else, or there is no time or label to train with.
        """
        if not (self.minutes > 0 and self.labelled > 0):
            raise InputError(f"--minutes and --labelled must be above 0, got {self.minutes:g} and {self.labelled}")
        known, given = read_json(root / "comparison.json"), asdict(self) | {"scales": self.scales and [*self.scales]}
        different = [name for name, kept in (known or given).items() if kept != given[name]]
        if different:
            raise InputError(f"{root} compares with another {', '.join(different)}; give the same, or another folder")
        root.mkdir(parents=True, exist_ok=True)
        write_json(root / "comparison.json", given)


@dataclass(frozen=True)
class Peer:
    """nnU-Net in its own environment.

    Args:
        python: its interpreter.
        root: where its folders lie.
        threads: of everything it does.
    """

    python: str
    root: Path
    threads: int

    def ask(self, *words: str) -> None:
        """Run a verb of ``nnunet_peer.py``; what it prints goes to a log.

        Raises:
            InputError: the interpreter cannot be started.
            TrainingError: it failed.
        """
        log = self.root / "log.txt"
        command = [self.python, "-m", "benchmarks.nnunet_peer", *words]
        environment = self._environment(words[0])
        try:
            with log.open("ab") as stream:
                done = subprocess.run(
                    command, cwd=REPOSITORY, env=environment, stdout=stream, stderr=stream, check=False
                )
        except OSError as error:
            raise InputError(f"cannot start {self.python} ({error.strerror}); --python names nnU-Net's own") from error
        if done.returncode:
            raise TrainingError(f"nnU-Net failed to {words[0]}; see {log}; the same command tries again")

    def _environment(self, verb: str) -> dict[str, str]:
        """Threads for all it does; augmentation while training is done by the training process itself, as ours is."""
        folders = {f"nnUNet_{name}": str(self.root / name) for name in ("raw", "preprocessed", "results")}
        threads = {"OMP_NUM_THREADS": str(self.threads), "nnUNet_def_n_proc": str(self.threads)}
        threads["nnUNet_n_proc_DA"] = "0" if verb == "train" else str(self.threads)
        return {**peer_environment(), **folders, **threads, "PYTHONPATH": str(REPOSITORY)}


def prepare(root: Path, what: Comparison) -> tuple[Study, Plan]:
    """The study that both train on, with its plan and its preprocessed labelled scans.

    Raises:
        InputError: the data cannot be imported, or are not 3D.
    """
    path = root / "study"
    if not (path / "plan.json").exists():
        options = service.ImportOptions(splits=Path(what.splits), labelled=what.labelled, link=True)
        service.import_scans(Path(what.data), path, options)
        service.plan_study(path, device="cpu", settings=what.plan)
    study, plan = Study.open(path), Plan.load(path / "plan.json")
    if plan.spatial_dims != 3:
        raise InputError(f"{what.data} holds 2D images; this compares with nnU-Net's 3d_fullres")
    cache_cases(study.labelled_cases(), plan, study.cache_dir)
    return study, plan


def run_ours(root: Path, what: Comparison, study: Study, scored: Study) -> dict[str, Any]:
    """Train and predict with our `supervised`; what is finished is not done again."""
    model = ModelFolder(study.model_dir(OURS))
    if not model.metrics().get("finished"):
        config = TrainConfig(method=OURS, minutes=what.minutes, seed=what.seed, device="cpu", validation_share=0.0)
        service.train(study, config, service.TrainRequest(name=OURS, resume=True))
    out = root / "predictions" / OURS
    missing = [case.name for case in scored.cases() if not (out / f"{case.name}.nii.gz").exists()]
    if missing:
        request = service.PredictRequest(only=missing, device="cpu", scales=what.scales)
        service.predict(model, scored.root / "imagesTr", out, request)
    plan, network = model.load()
    parameters = sum(tensor.numel() for tensor in network.parameters())
    told = {name: model.metrics()[name] for name in ("iterations", "seconds")}
    return {**told, "patch_vox": plan.patch_vox, "batch_size": plan.batch_size, "parameters": parameters}


def run_peer(root: Path, what: Comparison, peer: Peer, row: str, scored: Study) -> dict[str, Any]:
    """Train and predict with nnU-Net; what is finished is not done again."""
    configuration, result = PEERS[row], peer.root / f"{PEERS[row]}.json"
    if not result.exists():
        peer.ask("train", configuration, str(what.minutes), str(what.seed), str(result))
    out = root / "predictions" / configuration
    if any(not (out / f"{case.name}.nii.gz").exists() for case in scored.cases()):
        peer.ask("predict", configuration, str(scored.root / "imagesTr"), str(out))
    return read_json(result) or {}


def write_raw(study: Study, raw: Path) -> None:
    """Copy dataset.json and the labelled scans that it lists to where nnU-Net looks for a data set."""
    folder = raw / "Dataset001_Study"
    for case in study.labelled_cases():
        for path in (*case.image_paths, study.root / "labelsTr" / f"{case.name}.nii.gz"):
            copy_file(path, folder / path.parent.name / path.name)
    copy_file(study.root / "dataset.json", folder / "dataset.json")


def network_of(plan: Plan, study: Study) -> dict[str, Any]:
    """Our plan's batch, patch and network along the axes of the study's first file instead of those of RAS+."""
    orientation = read_geometry(study.labelled_cases()[0].image_paths[0]).to_canonical()

    def along_file(sizes: Sequence[int]) -> list[int]:
        return [int(sizes[axis]) for axis in orientation.target_axis]

    return {
        "batch_size": plan.batch_size,
        "patch_vox": along_file(plan.patch_vox),
        "features": list(plan.network.features),
        "kernels": [along_file(sizes) for sizes in plan.network.kernels],
        "strides": [along_file(sizes) for sizes in plan.network.strides],
    }


def score(root: Path, what: Comparison, row: str, told: dict[str, Any], scored: Study) -> Run:
    """Score the predictions of a row."""
    options = service.EvaluateOptions(nsd_mm=what.nsd_mm)
    scores = service.evaluate(root / "predictions" / PEERS.get(row, row), scored.root / "labelsTr", options)
    variant = Variant(name=row, method=row)
    cell = Cell(LabelBudget(scans=what.labelled), variant, what.seed, "minutes", what.minutes)
    return Run(cell, {**told, "device": "cpu", "rows": score_rows(scores)})


def page(what: Comparison, runs: dict[str, Run], threads: int) -> str:
    """The Markdown page: a row a method, and ours minus each of nnU-Net's below it."""
    heads = (
        "method",
        "Dice",
        f"NSD {what.nsd_mm:g} mm",
        "HD95 mm",
        "iterations",
        "minutes",
        "patch",
        "batch",
        "weights",
    )
    rows = [_row(name, run) for name, run in runs.items()]
    scans = len(runs[OURS].by_case("dice"))
    versions = {run.result["version"] for run in runs.values() if "version" in run.result}
    lines = [f"# {Path(what.data).name}: `{OURS}` and nnU-Net {', '.join(versions)}, {what.labelled} labelled", ""]
    lines += [f"{what.minutes:g} minutes of training each, preprocessing left out for both; {threads} threads of one "]
    lines[-1] += f"processor; last weights; {scans} scans of `test`; seed {what.seed}. Patches in the order of each "
    lines[-1] += "program's own axes. `nnU-Net small` has batch, patch, channels and strides of our plan."
    lines += ["", *markdown_table(heads, rows), ""]
    against = [name for name in runs if name != OURS]
    found = {name: paired_difference(runs[OURS].by_case("dice"), runs[name].by_case("dice")) for name in against}
    differences = [[f"`{OURS}` − `{name}`", *points(one)] for name, one in found.items()]
    lines += [*markdown_table(("difference in Dice points", *POINTS), differences), ""]
    lines += ["Paired by scan; bootstrap over scans; p of the two-sided Wilcoxon signed-rank test."]
    return "\n".join(lines) + "\n"


def _row(name: str, run: Run) -> list[str]:
    told = run.result
    scores = [f"{run.overall('dice'):.4f}", f"{run.overall('nsd'):.3f}", f"{run.overall('hd95_mm'):.2f}"]
    patch = "×".join(str(size) for size in told["patch_vox"])
    weights = f"{told['parameters'] / 1e6:.1f} M"
    minutes = f"{told['seconds'] / 60:.1f}"
    return [f"`{name}`", *scores, str(told["iterations"]), minutes, patch, str(told["batch_size"]), weights]


def compare(root: Path, what: Comparison, peer: Peer, small: bool) -> Path:
    """Run what is not finished, and write ``table.md``, ``cases.csv`` and ``results.json``; returns the first.

    Raises:
        MaskMatchError: what preparing, training, predicting or scoring raise.
    """
    study, plan = prepare(root, what)
    scored = scored_study(root / "scored", Path(what.data), Path(what.splits), what.scans)
    found = {OURS: run_ours(root, what, study, scored)}
    if not (peer.root / "preprocessed" / "done").exists():
        shutil.rmtree(peer.root / "preprocessed", ignore_errors=True)
        (peer.root / "preprocessed").mkdir(parents=True)
        write_raw(study, peer.root / "raw")
        write_json(peer.root / "network.json", network_of(plan, study))
        peer.ask("plan", str(peer.root / "network.json"))
    for row in list(PEERS)[: 1 + small]:
        found[row] = run_peer(root, what, peer, row, scored)
    runs = {row: score(root, what, row, told, scored) for row, told in found.items()}
    write_json(root / "results.json", {row: dict(run.result) for row, run in runs.items()})
    write_text(root / "cases.csv", cases_csv(list(runs.values())))
    write_text(root / "table.md", page(what, runs, peer.threads))
    return root / "table.md"


def main(words: Sequence[str] | None = None) -> int:
    """Read the command line, compare, and print the table."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    parser = argparse.ArgumentParser(prog="python -m benchmarks.nnunet", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("data", type=Path, help="nnU-Net or MSD data set of 3D scans")
    parser.add_argument("out", type=Path, help="folder of the comparison; the same command goes on in it")
    parser.add_argument("--splits", type=Path, required=True, help="JSON with label_order and test")
    parser.add_argument("--python", required=True, help="interpreter of the environment that nnunetv2 is installed in")
    parser.add_argument("--labelled", type=int, default=5, help="train on the first N of label_order")
    parser.add_argument("--minutes", type=float, default=15.0, help="of training, for each")
    parser.add_argument(
        "--small", action="store_true", help="also nnU-Net with our plan's batch, patch and network size"
    )
    parser.add_argument("--scans", type=int, help="score on the first N of test; on all by default")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--nsd-mm", type=float, default=1.0, help="tolerance of the surface Dice")
    parser.add_argument("--threads", type=int, default=int(os.environ.get("OMP_NUM_THREADS", cores)))
    add_scales(parser)
    parser.add_argument("--plan", action="append", metavar="KEY=VALUE", help="a value of our plan")
    args = parser.parse_args(words)
    torch.set_num_threads(args.threads)
    data, splits, root = (str(path.expanduser().resolve()) for path in (args.data, args.splits, args.out))
    told = (data, splits, args.labelled, args.minutes, args.seed, args.scans, args.nsd_mm)
    try:
        what = Comparison(*told, scales=numbers(args.scales), plan=pairs(args.plan))
        what.keep(Path(root))
        with FolderLock(Path(root) / "lock", "comparing with nnU-Net").held(timeout_s=0):
            table = compare(Path(root), what, Peer(args.python, Path(root) / "nnunet", args.threads), args.small)
    except MaskMatchError as error:
        print(error, file=sys.stderr)
        return 2
    print(table.read_text(encoding="utf-8"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
