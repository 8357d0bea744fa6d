"""One step of every recipe, recomputed from the recorded inputs and outputs of the networks."""

from __future__ import annotations

import math
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from maskmatch_med.config import TrainConfig
from maskmatch_med.methods import Batch, EMATeacher, Objective, StepLosses, parse_recipe
from maskmatch_med.methods import objective as objective_module
from maskmatch_med.methods import terms as terms_module
from maskmatch_med.methods.terms import Lesson
from maskmatch_med.nets import Pair
from maskmatch_med.planning.plan import Plan
from maskmatch_med.views.intensity import IntensityStrength

Array = NDArray[np.float64]
Build = Callable[..., Any]
RECIPES = [
    "supervised",
    "mean-teacher",
    "ua-mt",
    "fixmatch",
    "unimatch",
    "cps",
    "bcp",
    "supervised+masked",
    "maskmatch",
    "maskmatch+masked-labelled+entropy-weighting+copy-paste",
    "cps+masked+multiscale",
]
DIMS = pytest.mark.parametrize("dims", [2, 3])
NO_INTENSITY = IntensityStrength(*[(0.0, (0.5, 1.0))] * 6)
STILL = {"spatial.rotation_probability": 0.0, "spatial.zoom_probability": 0.0}
CONFIDENT = {
    "pseudo_labels.threshold": 0.0,
    "unlabelled.start": 0.15,
    "unlabelled.ramp": 0.25,
    "unlabelled.one_term_a_step": False,
    "pseudo_labels.scales": (0.7, 1.0, 1.5),
}


