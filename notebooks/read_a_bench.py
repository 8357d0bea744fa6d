# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Read a benchmark
#
# `maskmatch bench` trains recipes side by side, each in a process of its own, and scores them on the same scans. This
# notebook runs a tiny one, then reads what it wrote: the scores of each scan, paired differences with an interval and
# a test, and curves. The command would be
#
#     maskmatch bench DATA OUT --splits DATA/splits.json --labelled 2,6 --recipes supervised,maskmatch --seeds 0 …
#
# A benchmark of some seconds a training says nothing about the recipes. It shows how to read one that does.
#
# **Research use only. Not a medical device.**

# %%
import csv
import os
import tempfile
from collections import defaultdict
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import maskmatch_med as mm
from maskmatch_med.bench import Design, LabelBudget, Variant, write_results
from maskmatch_med.bench.cell import run_cell
from maskmatch_med.bench.prepare import prepare_study
from maskmatch_med.bench.statistics import paired_difference
from maskmatch_med.training import read_log

work = Path(tempfile.mkdtemp())
# The tests set this share to run through quickly; what is shown below was made with all of it.
share = float(os.environ.get("MASKMATCH_NOTEBOOK_SHARE", "1"))

# %% [markdown]
# ## 1. Run it
#
# Eight generated scans to learn from and ten to test on; two label counts, two recipes, one seed: four trainings,
# called cells. The folder keeps what is finished: killed at any moment, the same command goes on, and a later one may
# add recipes, seeds or label counts. The command, and `run_bench` beneath it, start a process a cell, some on each
# device; to save the starts, the cells run in this process here.

# %%
counts, seeds = (2, 6) if share == 1 else (2,), (0,)
options = mm.PhantomOptions(scans=8, labelled=6, test=10, shape=(24, 22, 18))
data = mm.write_phantom(work / "data", options)
design = Design(
    data=data,
    splits=data / "splits.json",
    labelled=tuple(LabelBudget(scans=count) for count in counts),
    variants=(Variant.parse("supervised"), Variant.parse("maskmatch")),
    seeds=seeds,
    iterations=max(10, round(160 * share)),
    preset="quick",
    settings={"optimiser.learning_rate": "4e-3", "unlabelled.start": "0.5"},
    plan={
        "mirror_axes": "[]",
        "patch_vox": "[16, 16, 16]",
        "network.features": "[8, 16, 16]",
        "network.kernels": "[[3, 3, 3], [3, 3, 3], [3, 3, 3]]",
        "network.strides": "[[1, 1, 1], [2, 2, 2], [2, 2, 2]]",
    },
)
root = work / "bench"
design.keep_in(root)
for labelled in design.labelled:
    prepare_study(root, design, labelled, lambda *_: None)
for cell in design.cells():
    run_cell(root, design, cell, "cpu", stop_requested=lambda: False)
write_results(root, design)
print(*sorted(path.name for path in root.iterdir() if path.name != "lock"))

# %% [markdown]
# ## 2. One row a training and scan
#
# `cases.csv` holds everything that the tables are made of. Seconds and device are in it too; they differ from run to
# run and are left out here.

# %%
with (root / "cases.csv").open(encoding="utf-8") as stream:
    rows = list(csv.DictReader(stream))
columns = ("labelled", "recipe", "seed", "case", "dice", "hd95_mm", *list(rows[0])[-4:-2])
print(f"{len(rows)} rows; the first of them:\n")
print(*(f"{column:>11}" for column in columns))
for row in rows[:4]:
    print(*(f"{row[column]:>11}" for column in columns))

# %% [markdown]
# ## 3. The table
#
# The unit of every statement is a scan, so each scan's scores are averaged over the seeds first; what another seed
# would change stands apart, as the score of each seed. Here there is one. (`table.md` holds the same; its Dice is the
# mean over structures of their means over scans.)

# %%
by_scan = defaultdict(lambda: defaultdict(list))
by_seed = defaultdict(list)
for row in rows:
    group = int(row["labelled"]), row["recipe"]
    by_scan[group][row["case"]].append(float(row["dice"]))
    by_seed[*group, row["seed"]].append(float(row["dice"]))
dice = {group: {case: float(np.mean(values)) for case, values in cases.items()} for group, cases in by_scan.items()}
print("labelled   recipe       Dice    sd over scans   of each seed")
for (labelled, recipe), cases in dice.items():
    of_seeds = [np.mean(values) for (count, name, _), values in by_seed.items() if (count, name) == (labelled, recipe)]
    spread = np.std(list(cases.values()), ddof=1)
    print(f"{labelled:8}   {recipe:11} {np.mean(list(cases.values())):6.3f} {spread:12.3f}      ", end="")
    print(*(f"{value:.3f}" for value in of_seeds))

