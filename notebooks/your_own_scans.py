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
# # Scans of your own, from import to review
#
# Eleven NIfTI volumes, three of them with a label. This notebook imports them, trains, segments the rest, and then
# does what matters most: it looks at the case that review puts first, corrects it, keeps the correction as a new
# version of the label, trains on and exports. The scans are generated; put a folder of your own in their place.
#
# The app does the same with a mouse (`maskmatch app`); both work on the same study folder.
#
# **Research use only. Not a medical device.**

# %%
import os
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import ListedColormap

import maskmatch_med as mm
from maskmatch_med import service
from maskmatch_med.io import write_map
from maskmatch_med.phantom import LABEL_NAMES, make_phantom

work = Path(tempfile.mkdtemp())
# The tests set this share to run through quickly; what is shown below was made with all of it.
share = float(os.environ.get("MASKMATCH_NOTEBOOK_SHARE", "1"))

# %% [markdown]
# ## 1. A folder of scans
#
# `scans/NAME.nii.gz`, and `scans/masks/NAME.nii.gz` for those that have a label. The truth of the others is kept aside
# for two purposes: it plays the reader who corrects, and it tells afterwards whether review pointed the right way.

# %%
options = mm.PhantomOptions(shape=(32, 26, 22))
truth = {}
for index in range(max(6, round(11 * share))):
    scan, labels = make_phantom(options, index)
    name = f"patient_{index:02d}"
    truth[name] = labels
    write_map(work / "scans" / f"{name}.nii.gz", scan.array[0], scan.geometry)
    if index < 3:
        mm.write_segmentation(work / "scans" / "masks" / f"{name}.nii.gz", labels, scan.geometry)

summary = mm.import_scans(work / "scans", work / "study", mm.ImportOptions(label_names=tuple(LABEL_NAMES)))
study = mm.Study.open(work / "study")
print(f"{len(summary.added)} scans added, {len(summary.labelled)} with a label")
print("structures:", ", ".join(LABEL_NAMES))
for name in list(truth)[:3]:
    geometry = study.case(name).read_image().geometry
    spacing = " × ".join(f"{value:.1f}" for value in geometry.spacing_mm)
    print(f"{name}: {geometry.shape} voxels of {spacing} mm, stored {geometry.axis_codes}")

# %% [markdown]
# Every scan keeps its own grid. Training resamples to one spacing and turns each scan alike; predictions come back on
# the grid of their scan.
#
# ## 2. Plan and train
#
# The liver lies on the right and the spleen on the left, so nothing may be mirrored. Small patches are quick.

# %%
settings = {"mirror_axes": [], "patch_vox": [16, 16, 16], "network.features": [12, 24, 24]}
settings |= {"network.kernels": [[3] * 3] * 3, "network.strides": [[1] * 3, [2] * 3, [2] * 3]}
plan, _ = mm.plan_study(study, "quick", "cpu", settings)
for name, value in service.describe_plan(plan)[:-2]:
    print(f"{name:20} {value}")

config = mm.TrainConfig(method="maskmatch", iterations=max(10, round(120 * share)), device="cpu", seed=0)
config = config.override({"optimiser.learning_rate": 4e-3})
first = mm.train(study, config, mm.TrainRequest(name="first"))

# %% [markdown]
# ## 3. Segment the rest
#
# Predictions lie in the study, in `predictions/MODEL/`, where review finds them.


# %%
def segment(model):
    """Predict every scan without a complete label, with its uncertainty."""
    rest = [case.name for case in study.cases() if case.judged != "complete"]
    request = mm.PredictRequest(only=rest, uncertainty=True, device="cpu")
    mm.predict(model, study.root / "imagesTr", study.predictions_dir / model.root.name, request)
    return rest


def true_dice(name, found):
    """Mean Dice over the structures; only generated scans let one know it."""
    right = truth[name]
    pairs = [(found == k, right == k) for k in range(1, len(LABEL_NAMES) + 1)]
    return float(np.mean([2 * (a & b).sum() / (a.sum() + b.sum()) for a, b in pairs]))


rest = segment(first)
print(f"{len(rest)} scans segmented")

# %% [markdown]
# ## 4. Review: what needs eyes most
#
# Each segmentation is held against where the model is unsure, the model's other segmentations and the labelled scans.
# Doubts add up to a number that orders and is no probability. The last column is what a real study does not have.

# %%
queue = service.review_queue(study)
print("doubt  scan        why" + " " * 73 + "true Dice")
for item in queue:
    found = service.predicted_labels(study, item.case, item.model)
    reason = item.reason if len(item.reason) < 75 else item.reason[:72] + "…"
    print(f"{item.score:5.2f}  {item.case}  {reason:75} {true_dice(item.case, found):.2f}")

# %% [markdown]
# After so short a training all segmentations are poor, and nearly all doubts are high. The two best come last here; the
# poorest stands fifth, not first. So the order helps to begin with what is likely wrong, and is no reason to accept
# unseen what comes last.

