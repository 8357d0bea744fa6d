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
# # Quickstart: from a few labels to a segmentation
#
# This notebook generates a small study, shows what the network sees, trains MaskMatch for about a minute and
# compares the result with the truth. The scans are invented, coarse and few, so that it all runs on one core; the
# scores say nothing about real data. Everything here is also a command: `maskmatch import`, `train`, `predict`,
# `evaluate`.
#
# **Research use only. Not a medical device.**

# %%
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.colors import ListedColormap

import maskmatch_med as mm

work = Path(tempfile.mkdtemp())

# %% [markdown]
# ## 1. Scans
#
# Ten scans of invented abdomens: eight to learn from, two to test on. Only five of the eight come with a label. The
# folder has nnU-Net's layout; your own nnU-Net, MSD, NIfTI or picture folder would do as well.

# %%
options = mm.PhantomOptions(scans=8, labelled=5, test=2, shape=(32, 26, 22))
source = mm.write_phantom(work / "source", options)
mm.import_scans(source, work / "study", mm.ImportOptions(splits=source / "splits.json", labelled=5))
study = mm.Study.open(work / "study")
print(f"{len(study.cases())} scans in the study, {len(study.labelled_cases())} of them labelled")
print("structures:", ", ".join(name for name, value in study.label_names.items() if value))

# %% [markdown]
# One slice of the first scan, and the label that belongs to it. Arrays are in file order (X, Y, Z); `upright` turns a
# slice so that the front of the body is up.

# %%
CLASSES = ListedColormap(["#56B4E9", "#E69F00", "#2FC495", "#E48BC0"])


