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
# # A loss and a recipe of your own
#
# A recipe is a name for terms; a term makes one view for the student and says what the answer to it is held to. This
# notebook writes a loss, tests it, makes a term and a recipe of it in some thirty lines, and trains with it beside
# `supervised` and `fixmatch`.
#
# **Research use only. Not a medical device.**

# %%
import os
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from PIL import Image
from scipy.ndimage import gaussian_filter
from skimage.data import binary_blobs
from torch.nn import functional

import maskmatch_med as mm
from maskmatch_med import views
from maskmatch_med.methods import RECIPES, PseudoLabels, Recipe, confident_cross_entropy
from maskmatch_med.methods.terms import TERMS, Task

work = Path(tempfile.mkdtemp())
# The tests set this share to run through quickly; what is shown below was made with all of it.
share = float(os.environ.get("MASKMATCH_NOTEBOOK_SHARE", "1"))

# %% [markdown]
# ## 1. The idea
#
# FixMatch's loss counts a pixel wholly where the teacher's confidence c reaches τ = 0.95, and not at all below:
# L = Σ_V 1[c ≥ τ] · CE / |V|. Ours lets trust grow with confidence instead, from 0 where the teacher merely guesses
# (c = 1/K for K classes) to 1 where it is certain:
#
#     L = Σ_V t(c) · CE(logits, ŷ) / |V|        t(c) = ((c − 1/K) / (1 − 1/K))^γ


# %%
def trusted_cross_entropy(logits, pseudo, gamma=4.0):
    """Cross-entropy with the teacher's label, weighed by trust: logits (B, K, *spatial) to a scalar."""
    classes = logits.shape[1]
    trust = ((pseudo.confidence - 1 / classes) / (1 - 1 / classes)).clamp(0, 1) ** gamma
    per_voxel = functional.cross_entropy(logits.float(), pseudo.labels, reduction="none")
    return (per_voxel * trust * pseudo.valid).sum() / pseudo.valid.sum().clamp_min(1)


confidence = np.linspace(0.5, 1, 200)
figure, axes = plt.subplots(figsize=(5, 2.6))
axes.plot(confidence, confidence >= 0.95, color="#E69F00", label="fixmatch, τ = 0.95")
for gamma, style in ((1, "dotted"), (4, "solid"), (16, "dashed")):
    axes.plot(confidence, (2 * confidence - 1) ** gamma, color="#0072B2", ls=style, label=f"trust, γ = {gamma}")
axes.set(xlabel="confidence c of two classes", ylabel="weight of a pixel")
_ = axes.legend(frameon=False, fontsize=8)

# %% [markdown]
# ## 2. Test it where a hand can count
#
# Two pixels and two classes, logits 0, so the cross-entropy is ln 2 at both. One pixel is certain (trust 1), one a
# guess (trust 0): the mean is ln 2 / 2. A third pixel, outside the scan, changes nothing. The gradient pulls towards ŷ
# where there is trust, and nowhere else.

# %%
probabilities = torch.tensor([[[1.0, 0.5, 1.0]], [[0.0, 0.5, 0.0]]]).permute(1, 0, 2)
told = PseudoLabels.from_probabilities(probabilities, valid=torch.tensor([[True, True, False]]))
logits = torch.zeros(1, 2, 3, requires_grad=True)
loss = trusted_cross_entropy(logits, told)
loss.backward()
np.testing.assert_allclose(loss.item(), np.log(2) / 2, rtol=1e-6)
print("loss", round(loss.item(), 4), "= ln 2 / 2; gradient of the first class:", logits.grad[0, 0].tolist())
print("fixmatch's loss of the same:", round(confident_cross_entropy(logits, told, 0.95).item(), 4))

# %% [markdown]
# ## 3. The term and the recipe
#
# `Lesson` holds what a term may use: the weak view, the teacher's pseudo-labels of it, the labelled view, the progress.
# `task` returns the student's input and the loss of its logits. Randomness comes from the given generator alone, so
# that a resumed run is the same run. The ramp, the teacher, the optimiser, checkpoints and logs are there already.


# %%
class TrustedView:
    """Weak to strong as in FixMatch, held by trust instead of a threshold."""

    def __init__(self, plan, config, recipe):
        self.cutmix_probability, self.scaled_axes = config.unlabelled.cutmix_probability, plan.scaled_axes
        self.weight = 1.0

    def task(self, lesson, generator):
        weak = lesson.weak
        strong = views.apply_intensity(weak, views.draw_intensity(len(weak), views.STRONG, generator), self.scaled_axes)
        cutmix = views.draw_cutmix(len(weak), weak.shape[2:], self.cutmix_probability, generator)
        target = lesson.pseudo.mixed(cutmix)
        return Task(views.apply_cutmix(strong, cutmix), lambda logits: trusted_cross_entropy(logits, target))