# %%
CLASSES = ListedColormap(["#56B4E9", "#E69F00", "#2FC495", "#E48BC0"])


def upright(array, name, z):
    """One axial slice (rows, columns) of an (X, Y, Z) array of a scan, the front of the body up."""
    turned = study.case(name).read_image().geometry.to_canonical().apply(array)
    return turned[:, :, z].T[::-1, ::-1]


def show(axes, name, z, labels=None, title=""):
    """A slice of a scan, structures in colour: liver, spleen, kidneys, aorta."""
    axes.imshow(upright(study.case(name).read_image().array[0], name, z), cmap="gray", interpolation="nearest")
    if labels is not None:
        shown = np.ma.masked_equal(upright(labels, name, z), 0)
        axes.imshow(shown, cmap=CLASSES, vmin=1, vmax=4, alpha=0.6, interpolation="nearest")
    axes.set_title(title, fontsize=9)
    axes.set_axis_off()


def fullest(name):
    turned = study.case(name).read_image().geometry.to_canonical().apply(truth[name])
    return int((turned > 0).sum((0, 1)).argmax())


figure, grid = plt.subplots(2, 4, figsize=(9.5, 4.4), layout="constrained")
for row, (item, what) in zip(grid, ((queue[0], "first in the queue"), (queue[-1], "last")), strict=True):
    found = service.predicted_labels(study, item.case, item.model)
    folder = study.predictions_dir / item.model
    unsure = mm.read_volume(folder / f"{item.case}_uncertainty.nii.gz").array[0]
    z = fullest(item.case)
    show(row[0], item.case, z, title=f"{what}: {item.case}")
    show(row[1], item.case, z, found, "segmentation")
    row[2].imshow(upright(unsure, item.case, z), cmap="magma", vmin=0, vmax=1, interpolation="nearest")
    row[2].set_title("uncertainty", fontsize=9)
    row[2].set_axis_off()
    show(row[3], item.case, z, truth[item.case], "truth, kept aside")

# %% [markdown]
# ## 5. Correct the first of the queue
#
# A correction begins with the segmentation laid under a draft. What is painted is saved with the revision that it goes
# on from, so that two windows never overwrite each other. Completing the scan says that every voxel has been looked at,
# and makes a version.

# %%
worst = queue[0].case
service.begin_correction(study, worst, "first", author="reader")
draft = service.open_draft(study, worst)
print(f"begun from {draft.model}, {draft.judged.mean():.0%} of the voxels judged")

painted, judged = draft.labels.copy(), draft.judged.copy()
wrong = painted != truth[worst]
painted[wrong], judged[wrong] = truth[worst][wrong], True
revision = service.save_strokes(study, worst, draft.revision, painted, judged, "reader")
service.complete_scan(study, worst, revision, "reader")
print(f"{wrong.sum()} of {wrong.size} voxels painted over")

label = study.case(worst).label
print(f"label of {worst}: {label.source}, by {label.author}, complete: {label.complete}")
print("true Dice of the label now:", true_dice(worst, study.case(worst).read_label().array))

# %% [markdown]
# Versions are never overwritten: `history/` keeps every one, and `restore_version` brings one back. A segmentation that
# is good as it is, is accepted; one that cannot be saved, rejected with a reason. Only ever after a look.

# %%
service.reject_prediction(study, queue[1].case, "first", "to be labelled from scratch", "reader")
left = service.review_queue(study)
print(f"{len(queue)} segmentations waited, {len(left)} wait now")
print("to label next:", service.next_to_label(study))

# %% [markdown]
# ## 6. Train on
#
# The second model begins with the weights of the first and learns from the corrected label as well.

# %%
shorter = config.model_copy(update={"iterations": max(10, round(80 * share))})
second = mm.train(study, shorter, mm.TrainRequest(name="second", start_from=first.root))
both = segment(second)
print("scan        first  second")
gains = []
for name in both:
    dice = [true_dice(name, service.predicted_labels(study, name, model)) for model in ("first", "second")]
    gains.append(dice[1] - dice[0])
    print(f"{name} {dice[0]:6.2f} {dice[1]:7.2f}")
print(f"mean change {np.mean(gains):+.3f}; better on {sum(gain > 0 for gain in gains)} of {len(gains)} scans")

# %% [markdown]
# The second model had one label more and a longer training in all; which of the two made the difference, this does not
# tell. In the queue, its segmentations are now also compared with those of the first.
#
# ## 7. Export
#
# Labels as NIfTI, with the names of the classes and where each file comes from; voxels that nobody judged are 255. With
# `model="second"` the order also takes that model's segmentations of the scans without a label.

# %%
files = mm.export_study(study, work / "export", service.ExportOrder(format="nifti"))
print(*sorted(path.relative_to(work / "export").as_posix() for path in files), sep="\n")