# %% [markdown]
# After so short a run the networks find the liver and next to nothing of the other three structures, so the means stay
# below 0.19. Six labels are better than two by less than one Dice point; scans differ from each other by two to three.
#
# ## 4. Paired differences
#
# Scans differ more from each other than recipes do, but both recipes predicted the same scans, so the difference is
# taken scan by scan. The 95 % interval is the bootstrap's: the scans are drawn with replacement ten thousand times, and
# the middle 95 % of the means are kept. Wilcoxon's signed-rank test asks whether differences as lopsided as these would
# come by chance if neither recipe were better.

# %%
print("maskmatch − supervised, Dice points")
differences = {}
for count in counts:
    one, other = dice[count, "maskmatch"], dice[count, "supervised"]
    differences[count] = np.array([100 * (one[case] - other[case]) for case in one])
    found = paired_difference(one, other)
    interval = f"{100 * found.low:+.2f} to {100 * found.high:+.2f}"
    better = int((differences[count] > 0).sum())
    print(f"{count} labelled: {100 * found.mean:+.2f}, 95 % interval {interval}, Wilcoxon p {found.p:.2g},", end=" ")
    print(f"maskmatch better on {better} of {found.n} scans")

figure, grid = plt.subplots(1, len(counts), figsize=(4.6 * len(counts), 3), layout="constrained", squeeze=False)
for axes, (count, values) in zip(grid[0], differences.items(), strict=True):
    drawn = np.random.default_rng(0).integers(0, len(values), (10_000, len(values)))
    means = values[drawn].mean(1)
    low, high = np.quantile(means, [0.025, 0.975])
    axes.hist(means, 60, color="#56B4E9")
    axes.axvspan(low, high, color="#56B4E9", alpha=0.2)
    axes.plot(values, np.full(len(values), -0.06 * axes.get_ylim()[1]), "|", color="#D55E00", ms=12)
    axes.axvline(0, color="black", lw=1)
    axes.set(title=f"{count} labelled: bootstrap means, scans below", xlabel="difference in Dice points", yticks=[])

# %% [markdown]
# How to read it. An interval that holds 0 leaves the sign open. One that does not speaks of scans like these and of
# models trained with these seeds: the bootstrap draws scans and knows nothing of seeds, so ask for three or more and
# look at the score of each as well. p is not corrected: of twenty comparisons without any difference one is expected
# below 0.05.
#
# Both intervals above hold 0, and both differences are a hundredth of a Dice point. Where an interval leaves 0 out and
# p does not follow, where a difference is too small to matter, or where there is one seed, take it for no result.
#
# ## 5. Learning curves: more labels, more iterations
#
# Left: Dice by label count. Right: the supervised loss over the run, from each training's `log.jsonl`,
# which is written every two seconds; `figures/` in the benchmark's folder holds more such curves and pictures of the
# worst, the middle and the best scan.

# %%
colours = {"supervised": "#E69F00", "maskmatch": "#0072B2"}
figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
for recipe, colour in colours.items():
    for seed in seeds:
        values = [np.mean(by_seed[count, recipe, str(seed)]) for count in counts]
        left.plot(counts, values, "o-", color=colour, lw=1, label=recipe if seed == seeds[0] else None)
for cell in design.cells():
    log = read_log(root / "studies" / str(cell.labelled) / "models" / cell.key / "log.jsonl")
    kept = [line for line in log if "loss_supervised" in line]
    style = "o-" if cell.labelled.scans == counts[0] else "s--"
    right.plot(
        [line["iteration"] for line in kept],
        [line["loss_supervised"] for line in kept],
        style,
        color=colours[cell.variant.name],
        lw=1,
        ms=3,
    )
left.set(xlabel="labelled scans", ylabel="Dice on the test scans", xticks=counts)
right.set(xlabel="iteration", ylabel="supervised loss")
_ = left.legend(frameon=False)

# %% [markdown]
# The axis on the left spans less than one Dice point. Dashed on the right: the larger label count; the losses are alike
# here. A training loss that is lower with fewer labels would be no sign of a better model: fewer labels are easier to
# learn by heart. How many points a line has depends on the machine.
#
# The benchmarks behind the README's figures are read in the same way in `docs/results.md`.
