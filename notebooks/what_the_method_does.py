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
# # What the method does
#
# MaskMatch lets a teacher label scans that nobody has labelled and holds a student to that on harder views. This
# notebook trains it on small pictures, stops four times on the way, and looks at what the teacher says and what the
# student is asked: views, masks, scales, confidence, gate. The equations are those of `docs/method.md`; every function
# called is the one that training calls.
#
# **Research use only. Not a medical device.**

# %%
import os
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.colors import ListedColormap
from PIL import Image

import maskmatch_med as mm
from maskmatch_med import views
from maskmatch_med.data.cache import cache_cases
from maskmatch_med.data.sampling import cut, cut_image
from maskmatch_med.methods import Objective, PseudoLabels, average_scales, confident_cross_entropy, parse_recipe
from maskmatch_med.methods.pseudo_labels import axis_factors, patch_probabilities, resized_patch
from maskmatch_med.nets import build_network
from maskmatch_med.phantom import LABEL_NAMES, make_phantom
from maskmatch_med.training.checkpoint import Checkpoint

work = Path(tempfile.mkdtemp())
# The tests set this share to run through quickly; what is shown below was made with all of it.
share = float(os.environ.get("MASKMATCH_NOTEBOOK_SHARE", "1"))

# %% [markdown]
# ## 1. A study in which the truth is known
#
# One axial slice each of generated abdomens, three with their label. The truth of the others is kept aside: training
# never sees it, but here it tells whether the teacher is right.

# %%
options = mm.PhantomOptions(shape=(96, 80, 16), seed=2)
(work / "slices").mkdir()
truth = {}
for index in range(max(8, round(14 * share))):
    volume, labels = make_phantom(options, index)
    turn = volume.geometry.to_canonical()
    image, labels = turn.apply(volume.array)[0], turn.apply(labels)
    z = int((labels > 0).sum((0, 1)).argmax())
    grey = np.clip(255 * image[:, :, z] / np.percentile(image[:, :, z], 99.5), 0, 255).astype(np.uint8)
    name = f"slice_{index:02d}"
    truth[name] = labels[:, :, z]
    Image.fromarray(grey.T[::-1, ::-1]).save(work / "slices" / f"{name}.png")
    if index < 3:
        Image.fromarray(labels[:, :, z].T[::-1, ::-1]).save(work / "slices" / f"{name}_mask.png")

mm.import_scans(work / "slices", work / "study", mm.ImportOptions(label_names=tuple(LABEL_NAMES)))
study = mm.Study.open(work / "study")
settings = {"patch_vox": [64, 64], "network.features": [8, 16, 32, 32], "mirror_axes": []}
settings |= {"network.kernels": [[3, 3]] * 4, "network.strides": [[1, 1], [2, 2], [2, 2], [2, 2]]}
plan, _ = mm.plan_study(study, "quick", "cpu", settings)
print(f"{len(study.cases())} slices, {len(study.labelled_cases())} labelled; patch {plan.patch_vox} pixels")

# %% [markdown]
# ## 2. Train, and stop on the way
#
# The unlabelled terms begin at t₀ = 0.4 of the run here (0.7 by default). `until` stops a training as if somebody had
# asked it to; the next call goes on from the same state, as though nothing had been. At each stop the teacher, the
# student and the gate's measurements are kept. The scales are the authors', farther apart than the defaults (0.8, 0.9
# and 1), and the gate forgives nothing (0.015 by default), so that there is something to see.

# %%
iterations = max(20, round(160 * share))
config = mm.TrainConfig(method="maskmatch", iterations=iterations, device="cpu", seed=0).override(
    {"optimiser.learning_rate": 4e-3, "unlabelled.start": 0.4, "unlabelled.ramp": 0.2}
    | {"pseudo_labels.scales": [0.7, 1.0, 1.5], "pseudo_labels.gate_margin": 0.0}
)
objective = Objective(parse_recipe("maskmatch"), plan, config)
moments = {}
for part in (0.1, 0.4, 0.6, 1.0):
    until = round(part * iterations)
    model = mm.train(study, config, mm.TrainRequest(resume=True, until=until))
    state = Checkpoint.load(model.state_path)
    student = build_network(plan).eval()
    student.load_state_dict(state.student)
    moments[until] = (model.load()[1], student, state.scale_counts)
