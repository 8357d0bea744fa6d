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
# # Quickstart: pictures of your own, a few masks, a segmentation
#
# Forty pictures of brushed metal plates, six of them with a mask beside them. This notebook imports them, trains
# MaskMatch for about a minute, segments ten new plates and measures how well. The plates are generated, so that
# everything runs offline on one core; what is done to them is what you would do to pictures of anything.
#
# Everything here is also a command: `maskmatch import`, `train`, `predict`, `evaluate`.
#
# **Research use only. Not a medical device.**

# %%
import os
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import ListedColormap
from PIL import Image
from scipy.ndimage import gaussian_filter
from skimage.draw import ellipse, line_aa

import maskmatch_med as mm

work = Path(tempfile.mkdtemp())
# The tests set this share to run through quickly; what is shown below was made with all of it.
share = float(os.environ.get("MASKMATCH_NOTEBOOK_SHARE", "1"))

# %% [markdown]
# ## 1. Pictures and masks
#
# A plate has bright scratches and dark pits. Its brushed texture runs like a scratch and its stains are dark like a
# pit, so brightness alone tells neither. A mask is a PNG whose values are the classes: 0 background, 1 scratch,
# 2 pit.


# %%
def plate(index, size=96):
    """One picture (rows, columns) uint8 and its mask."""
    rng = np.random.default_rng(index)
    brushed = gaussian_filter(rng.normal(size=(size, size)), (0.6, 10))
    picture = 140 + 9 * brushed / brushed.std() + np.linspace(-20, 20, size) * rng.uniform(-1, 1)
    stains = np.zeros((size, size))
    stains[tuple(rng.integers(10, size - 10, (2, 3)))] = 1
    picture -= 30 * (stains := gaussian_filter(stains, 7)) / stains.max()
    mask = np.zeros((size, size), np.uint8)
    for _ in range(rng.integers(1, 3)):
        start, turn, length = rng.integers(15, size - 15, 2), rng.uniform(0, np.pi), rng.uniform(18, 34)
        end = np.clip(start + length * np.array([np.sin(turn), np.cos(turn)]), 2, size - 3).astype(int)
        rows, columns, strength = line_aa(*start, *end)
        drawn = np.zeros((size, size))
        drawn[rows, columns] = strength
        drawn = gaussian_filter(drawn, 1)
        picture += 60 * drawn / drawn.max()
        mask[drawn > 0.35 * drawn.max()] = 1
    for _ in range(rng.integers(2, 5)):
        inside = ellipse(
            *rng.integers(8, size - 8, 2), *rng.uniform(2.5, 6, 2), (size, size), rotation=rng.uniform(0, 3)
        )
        drawn = np.zeros((size, size))
        drawn[inside] = 1
        picture -= 45 * gaussian_filter(drawn, 0.8)
        mask[inside] = 2
    return np.clip(picture + rng.normal(0, 5, (size, size)), 0, 255).astype(np.uint8), mask