class Recorder(nn.Module):
    """A network that remembers what it was shown and what it said."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.seen: list[Tensor] = []
        self.said: list[Tensor] = []

    def forward(self, image: Tensor) -> Tensor:
        self.seen.append(image.detach().clone())
        output: Tensor = self.network(image)
        self.said.append(output.detach().clone())
        return output


def pair_of(plan: Plan, first: nn.Module, second: nn.Module) -> Pair:
    pair = Pair(plan)
    pair.members = nn.ModuleList([first, second])
    return pair


class Stage:
    """A plan, a student, its teacher (different weights), and batches for one recipe."""

    def __init__(self, builders: tuple[Build, Build, Build], recipe: str, dims: int, **plan: Any) -> None:
        make_plan, make_net, self._make_batch = builders
        self.recipe = parse_recipe(recipe)
        self.plan: Plan = make_plan(dims, **plan)
        nets = [make_net(self.plan, seed) for seed in range(4)]
        if self.recipe.networks == 2:
            nets = [pair_of(self.plan, *nets[:2]), pair_of(self.plan, *nets[2:])]
        self.student: nn.Module = nets[0].train()
        self.teacher = EMATeacher(nets[1], 0.99)

    def objective(self, **values: Any) -> Objective:
        return Objective(self.recipe, self.plan, TrainConfig().override(CONFIDENT | values))

    def batch(self, objective: Objective, **values: Any) -> Batch:
        batch: Batch = self._make_batch(self.plan, objective.source_vox, **values)
        return batch

    def step(
        self, objective: Objective, batch: Batch, *, progress: float = 0.9, seed: int = 0, student: Any = None
    ) -> StepLosses:
        generator = torch.Generator().manual_seed(seed)
        return objective.step(student or self.student, self.teacher.network, batch, generator, progress)


@pytest.fixture
def stage(tiny_plan: Build, tiny_net: Build, tiny_batch: Build) -> Callable[..., Stage]:
    def build(recipe: str, dims: int, **plan: Any) -> Stage:
        return Stage((tiny_plan, tiny_net, tiny_batch), recipe, dims, **plan)

    return build


@pytest.fixture
def no_intensity(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(objective_module, "LABELLED", NO_INTENSITY)
    monkeypatch.setattr(terms_module, "STRONG", NO_INTENSITY)


def gradients(network: nn.Module) -> Tensor:
    return torch.cat([(p.grad if p.grad is not None else torch.zeros_like(p)).flatten() for p in network.parameters()])


def copy_of(network: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in network.state_dict().items()}


def values_of(losses: StepLosses) -> dict[str, float]:
    return {name: float(part.detach()) for name, part in losses.parts.items()} | {"total": float(losses.total.detach())}


def centre(tensor: Tensor, patch: tuple[int, ...]) -> Tensor:
    sides = tensor.shape[-len(patch) :]
    return tensor[(..., *[slice((s - p) // 2, (s - p) // 2 + p) for s, p in zip(sides, patch, strict=True)])]


def softmax(logits: Tensor) -> Array:
    raised = np.exp(logits.double().numpy() - logits.double().numpy().max(1, keepdims=True))
    return np.asarray(raised / raised.sum(1, keepdims=True))


def entropy_at(probabilities: Array, labels: NDArray[np.int64]) -> Array:
    return -np.log(np.take_along_axis(probabilities, labels[:, None], 1)[:, 0])


@DIMS
@pytest.mark.parametrize("recipe", RECIPES)
def test_a_step_moves_the_student_and_never_the_teacher(recipe: str, dims: int, stage: Callable[..., Stage]) -> None:
    case = stage(recipe, dims)
    objective = case.objective()
    objective.reliability.counts += 1
    student, teacher = copy_of(case.student), copy_of(case.teacher.network)
    optimiser = torch.optim.SGD(case.student.parameters(), lr=0.1)
    case.step(objective, case.batch(objective)).total.backward()  # type: ignore[no-untyped-call]
    assert all(parameter.grad is None for parameter in case.teacher.network.parameters())
    optimiser.step()
    assert any(not torch.equal(student[name], value) for name, value in case.student.state_dict().items())
    assert all(torch.equal(teacher[name], value) for name, value in case.teacher.network.state_dict().items())
    assert not case.teacher.network.training


@DIMS
@pytest.mark.parametrize(
    ("recipe", "term"),
    [
        ("maskmatch", "strong"),
        ("maskmatch", "masked"),
        ("mean-teacher", "mean_teacher"),
        ("ua-mt+multiscale", "certain"),
        ("unimatch", "second_strong"),
        ("unimatch+multiscale", "feature"),
        ("cps+multiscale", "cross"),
        ("bcp+multiscale", "paste"),
        ("maskmatch+masked-labelled", "masked_labelled"),
        ("fixmatch+entropy-weighting", "strong"),
    ],
)
@pytest.mark.parametrize("mode", ["window", "resize"])
def test_each_term_alone_moves_the_student(
    recipe: str, term: str, mode: str, dims: int, stage: Callable[..., Stage]
) -> None:
    case = stage(recipe, dims)
    objective = case.objective(**{"pseudo_labels.scale_mode": mode, "pseudo_labels.gate": False})
    losses = case.step(objective, case.batch(objective))
    losses.parts[term].backward()  # type: ignore[no-untyped-call]
    assert all(p.grad is not None and p.grad.isfinite().all() for p in case.student.parameters())
    first = next(case.student.parameters())
    assert first.grad is not None
    assert first.grad.abs().max() > 1e-6, "the first layer feels nothing"
    assert all(parameter.grad is None for parameter in case.teacher.network.parameters())


@DIMS
@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("progress", [0.0, 0.14, 0.15, 0.2, 0.275, 0.9])
def test_total_is_the_weighted_ramped_sum(recipe: str, progress: float, dims: int, stage: Callable[..., Stage]) -> None:
    case = stage(recipe, dims)
    weights = {"strong": 0.6, "masked": 0.3, "mean_teacher": 7.0, "feature": 0.2, "cross": 1.3, "paste": 0.7}
    weights["masked_labelled"] = 0.4
    objective = case.objective(**{f"unlabelled.{name}_weight": w for name, w in weights.items()})
    weights |= {"certain": weights["mean_teacher"]}
    if recipe == "unimatch":
        weights |= {"strong": 0.25 * 0.6, "second_strong": 0.25 * 0.6, "feature": 0.5 * 0.2}
    found = values_of(case.step(objective, case.batch(objective), progress=progress))
    share = min(1.0, (progress - 0.15) / 0.25)
    ramp = math.exp(-5 * (1 - share) ** 2) if progress >= 0.15 else 0.0
    active = case.recipe.terms if progress >= 0.15 else ()
    assert set(found) == {"total", "supervised", *active, *(["confident"] if active else [])}
    expected = found["supervised"] + ramp * sum(weights[name] * found[name] for name in active)
    assert found["total"] == pytest.approx(expected, rel=1e-5)
    assert all(found[name] > 0 for name in active)


@DIMS
def test_one_term_a_step_takes_turns_and_weighs_as_much(dims: int, stage: Callable[..., Stage]) -> None:
    case = stage("maskmatch", dims)
    weights, drawn = {"strong": 0.5, "masked": 0.3}, []
    given = {f"unlabelled.{name}_weight": weight for name, weight in weights.items()}
    objective = case.objective(**{"unlabelled.one_term_a_step": True}, **given)
    batch = case.batch(objective)
    for seed in range(12):
        found = values_of(case.step(objective, batch, progress=0.9, seed=seed))
        (name,) = set(found) & set(weights)
        assert found["total"] == pytest.approx(found["supervised"] + 2 * weights[name] * found[name], rel=1e-5)
        drawn.append(name)
    assert set(drawn) == set(weights)


@DIMS
@pytest.mark.parametrize("recipe", ["mean-teacher", "maskmatch"])
def test_before_the_start_only_labels_count(recipe: str, dims: int, stage: Callable[..., Stage]) -> None:
    case = stage(recipe, dims)
    objective = case.objective()
    recorder = Recorder(case.student)
    assert not objective.uses_unlabelled(0.149)
    assert objective.uses_unlabelled(0.15)
    batch = case.batch(objective)
    early = values_of(case.step(objective, batch, progress=0.1, student=recorder))
    assert [len(seen) for seen in recorder.seen] == [2]
    assert early["total"] == early["supervised"]
    plain = stage("supervised", dims)
    if objective.source_vox == plain.objective().source_vox:
        assert values_of(plain.step(plain.objective(), batch, progress=0.9)) == early


@DIMS
@pytest.mark.parametrize("recipe", ["supervised", "maskmatch"])
def test_unlabelled_scans_matter_to_all_but_supervised(recipe: str, dims: int, stage: Callable[..., Stage]) -> None:
    case = stage(recipe, dims)
    objective = case.objective()
    batch = case.batch(objective)
    other = Batch(batch.labelled, batch.labels, batch.unlabelled * 2 + 1, batch.inside, batch.cases)
    first, second = values_of(case.step(objective, batch)), values_of(case.step(objective, other))
    assert first["supervised"] == pytest.approx(second["supervised"], abs=1e-6)
    assert (abs(first["total"] - second["total"]) < 1e-6) == (recipe == "supervised")


@DIMS
def test_a_batch_without_unlabelled_scans_trains_on_labels(dims: int, stage: Callable[..., Stage]) -> None:
    case = stage("maskmatch", dims)
    objective = case.objective()
    found = values_of(case.step(objective, case.batch(objective, unlabelled=0)))
    assert found["total"] == found["supervised"] > 0


@DIMS
@pytest.mark.parametrize("recipe", RECIPES)
def test_a_seed_repeats_a_step_bit_for_bit(recipe: str, dims: int, stage: Callable[..., Stage]) -> None:
    found = []
    for seed in (3, 3, 4):
        torch.manual_seed(len(found))
        case = stage(recipe, dims)
        objective = case.objective()
        losses = case.step(objective, case.batch(objective), seed=seed)
        losses.total.backward()  # type: ignore[no-untyped-call]
        found.append((values_of(losses), gradients(case.student)))
    assert found[0][0] == found[1][0]
    assert torch.equal(found[0][1], found[1][1])
    assert found[0][0] != found[2][0]


@DIMS
@pytest.mark.parametrize("held_to", ["all", "visible"])
@pytest.mark.usefixtures("no_intensity")
def test_the_masked_and_the_strong_term_are_the_formulas(dims: int, stage: Callable[..., Stage], held_to: str) -> None:
    """Every view is the untouched centre of its crop, so all can be recomputed from what the networks said."""
    case = stage("fixmatch+masked", dims)
    told = {"unlabelled.cutmix_probability": 0.0, "pseudo_labels.threshold": 0.42}
    told |= {"masking.held_to": held_to, "masking.fill": "mean"}
    objective = case.objective(**STILL, **told)
    batch, patch = case.batch(objective), case.plan.patch_vox
    student = Recorder(case.student)
    found = values_of(case.step(objective, batch, student=student))
    assert len(student.seen) == 1, "one forward for all views"
    labelled, strong, masked = student.seen[0].split([2, 3, 3])
    out_strong, out_masked = student.said[0].split([2, 3, 3])[1:]
    weak = centre(batch.unlabelled, patch)
    assert torch.allclose(labelled, centre(batch.labelled, patch), atol=1e-5)
    assert torch.allclose(strong, weak, atol=1e-5)
    mean = weak.mean(tuple(range(2, weak.ndim)), keepdim=True)
    kept, filled = (masked - weak).abs() < 1e-5, (masked - mean).abs() < 1e-5
    assert (kept | filled).all()
    assert float((~kept).double().mean()) == pytest.approx(0.7, abs=0.02)
    with torch.no_grad():
        teacher = softmax(case.teacher.network(weak))
    confidence, labels = teacher.max(1), teacher.argmax(1)
    valid = centre(batch.inside, patch)[:, 0].numpy()
    counted = valid & (confidence >= 0.42)
    assert 0 < counted.sum() < valid.sum() < valid.size
    everywhere = np.ones_like(valid)
    held = everywhere if held_to == "all" else kept.all(1).numpy()
    for name, output, where in (("strong", out_strong, everywhere), ("masked", out_masked, held)):
        expected = (entropy_at(softmax(output), labels) * (counted & where)).sum() / (valid & where).sum()
        assert found[name] == pytest.approx(expected, rel=1e-3)
    assert found["confident"] == pytest.approx(counted.sum() / valid.sum(), abs=2e-3)


@DIMS
@pytest.mark.usefixtures("no_intensity")
def test_the_mean_teacher_term_is_the_formula(dims: int, stage: Callable[..., Stage]) -> None:
    case = stage("mean-teacher", dims)
    objective = case.objective(**STILL)
    batch, patch = case.batch(objective), case.plan.patch_vox
    student = Recorder(case.student)
    found = values_of(case.step(objective, batch, student=student))
    weak = centre(batch.unlabelled, patch)
    noise = (student.seen[0][2:] - weak).numpy()
    assert 0.07 < noise.std() < 0.11
    assert np.abs(noise).max() <= 0.2 + 1e-5
    with torch.no_grad():
        teacher = softmax(case.teacher.network(weak))
    squares = ((softmax(student.said[0][2:]) - teacher) ** 2).mean(1)
    valid = centre(batch.inside, patch)[:, 0].numpy()
    assert found["mean_teacher"] == pytest.approx(squares[valid].mean(), rel=1e-4)


@DIMS
@pytest.mark.usefixtures("no_intensity")
def test_cutmix_gives_strong_view_and_target_the_same_box(dims: int, stage: Callable[..., Stage]) -> None:
    """A teacher that reads its label off the image: wherever the strong view comes from, label and image agree."""

    class Reader(nn.Module):
        def forward(self, image: Tensor) -> Tensor:
            return torch.cat([torch.zeros_like(image), 30 * image, torch.full_like(image, -60.0)], 1)

    case = stage("fixmatch", dims)
    objective = case.objective(**STILL, **{"unlabelled.cutmix_probability": 1.0})
    batch = case.batch(objective)
    valid = torch.ones_like(batch.inside)
    batch = Batch(batch.labelled, batch.labels, batch.unlabelled.sign(), valid, batch.cases)
    generator = torch.Generator().manual_seed(0)
    weak, pseudo = objective.teach(Reader(), batch, generator)
    sure = weak.abs() > 0.5
    assert torch.equal(pseudo.labels[:, None][sure] == 1, weak[sure] > 0)
    lesson = Lesson(weak, pseudo, Reader(), weak, pseudo.labels, 0.9)
    task = objective.terms["strong"].task(lesson, generator)
    assert not torch.equal(task.image, weak)
    assert float(task.loss(Reader()(task.image))) < 0.5, "the answer that agrees with the mixed view costs little"
    assert float(task.loss(Reader()(weak))) > 1, "the answer to the unmixed view does not fit the mixed targets"


@DIMS
def test_label_and_image_stay_together_and_unjudged_stays_unjudged(
    dims: int, stage: Callable[..., Stage], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(objective_module, "LABELLED", NO_INTENSITY)
    case = stage("supervised", dims, spacing_mm=(1.0, 1.0, 2.0)[:dims], mirror_axes=tuple(range(dims)))
    wild = {"spatial.rotation_probability": 1.0, "spatial.rotation_degrees": 90.0, "spatial.zoom_probability": 1.0}
    objective = case.objective(**wild)
    shape = objective.source_vox
    offsets = np.stack(np.meshgrid(*[np.arange(n) - (n - 1) / 2 for n in shape], indexing="ij"))
    ramp = offsets[0] + 0.5 * offsets[1]
    label = np.select([ramp > 3, ramp < -3], [2, 255], 0).astype(np.uint8)
    batch = Batch(
        torch.from_numpy(ramp.astype(np.float32))[None, None].repeat(4, *[1] * (dims + 1)),
        torch.from_numpy(label)[None].repeat(4, *[1] * dims),
        torch.zeros(0),
        torch.zeros(0),
        (),
    )
    image, labels = objective.labelled_view(batch, torch.Generator().manual_seed(1))
    assert labels.dtype == torch.uint8
    assert set(np.unique(labels.numpy())) <= {0, 2, 255}
    found, seen = labels.numpy(), image[:, 0].numpy()
    border = np.abs(np.abs(seen) - 3) < 1.2
    outside_or_unjudged = found == 255
    assert (seen[found == 2] > 3 - 1.2).all()
    assert (np.abs(seen[found == 0]) < 3 + 1.2).all()
    assert outside_or_unjudged[(seen < -3) & ~border].all()
    assert {0, 2, 255} == set(np.unique(found))


@DIMS
def test_beyond_the_scan_nothing_is_judged_and_nothing_valid(dims: int, stage: Callable[..., Stage]) -> None:
    case = stage("fixmatch", dims)
    far = {"spatial.rotation_probability": 1.0, "spatial.rotation_degrees": 90.0}
    objective = case.objective(**far, **{"spatial.zoom": (1.0, 1.0)})
    assert objective.source_vox == case.plan.patch_vox
    ones = torch.ones(3, 1, *objective.source_vox)
    batch = Batch(ones, torch.zeros(3, *objective.source_vox, dtype=torch.uint8), ones, ones > 0, ())
    image, labels = objective._labelled_patch(batch, objective._draw(3, torch.Generator().manual_seed(2)))
    assert (labels[image[:, 0] < 0.5**dims - 0.01] == 255).all()
    assert (labels[image[:, 0] > 0.99] == 0).all()
    assert (labels == 255).any()
    weak, pseudo = objective.teach(case.teacher.network, batch, torch.Generator().manual_seed(2))
    assert not pseudo.valid[weak[:, 0] < 0.5**dims - 0.01].any()
    assert pseudo.valid[weak[:, 0] > 0.99].all()


@DIMS
def test_nothing_judged_leaves_a_supervised_step_without_gradient(dims: int, stage: Callable[..., Stage]) -> None:
    case = stage("supervised", dims)
    objective = case.objective()
    batch = case.batch(objective)
    blank = Batch(batch.labelled, torch.full_like(batch.labels, 255), batch.unlabelled, batch.inside, batch.cases)
    losses = case.step(objective, blank)
    losses.total.backward()  # type: ignore[no-untyped-call]
    assert values_of(losses)["total"] == 0
    assert not gradients(case.student).any()


@DIMS
@pytest.mark.usefixtures("no_intensity")
def test_image_under_unjudged_voxels_reaches_the_loss_through_the_network_only(
    dims: int, stage: Callable[..., Stage]
) -> None:
    """With a network of 1×1 kernels, what lies under unjudged voxels cannot matter at all."""
    case = stage("supervised", dims)
    objective = case.objective(**STILL)
    batch = case.batch(objective)
    changed = batch.labelled.clone()
    changed[:, 0][batch.labels == 255] += 50
    conv = nn.Conv2d if dims == 2 else nn.Conv3d
    torch.manual_seed(0)
    pointwise = conv(1, 3, 1)
    found = []
    for image in (batch.labelled, changed):
        pointwise.zero_grad()
        one = Batch(image, batch.labels, batch.unlabelled, batch.inside, batch.cases)
        losses = case.step(objective, one, student=pointwise)
        losses.total.backward()  # type: ignore[no-untyped-call]
        found.append((values_of(losses)["total"], gradients(pointwise)))
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-5)
    assert torch.allclose(found[0][1], found[1][1], atol=1e-4)


def dice_ce(logits: Tensor, labels: Tensor) -> Tensor:
    """Dice + CE written anew, class by class over a list of judged voxels."""
    judged = labels != 255
    p = torch.softmax(logits, 1).movedim(1, -1)[judged]
    y = labels[judged].long()
    entropy = -p[torch.arange(len(y)), y].log().mean()
    scores = [
        (2 * p[y == k, k].sum() + 1e-5) / (p[:, k].sum() + (y == k).sum() + 1e-5) for k in range(1, logits.shape[1])
    ]
    return entropy + 1 - torch.stack(scores).mean()


@DIMS
@pytest.mark.parametrize("deep", [False, True])
@pytest.mark.usefixtures("no_intensity")
def test_weights_after_one_supervised_step(dims: int, deep: bool, stage: Callable[..., Stage]) -> None:
    case = stage("supervised", dims, deep_supervision=deep)
    objective = case.objective(**STILL)
    batch, patch = case.batch(objective), case.plan.patch_vox
    twin = deepcopy(case.student)
    output = twin(centre(batch.labelled, patch))
    labels = centre(batch.labels, patch)
    if deep:
        assert output.shape[1] == 2
        loss = (1.0 * dice_ce(output[:, 0], labels) + 0.5 * dice_ce(output[:, 1], labels)) / 1.5
    else:
        loss = dice_ce(output, labels)
    parameters = list(twin.parameters())
    slopes = torch.autograd.grad(loss, parameters)
    expected = [p.detach() - 0.05 * g for p, g in zip(parameters, slopes, strict=True)]
    optimiser = torch.optim.SGD(case.student.parameters(), lr=0.05)
    losses = case.step(objective, batch)
    losses.total.backward()  # type: ignore[no-untyped-call]
    optimiser.step()
    assert values_of(losses)["total"] == pytest.approx(float(loss.detach()), rel=1e-5)
    moved = 0.0
    for before, wanted, found in zip(parameters, expected, case.student.parameters(), strict=True):
        assert torch.allclose(found, wanted, atol=1e-6)
        moved = max(moved, float((wanted - before.detach()).abs().max()))
    assert moved > 1e-3


@DIMS
def test_deep_supervision_of_the_full_recipe_uses_the_first_head(dims: int, stage: Callable[..., Stage]) -> None:
    case = stage("maskmatch", dims, deep_supervision=True)
    objective = case.objective(**{"pseudo_labels.gate": False})
    student = Recorder(case.student)
    found = case.step(objective, case.batch(objective), student=student)
    assert student.said[0].ndim == dims + 3
    found.total.backward()  # type: ignore[no-untyped-call]
    assert gradients(case.student).isfinite().all()
    assert values_of(found)["masked"] > 0


@DIMS
@pytest.mark.parametrize("mode", ["window", "resize"])
def test_the_gate_decides_which_scales_the_teacher_is_asked_at(
    dims: int, mode: str, stage: Callable[..., Stage]
) -> None:
    case = stage("maskmatch", dims)
    objective = case.objective(**{"pseudo_labels.scale_mode": mode})
    batch = case.batch(objective)
    teacher = Recorder(case.teacher.network)
    generator = torch.Generator().manual_seed(0)
    objective.teach(teacher, batch, generator)
    assert [len(seen) for seen in teacher.seen] == [3], "nothing measured: scale 1 alone"
    teacher.seen.clear()
    objective.measure_scales(teacher, batch, generator)
    assert [len(seen) for seen in teacher.seen] == ([6] if mode == "window" else [2, 2, 2])
    assert set(objective.reliability.dice()) == {"0.7", "1", "1.5", "ensemble"}
    teacher.seen.clear()
    objective.teach(teacher, batch, generator)
    speak = sum(w > 0 for w in objective.scale_weights().values())
    assert [len(seen) for seen in teacher.seen] == ([3 * speak] if mode == "window" else [3] * speak)
    if mode == "window":
        assert teacher.seen[0].shape[2:] == case.plan.patch_vox


@DIMS
@pytest.mark.usefixtures("no_intensity")
def test_multiscale_targets_are_the_mean_over_scales(dims: int, stage: Callable[..., Stage]) -> None:
    """A pointwise teacher on a smooth ramp says the same at every scale, so the mean is what scale 1 says."""

    class Ramp(nn.Module):
        def forward(self, image: Tensor) -> Tensor:
            return torch.cat([torch.zeros_like(image), 0.3 * image, -0.3 * image], 1)

    case = stage("maskmatch", dims)
    objective = case.objective(**{"pseudo_labels.gate": False, "spatial.zoom": (1.0, 1.2)})
    shape = objective.source_vox
    ramp = torch.arange(shape[0], dtype=torch.float32) - (shape[0] - 1) / 2
    scans = ramp.view(1, 1, -1, *[1] * (dims - 1)).expand(2, 1, *shape)
    batch = Batch(scans, torch.zeros(2, *shape, dtype=torch.uint8), scans, torch.ones(2, 1, *shape) > 0, ())
    weak, pseudo = objective.teach(Ramp(), batch, torch.Generator().manual_seed(5))
    expected = softmax(Ramp()(weak))
    inner = (slice(None), slice(None), *[slice(3, -3)] * dims)
    np.testing.assert_allclose(pseudo.probabilities.numpy()[inner], expected[inner], atol=0.01)


@DIMS
def test_measuring_scores_a_perfect_teacher_with_one(dims: int, stage: Callable[..., Stage]) -> None:
    """A teacher that reads the label off the image has Dice 1 at scale 1, and near 1 elsewhere on large structures."""

    class Reader(nn.Module):
        def forward(self, image: Tensor) -> Tensor:
            return torch.cat([-((image - k) ** 2) for k in range(3)], 1)

    case = stage("maskmatch", dims)
    objective = case.objective(**STILL)
    shape = objective.source_vox
    label = np.zeros(shape, np.uint8)
    label[: shape[0] // 2] = 1
    labels = torch.from_numpy(label)[None].repeat(2, *[1] * dims)
    batch = Batch(labels[:, None].float(), labels, torch.zeros(0), torch.zeros(0), ())
    objective.measure_scales(Reader(), batch, torch.Generator().manual_seed(0))
    found = objective.reliability.dice()
    # class 2 is nowhere: half-way voxels between 0 and 1 are never nearest to it
    assert found["1"] == pytest.approx(1.0)
    assert min(found.values()) > 0.9


@DIMS
def test_source_crops_hold_what_the_views_need(dims: int, stage: Callable[..., Stage]) -> None:
    zoom = {"spatial.zoom": (0.9, 1.1)}
    assert stage("fixmatch", dims).objective(**zoom).source_vox == (18,) * dims
    assert stage("maskmatch", dims).objective(**zoom).source_vox == (18,) * dims
    windows = zoom | {"pseudo_labels.scale_mode": "window"}
    assert stage("maskmatch", dims).objective(**windows).source_vox == (26,) * dims


@pytest.mark.parametrize(
    ("spacing_mm", "pool", "thin"),
    [((1.0, 1.0, 1.0), 1, True), ((1.0, 1.0, 3.5), 2, True), ((1.0, 1.0, 3.0), 2, False)],
)
@pytest.mark.parametrize("mode", ["window", "resize"])
def test_thin_axes_keep_their_resolution_at_every_scale(
    spacing_mm: tuple[float, ...], pool: int, thin: bool, mode: str, stage: Callable[..., Stage]
) -> None:
    """Thin: a spacing of more than three times the finest, or an axis along which the network never pools."""
    case = stage("maskmatch", 3, spacing_mm=spacing_mm)
    network = case.plan.network.model_copy(update={"strides": ((1, 1, 1), (2, 2, pool), (2, 2, pool))})
    plan = case.plan.model_copy(update={"network": network, "patch_vox": (16, 16, 8)})
    values = CONFIDENT | STILL | {"pseudo_labels.gate": False, "pseudo_labels.scale_mode": mode}
    objective = Objective(case.recipe, plan, TrainConfig().override(values))
    teacher = Recorder(nn.Conv3d(1, 3, 1))
    shape = objective.source_vox
    depth = torch.arange(float(shape[2])) - (shape[2] - 1) / 2
    scans = depth.expand(1, 1, *shape)
    batch = Batch(scans, torch.zeros(1, *shape, dtype=torch.uint8), scans, torch.ones(1, 1, *shape) > 0, ())
    objective.teach(teacher, batch, torch.Generator().manual_seed(0))
    views = [view for seen in teacher.seen for view in seen[:, 0]]
    steps = [float(view[4, 4, 4] - view[4, 4, 3]) for view in views]
    assert sorted(steps) == pytest.approx([1, 1, 1] if thin else [2 / 3, 1, 1 / 0.7], abs=0.12)