print("stopped at the iterations", *moments)

# %% [markdown]
# ## 3. One patch, three views
#
# The **weak** view w of an unlabelled slice goes to the teacher. The student gets a **strong** view
# s = CutMix(intensity(w)) and a **masked** view m: w with a share ρ = 0.7 of a grid of patches hidden, filled with
# noise of the image's mean and deviation. (Training also turns and zooms w; here it is left straight, so that it can be
# held against the truth.)

# %%
names = [name for name in truth if study.case(name).label is None]
cases = {case.name: case for case in cache_cases(study.cases(), plan, study.cache_dir, lambda *_: None)}
straight = views.SpatialDraw.identity(1, 2)


def source_of(name):
    """The crop (1, 1, *source) that views are cut from: larger than the patch, around the middle of the slice."""
    middle = np.array(cases[name].image.shape[1:]) // 2
    return torch.from_numpy(cut_image(cases[name], middle, objective.source_vox))[None]


def truth_of(name):
    """The truth on the patch, (1, *patch); 255 outside the slice."""
    full = truth[name][None]
    return torch.from_numpy(cut(full, np.array(full.shape[1:]) // 2, plan.patch_vox, 255)).long()


def weak_of(name):
    return views.apply_spatial(source_of(name), straight, plan.patch_vox)


COLOURS = ListedColormap(["#56B4E9", "#E69F00", "#2FC495", "#E48BC0"])


def show(axes, picture=None, labels=None, title="", **how):
    """A picture (X, Y), and classes in colour over it: liver, spleen, kidneys, aorta."""
    if picture is not None:
        axes.imshow(np.asarray(picture).T[::-1, ::-1], **{"cmap": "gray", "interpolation": "nearest"} | how)
    if labels is not None:
        shown = np.ma.masked_where((np.asarray(labels) == 0) | (np.asarray(labels) == 255), labels).T[::-1, ::-1]
        axes.imshow(shown, cmap=COLOURS, vmin=1, vmax=4, alpha=0.65, interpolation="nearest")
    axes.set_title(title, fontsize=9)
    axes.set_axis_off()


pair = names[:2]
generator = torch.Generator().manual_seed(5)
weak = torch.cat([weak_of(name) for name in pair])
changed = views.apply_intensity(weak, views.draw_intensity(2, views.STRONG, generator))
cutmix = views.draw_cutmix(2, plan.patch_vox, 1.0, generator, (0.2, 0.4))
strong = views.apply_cutmix(changed, cutmix)
cell = views.mask_patch_vox(views.default_patch_mm(plan.patch_vox, plan.spacing_mm), plan.spacing_mm, plan.patch_vox)
figure, grid = plt.subplots(1, 6, figsize=(11, 2.1), layout="constrained")
show(grid[0], weak[0, 0], title="weak view w")
show(grid[1], strong[0, 0], title="strong view s")
for axes, ratio in zip(grid[2:], (0.3, 0.5, 0.7, 0.9), strict=True):
    drawn = torch.Generator().manual_seed(1)
    visible = views.draw_patch_mask(1, plan.patch_vox, cell, ratio, drawn)
    show(
        axes, views.apply_patch_mask(weak[:1], visible, config.masking.fill, drawn)[0, 0], title=f"masked, ρ = {ratio}"
    )
print(f"mask patches of {cell} pixels; ρ = {config.masking.ratio} is what training uses")

# %% [markdown]
# ## 4. Multi-scale pseudo-labels
#
# The teacher looks at the patch resized by r = 0.7, 1 and 1.5, padded to the network's stride: structures are smaller
# or larger than those that it was trained on, and its receptive field spans more of the patch or less. Each answer goes
# back to the grid of w, and those that the gate lets in (a_r) are averaged:
#
#     p = Σ_r a_r p_r / Σ_r a_r        ŷ = argmax p        c = max p

# %%
scales = objective.scales


def members_of(teacher, name):
    """p_r of every scale and where it has a value (everywhere), and what the teacher saw."""
    patch, seen, members = views.apply_spatial(source_of(name), straight, plan.patch_vox), {}, {}
    for scale in scales:
        factors = axis_factors(scale, plan.scaled_axes)
        seen[scale] = resized_patch(patch, factors, plan.network.divisor)
        members[scale] = patch_probabilities(teacher(seen[scale]), factors, plan.patch_vox)
    return members, seen


def pseudo_of(moment, name):
    """What the teacher of a moment says of a slice, over the scales that the gate lets in at that moment."""
    teacher, _, counts = moments[moment]
    objective.reliability.recall(counts)
    members, _ = members_of(teacher, name)
    return PseudoLabels.from_probabilities(average_scales(members, objective.scale_weights()), truth_of(name) != 255)


middle, last = list(moments)[2:]
members, seen = members_of(moments[middle][0], pair[0])
figure, grid = plt.subplots(3, 5, figsize=(11, 6.6), layout="constrained")
for column, scale in enumerate(scales):
    probabilities, inside = members[scale]
    confidence, labels = probabilities[0].max(0)
    shown = torch.where(inside[0, 0], labels, 255)
    show(grid[0, column], seen[scale][0, 0], title=f"patch at scale {scale:g}")
    show(grid[1, column], weak[0, 0], shown, title=f"argmax p_r, r = {scale:g}")
    show(
        grid[2, column],
        torch.where(inside[0, 0], confidence, torch.nan),
        title="max p_r",
        cmap="magma",
        vmin=0.3,
        vmax=1,
    )
mean = PseudoLabels.from_probabilities(average_scales(members, dict.fromkeys(scales, 1.0)), truth_of(pair[0]) != 255)
show(grid[1, 3], weak[0, 0], mean.labels[0], "argmax of the mean of all three")
show(grid[2, 3], mean.confidence[0], title="its confidence c", cmap="magma", vmin=0.3, vmax=1)
show(grid[1, 4], weak[0, 0], truth_of(pair[0])[0], "truth, kept aside")
answers = torch.stack([torch.where(members[r][1][0, 0], members[r][0][0].argmax(0), -1) for r in scales])
differ = ((answers != answers[1]) & (answers >= 0)).any(0)
show(grid[2, 4], differ, title="where scales disagree")
for axes in grid[0, 3:]:
    axes.set_axis_off()
print(f"iteration {middle}: the scales disagree on {100 * differ.float().mean():.0f} % of the pixels;")
wrong = (mean.labels != truth_of(pair[0]))[0]
print(f"there {100 * wrong[differ].float().mean():.0f} % of the mean's labels are wrong, elsewhere", end=" ")
print(f"{100 * wrong[~differ].float().mean():.0f} %; mean confidence {mean.confidence[0][differ].mean():.2f}", end=" ")
print(f"against {mean.confidence[0][~differ].mean():.2f}")

# %% [markdown]
# That is what the ensemble is for: where the scales disagree, the mean is less confident, and below the threshold such
# pixels are not taught.
#
# ## 5. The gate
#
# Away from the scale that it was trained at, a network may be worse, and its errors would become targets. Every 20
# iterations from t₀ on, the teacher is measured on labelled patches, D being the Dice. Nothing is mirrored in this
# study, so the rival of a scale is scale 1 alone:
#
#     a_1 = 1        a_r = 1  if  D((p_r + p_1) / 2) ≥ max(D(p_1) − margin, 0.1)  else  0        margin = 0 here

# %%
print("iteration   r    D(p_r)   D((p_r + p_1)/2)   needed   a_r")
for moment, (_, _, counts) in moments.items():
    objective.reliability.recall(counts)
    overlap, total = counts[:, :, 0, 1:], counts[:, :, 1, 1:]
    dice = (2 * overlap / total.clamp_min(1e-9)).mean(-1)
    for place, (scale, weight) in enumerate(objective.scale_weights().items()):
        if counts.any():
            paired, needed = float(dice[place, 1]), max(float(dice[len(scales) + 1 + place, 1]), 0.1)
            print(f"{moment:9} {scale:4g} {dice[place, 0]:8.3f} {paired:14.3f} {needed:13.3f} {weight:6g}")
        else:
            print(f"{moment:9} {scale:4g}      not measured yet {weight:26g}")

# %% [markdown]
# Before t₀ nothing is measured, and scale 1 speaks alone. These slices show no kidney in a label. The columns count it
# as a structure of Dice 0; the gate itself leaves a structure out that a scale neither predicts nor finds drawn. At
# iteration 96 scale 1.5 enters, whose mean with scale 1 is as good as scale 1, and 0.7 does not. At the end 1.5 is
# still let in although its columns are lower by 0.002: without the kidney, which it does not predict, they are not.
#
# ## 6. What the student is asked
#
# Both terms have one form, over the valid voxels V, with τ = 0.95; for the strong view, targets are mixed with the same
# box as the image:
#
#     L_strong = Σ_V 1[c ≥ τ] · CE(f(s), ŷ) / |V|        L_masked = Σ_V 1[c ≥ τ] · CE(f(m), ŷ) / |V|
#
# From left to right: the student's input, the target ŷ, the pixels that count, the student's answer, its
# cross-entropy where it counts.

# %%
threshold = config.pseudo_labels.threshold
both = [pseudo_of(middle, name) for name in pair]
parts = ("probabilities", "labels", "confidence", "valid")
told = PseudoLabels(*(torch.cat([getattr(one, part) for one in both]) for part in parts))
drawn = torch.Generator().manual_seed(1)
visible = views.draw_patch_mask(2, plan.patch_vox, cell, config.masking.ratio, drawn)
masked = views.apply_patch_mask(weak, visible, config.masking.fill, drawn)
asked = {"strong": (strong, told.mixed(cutmix)), "masked": (masked, told)}
figure, grid = plt.subplots(2, 5, figsize=(11, 4.6), layout="constrained")
for row, (term, (image, target)) in zip(grid, asked.items(), strict=True):
    with torch.no_grad():
        logits = moments[middle][1](image)
    counted = target.valid & (target.confidence >= threshold)
    loss = torch.nn.functional.cross_entropy(logits, target.labels, reduction="none") * counted
    show(row[0], image[0, 0], title=f"{term} view")
    show(row[1], weak[0, 0] * 0, target.labels[0], "target ŷ")
    show(row[2], counted[0], title="c ≥ τ", vmin=0, vmax=1)
    show(row[3], image[0, 0], logits[0].argmax(0), "student's answer")
    show(row[4], loss[0], title="its loss", cmap="magma", vmin=0, vmax=3)
    value = confident_cross_entropy(logits, target, threshold)
    print(f"{term}: L = {value:.3f}, {100 * counted.float().mean():.0f} % of the pixels count")

# %% [markdown]
# ## 7. The teacher over the run
#
# The same slice at the four stops. Last row: light grey: counted and right; red: counted and wrong; dark: not counted.

# %%
figure, grid = plt.subplots(3, 5, figsize=(10, 6.2), layout="constrained")
for column, moment in enumerate(moments):
    pseudo = pseudo_of(moment, pair[0])
    counted = (pseudo.confidence >= threshold)[0]
    wrong = (pseudo.labels != truth_of(pair[0]))[0]
    verdict = torch.full(counted.shape, 0) + counted * (1 + (wrong & counted))
    show(grid[0, column], weak[0, 0], pseudo.labels[0], f"iteration {moment}: ŷ")
    show(grid[1, column], pseudo.confidence[0], title="confidence c", cmap="magma", vmin=0.3, vmax=1)
    three = ListedColormap(["#303030", "#d0d0d0", "#D55E00"])
    show(grid[2, column], verdict, title="counted, right or wrong", cmap=three, vmin=0, vmax=2)
show(grid[0, 4], weak[0, 0], truth_of(pair[0])[0], "truth, kept aside")
for axes in grid[1:, 4]:
    axes.set_axis_off()

print("all slices without a label:")
print("iteration   pixels that count   of these right   structure pixels that count   of these right")
for moment in moments:
    rows = []
    for name in names:
        pseudo, right = pseudo_of(moment, name), truth_of(name)
        counted = pseudo.valid & (pseudo.confidence >= threshold)
        agrees, structure = pseudo.labels == right, pseudo.labels > 0
        rows.append([m.sum() for m in (pseudo.valid, counted, counted & agrees, structure & pseudo.valid)])
        rows[-1] += [(counted & structure).sum(), (counted & structure & agrees).sum()]
    valid, counted, right, structure, sure, sure_right = torch.tensor(rows).sum(0).tolist()
    shares = (counted / valid, right / max(counted, 1), sure / max(structure, 1), sure_right / max(sure, 1))
    print("{:9} {:15.0%} {:18.1%} {:21.0%} {:25.1%}".format(moment, *shares))

# %% [markdown]
# The spleen is called liver at all four; but there the teacher is less sure, and none of it counts. What counts grows
# over the run, to 15 % of the pixels, and 99 in 100 of it are right.
# Every training keeps such looks by itself, in `models/MODEL/microscope`; the app shows them while it runs.
#
# ## 8. Masked modelling
#
# To segment what it cannot see, a network must know what lies beside what. Each slice without a label is shown to the
# network with more and more of it hidden, and the answer is held against the truth of the whole slice: at t₀, when it
# had never seen a masked view, and at the end.


# %%
def dice_when_hidden(network, ratio):
    """Mean Dice over structures of all unlabelled slices together, with a share of each hidden."""
    generator = torch.Generator().manual_seed(7)
    overlap, total = torch.zeros(plan.classes), torch.zeros(plan.classes)
    for name in names:
        visible = views.draw_patch_mask(1, plan.patch_vox, cell, ratio, generator)
        with torch.no_grad():
            masked = views.apply_patch_mask(weak_of(name), visible, config.masking.fill, generator)
            found = network(masked).argmax(1)
        right = truth_of(name)
        for k in range(1, plan.classes):
            overlap[k] += ((found == k) & (right == k)).sum()
            total[k] += (found == k).sum() + (right == k).sum()
    return float((2 * overlap / total.clamp_min(1))[1:].mean())


ratios = (0.0, 0.3, 0.5, 0.7, 0.8, 0.9)
figure, axes = plt.subplots(figsize=(6, 3))
for moment, colour in zip(list(moments)[1::2], ("#D55E00", "#0072B2"), strict=True):
    values = [dice_when_hidden(moments[moment][0], ratio) for ratio in ratios]
    axes.plot(ratios, values, "o-", color=colour, label=f"iteration {moment}")
    print(f"iteration {moment}:", *(f"ρ = {ratio:g}: {value:.2f}" for ratio, value in zip(ratios, values, strict=True)))
axes.set(xlabel="share hidden ρ", ylabel="Dice with the truth", ylim=(0, 1))
_ = axes.legend(frameon=False)

# %% [markdown]
# After so short a run the network finds the liver and little else, so the mean over four structures stays near 0.2.
# With 70 % hidden it keeps 0.18 at t₀ and at the end, and with 90 % 0.15: that the network has been shown masked views
# meanwhile, at a tenth of the weight, makes no difference yet. Whether they make for better segmentations of whole
# scans is a question that one small run cannot answer: see `read_a_bench`, and `docs/results.md` for what was
# measured.