def upright(array, orientation, z=None):
    """One axial slice (rows, columns) of an (X, Y, Z) array."""
    turned = orientation.apply(array)
    return turned[:, :, turned.shape[2] // 2 if z is None else z].T[::-1, ::-1]


def show(axes, picture, labels=None, title=""):
    """A grey picture, its structures in colour."""
    axes.imshow(picture, cmap="gray", interpolation="nearest")
    if labels is not None:
        axes.imshow(np.ma.masked_equal(labels, 0), cmap=CLASSES, vmin=1, vmax=4, alpha=0.6, interpolation="nearest")
    axes.set_title(title, fontsize=10)
    axes.set_axis_off()


case = study.labelled_cases()[0]
scan, label = case.read_image(), case.read_label()
canonical = scan.geometry.to_canonical()
figure, (left, right) = plt.subplots(1, 2, figsize=(7, 3.2))
show(left, upright(scan.array[0], canonical), title="scan")
show(right, upright(scan.array[0], canonical), upright(label.array, canonical), "with its label")

# %% [markdown]
# ## 2. The plan
#
# Spacing, patch, normalisation and network follow from the scans. The plan is a JSON file that you may edit.

# %%
plan, path = mm.plan_study(study, device="cpu")
print(f"spacing {plan.spacing_mm} mm, patch {plan.patch_vox} voxels, batch {plan.batch_size}")
print(f"network features {plan.network.features}")

# %% [markdown]
# ## 3. What the student and the teacher see
#
# The teacher looks at the **weak** view of an unlabelled scan and says what is where. The student must say the same
# of two harder views: the **strong** one, with intensities changed and a box of another scan pasted in (CutMix), and
# the **masked** one, in which 70 % of the scan is hidden. Two finer scans show it better than the coarse ones above.

# %%
from maskmatch_med import views
from maskmatch_med.config import SpatialConfig
from maskmatch_med.phantom import make_phantom

generator = torch.Generator().manual_seed(3)
patch_vox, spacing_mm = (80, 60, 24), (4.0, 4.0, 8.0)
always = SpatialConfig(rotation_probability=1, zoom_probability=1)
fine = mm.PhantomOptions(shape=(80, 64, 24), seed=1)


def normalised(index):
    """A generated scan (1, 1, *vox), turned to RAS+, with mean 0 and deviation 1."""
    volume, _ = make_phantom(fine, index)
    image = np.ascontiguousarray(volume.geometry.to_canonical().apply(volume.array))
    return torch.from_numpy((image - image.mean()) / image.std())[None]


def views_of(scans, draw):
    """One view (B, 1, *patch_vox) of each scan."""
    return torch.cat([views.apply_spatial(scan, draw(), patch_vox) for scan in scans])


scans = [normalised(0), normalised(1)]
whole = views_of(scans, lambda: views.SpatialDraw.identity(1, 3))
weak = views_of(scans, lambda: views.draw_spatial(1, spacing_mm, (), always, generator))
changed = views.apply_intensity(weak, views.draw_intensity(len(weak), views.STRONG, generator))
strong = views.apply_cutmix(changed, views.draw_cutmix(len(weak), patch_vox, 1.0, generator, (0.25, 0.4)))
cell = views.mask_patch_vox(views.default_patch_mm(patch_vox, spacing_mm), spacing_mm, patch_vox)
masked = views.apply_patch_mask(weak, views.draw_patch_mask(len(weak), patch_vox, cell, 0.7, generator))

shown = {"scan": whole, "weak": weak, "strong, with CutMix": strong, "masked": masked}
figure, grid = plt.subplots(2, 4, figsize=(11, 4.4), layout="constrained")
for row in range(2):
    for axes, (title, batch) in zip(grid[row], shown.items(), strict=True):
        show(axes, batch[row, 0, :, :, patch_vox[2] // 2].T.flip(0, 1), title=title if row == 0 else "")

# %% [markdown]
# ## 4. Train
#
# A hundred and twenty iterations are far too few for a good model, but enough to see it learn; the unlabelled scans
# join in after 40 % of them. For a real study give `minutes=30` or more and leave the other settings alone.

# %%
brief = mm.TrainConfig(method="maskmatch", iterations=120, device="cpu", seed=0).override(
    {"optimiser.learning_rate": 4e-3, "unlabelled.start": 0.4, "unlabelled.ramp": 0.4}
)
log = []
model = mm.train(study, brief, mm.TrainRequest(report=log.append))
steps = [event for event in log if event["event"] == "train"]
figure, axes = plt.subplots(figsize=(7, 3))
for term in ("supervised", "strong", "masked"):
    logged = [event for event in steps if f"loss_{term}" in event]
    axes.plot([e["iteration"] for e in logged], [e[f"loss_{term}"] for e in logged], label=term, marker=".")
axes.set_xlabel("iteration")
axes.set_ylabel("loss")
_ = axes.legend(frameon=False)

# %% [markdown]
# The strong and masked losses count confident voxels only (probability of at least 0.95): they are small as long as
# the teacher is sure of little.
#
# ## 5. Predict and compare
#
# The two test scans have never been seen. Every segmentation lies on its scan's own grid.

# %%
names = ["phantom_008", "phantom_009"]
mm.predict(model, source / "imagesTr", work / "out", mm.PredictRequest(only=names, device="cpu"))
evaluation = mm.evaluate(work / "out", source)
for part in evaluation.by_class():
    print(f"{part.name:8} Dice {part.metrics['dice'].mean:.2f}")
print(f"mean     Dice {evaluation.mean_dice:.2f}")

# %% [markdown]
# Solid lines are the prediction, dashed white ones the reference.

# %%
figure, grid = plt.subplots(1, 2, figsize=(9, 4))
for axes, name in zip(grid, names, strict=True):
    scan = mm.read_volume(source / "imagesTr" / f"{name}_0000.nii.gz")
    canonical = scan.geometry.to_canonical()
    found, truth = (
        mm.read_volume(folder / f"{name}.nii.gz").array[0] for folder in (work / "out", source / "labelsTr")
    )
    z = int((canonical.apply(truth) > 0).sum(axis=(0, 1)).argmax())
    show(axes, upright(scan.array[0], canonical, z), title=name)
    for value in range(1, 5):
        for mask, colour, style in ((found, CLASSES.colors[value - 1], "solid"), (truth, "white", "dashed")):
            inside = upright(mask, canonical, z) == value
            if inside.any():
                axes.contour(inside, [0.5], colors=[colour], linestyles=style, linewidths=1.5)

# %% [markdown]
# Next: `make demo` trains `supervised` and `maskmatch` side by side on larger scans and writes a report;
# `docs/method.md` explains each term.