def save(array, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


for index in range(50):
    picture, mask = plate(index)
    name = f"plate_{index:02d}"
    if index < 40:
        save(picture, work / "plates" / f"{name}.png")
    else:
        save(picture, work / "new" / f"{name}.png")
        save(mask, work / "new_masks" / f"{name}.png")
    if index < 6:
        save(mask, work / "plates" / f"{name}_mask.png")
print(*sorted(path.name for path in (work / "plates").iterdir())[:4], "…", sep="\n")

# %% [markdown]
# ## 2. Import
#
# The folder becomes a study: every picture, each mask at its picture by its name.

# %%
mm.import_scans(work / "plates", work / "study", mm.ImportOptions(label_names=("scratch", "pit")))
study = mm.Study.open(work / "study")
print(f"{len(study.cases())} pictures, {len(study.labelled_cases())} of them with a mask")
print("classes:", study.label_names)

# %%
COLOURS = ("#56B4E9", "#E69F00")


def show(axes, picture, mask=None, title=""):
    """A grey picture, its classes in colour: scratches blue, pits orange."""
    axes.imshow(picture, cmap="gray", vmin=40, vmax=220, interpolation="nearest")
    if mask is not None:
        axes.imshow(np.ma.masked_equal(mask, 0), cmap=ListedColormap(COLOURS), vmin=1, vmax=2, interpolation="nearest")
    axes.set_title(title, fontsize=10)
    axes.set_axis_off()


figure, grid = plt.subplots(1, 6, figsize=(11, 2.1), layout="constrained")
for index in range(3):
    picture, mask = plate(index)
    show(grid[2 * index], picture, title=f"plate {index}")
    show(grid[2 * index + 1], picture, mask, "with its mask")

# %% [markdown]
# ## 3. Plan
#
# Patch, batch, network and normalisation follow from the pictures. The plan is a JSON file in the study that you may
# edit; training obeys it. Here the network is made smaller than planned, to be quick.

# %%
plan, _ = mm.plan_study(study, "quick", "cpu", {"network.features": [8, 16, 32, 32, 32]})
print(f"patch {plan.patch_vox} pixels, {plan.batch_size} a batch, mirrored along the axes {plan.mirror_axes}")
print(f"network features {plan.network.features}")

# %% [markdown]
# ## 4. Train
#
# The first 70 % of the run learn from the six masks alone. Then the 34 pictures without a mask join in: a teacher, the
# running average of the network, says what is where, and the network must say the same of harder views. For a real
# study leave the settings alone and give `minutes=30` in place of iterations.

# %%
config = mm.TrainConfig(method="maskmatch", iterations=max(10, int(240 * share)), device="cpu", seed=0)
config = config.override({"optimiser.learning_rate": 4e-3})
events = []
model = mm.train(study, config, mm.TrainRequest(report=events.append))
metrics = model.metrics()
print(f"{metrics['iterations']} iterations on {metrics['data']['labelled']} pictures with a mask", end=" ")
print(f"and {metrics['data']['unlabelled']} without")

# %% [markdown]
# Losses are logged every two seconds, one of the two terms on pictures without a mask a step, so the curves have as
# many points as the machine left time for.

# %%
figure, axes = plt.subplots(figsize=(7, 2.8))
for term, colour in (("supervised", "#0072B2"), ("strong", "#E69F00"), ("masked", "#009E73")):
    logged = [event for event in events if event["event"] == "train" and f"loss_{term}" in event]
    axes.plot([e["iteration"] for e in logged], [e[f"loss_{term}"] for e in logged], ".-", color=colour, label=term)
axes.set(xlabel="iteration", ylabel="loss")
_ = axes.legend(frameon=False)

# %% [markdown]
# ## 5. Predict and evaluate
#
# The ten new plates were in no study. Each prediction is written as NIfTI and, for pictures, as PNG of the size of its
# picture.

# %%
written = mm.predict(model, work / "new", work / "out", mm.PredictRequest(device="cpu", uncertainty=True))
print(f"{len(written)} plates segmented, such as {written[0].name} and {written[0].name.replace('.nii.gz', '.png')}")

scores = mm.evaluate(work / "out", work / "new_masks")
for name, part in zip(("scratch", "pit"), scores.by_class(), strict=True):
    least = min(row.dice for row in scores.of_class(part.name))
    print(f"{name:8} Dice {part.metrics['dice'].mean:.2f}, in the worst plate {least:.2f}")
print(f"mean     Dice {scores.mean_dice:.2f} over {len(scores.cases)} plates")

# %% [markdown]
# ## 6. Look
#
# A mean hides what went wrong: look at the worst, the middle and the best. The last column is where the network was
# unsure, white most; it is known without a mask, and review goes by it. In the worst plate a stain beside the scratch
# was taken for a pit, and the network was unsure there; elsewhere it was unsure mostly along outlines.

# %%
dice = scores.case_dice()
ranked = sorted(dice, key=dice.get)
figure, grid = plt.subplots(3, 4, figsize=(8.4, 6.6), layout="constrained")
for row, (name, what) in zip(grid, ((ranked[0], "worst"), (ranked[5], "middle"), (ranked[-1], "best")), strict=True):
    picture, truth = (np.asarray(Image.open(work / folder / f"{name}.png")) for folder in ("new", "new_masks"))
    found = mm.read_volume(work / "out" / f"{name}.nii.gz").array[0, :, :, 0].T
    unsure = mm.read_volume(work / "out" / f"{name}_uncertainty.nii.gz").array[0, :, :, 0].T
    show(row[0], picture, title=f"{what}: {name}")
    show(row[1], picture, truth, "its mask")
    show(row[2], picture, found, f"found, Dice {dice[name]:.2f}")
    row[3].imshow(unsure, cmap="gray", interpolation="nearest")
    row[3].set_title("unsure", fontsize=10)
    row[3].set_axis_off()

# %% [markdown]
# Next: `your_own_scans` goes the same way with volumes and adds review and correction; `what_the_method_does` looks
# inside the training.