TERMS["trusted"] = TrustedView
RECIPES["trusted"] = Recipe("trusted", ("trusted",))

# %% [markdown]
# The two entries hold in this process. The app, `maskmatch train` and `maskmatch bench` train in processes of their own
# and know what stands in `maskmatch_med/methods/`: to have it there, put the loss into a file of its own, the term into
# `terms.py` and the recipe into `recipes.py`. There is no way yet to name a recipe from outside the package. A setting
# of its own, such as γ, needs a field of `TrainConfig`; here it is an argument.
#
# ## 4. Pictures
#
# Cell-like blobs of scikit-image, blurred, noisy and lit unevenly: 24 to learn from, two with a mask, ten to test on.


# %%
def cells(index, size=64):
    """A picture (rows, columns) uint8 and its mask, 1 in a cell."""
    rng = np.random.default_rng(index)
    mask = binary_blobs(size, blob_size_fraction=0.16, volume_fraction=0.3, rng=index)
    light = np.linspace(-1, 1, size) * rng.uniform(-45, 45) + np.linspace(-1, 1, size)[:, None] * rng.uniform(-45, 45)
    picture = 90 + rng.uniform(25, 50) * gaussian_filter(mask.astype(float), 1) + light
    return np.clip(picture + rng.normal(0, 14, (size, size)), 0, 255).astype(np.uint8), mask.astype(np.uint8)


for folder in ("cells", "test", "test_masks"):
    (work / folder).mkdir()
for index in range(34):
    picture, mask = cells(index)
    Image.fromarray(picture).save(work / ("cells" if index < 24 else "test") / f"cell_{index:02d}.png")
    if index < 2:
        Image.fromarray(mask).save(work / "cells" / f"cell_{index:02d}_mask.png")
    elif index >= 24:
        Image.fromarray(mask).save(work / "test_masks" / f"cell_{index:02d}.png")

mm.import_scans(work / "cells", work / "study", mm.ImportOptions(label_names=("cell",)))
settings = {"patch_vox": [48, 48], "network.features": [8, 16, 32]}
settings |= {"network.kernels": [[3, 3]] * 3, "network.strides": [[1, 1], [2, 2], [2, 2]]}
_ = mm.plan_study(work / "study", "quick", "cpu", settings)

# %% [markdown]
# ## 5. Train
#
# The recipe's name is its method, and additions work on it as on any other (`trusted+masked`, `trusted+multiscale`).
# All three see the same labels, seed and number of iterations; in the first half of the run labels alone teach.

# %%
scores, shown = {}, {}
for method in ("supervised", "fixmatch", "trusted"):
    config = mm.TrainConfig(method=method, iterations=max(8, round(100 * share)), device="cpu", seed=0)
    config = config.override({"optimiser.learning_rate": 4e-3, "unlabelled.start": 0.5})
    model = mm.train(work / "study", config)
    mm.predict(model, work / "test", work / "out" / method, mm.PredictRequest(device="cpu"))
    scores[method] = mm.evaluate(work / "out" / method, work / "test_masks").case_dice()
    print(f"{method:10} Dice {np.mean(list(scores[method].values())):.3f}")

# %%
name = min(scores["trusted"], key=scores["trusted"].get)
figure, grid = plt.subplots(1, 5, figsize=(10.5, 2.4), layout="constrained")
picture, truth = (np.asarray(Image.open(work / folder / f"{name}.png")) for folder in ("test", "test_masks"))
grid[0].imshow(picture, cmap="gray")
grid[0].set_title(f"{name}, trusted's worst", fontsize=9)
grid[1].imshow(truth, cmap="gray", interpolation="nearest")
grid[1].set_title("its mask", fontsize=9)
for axes, (method, dice) in zip(grid[2:], scores.items(), strict=True):
    found = mm.read_volume(work / "out" / method / f"{name}.nii.gz").array[0, :, :, 0].T
    axes.imshow(found, cmap="gray", interpolation="nearest")
    axes.set_title(f"{method}, Dice {dice[name]:.2f}", fontsize=9)
for axes in grid:
    axes.set_axis_off()

# %% [markdown]
# One seed, two labels and ten small pictures say that the recipe trains; they do not say which of the three is better.
# That takes seeds, paired differences and an interval: see `read_a_bench`.
