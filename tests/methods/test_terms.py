"""What each published method shows the student, and whom each network learns from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from maskmatch_med.config import TrainConfig
from maskmatch_med.methods import Batch, EMATeacher, Objective, parse_recipe
from maskmatch_med.methods.pseudo_labels import PseudoLabels
from maskmatch_med.methods.terms import Lesson, Task
from maskmatch_med.nets import Pair, dropped_channels, kept_network
from maskmatch_med.nets.dropout import encoder_stages
from maskmatch_med.planning.plan import Plan

Build = Callable[..., Any]
DIMS = pytest.mark.parametrize("dims", [2, 3])
ALWAYS = {"unlabelled.start": 0.0, "unlabelled.ramp": 0.0, "unlabelled.one_term_a_step": False}


def objective_of(recipe: str, plan: Plan, **settings: Any) -> Objective:
    return Objective(parse_recipe(recipe), plan, TrainConfig().override(ALWAYS | settings))


def lesson_of(plan: Plan, labelled: int = 2, unlabelled: int = 3, **changes: Any) -> Lesson:
    """Every scan has an intensity of its own, labelled ones from 1, unlabelled ones from 100."""
    shape = plan.patch_vox
    image = torch.stack([torch.full((1, *shape), float(1 + i)) for i in range(labelled)])
    weak = torch.stack([torch.full((1, *shape), float(100 + i)) for i in range(unlabelled)])
    p = torch.zeros(unlabelled, plan.classes, *shape)
    p[:, 2] = 1.0
    pseudo = PseudoLabels.from_probabilities(p, torch.ones(unlabelled, *shape) > 0)
    values: dict[str, Any] = {"weak": weak, "pseudo": pseudo, "ask": lambda x: p, "image": image, "progress": 0.5}
    values["labels"] = torch.ones(labelled, *shape, dtype=torch.uint8)
    return Lesson(**(values | changes))


def task_of(objective: Objective, term: str, lesson: Lesson, seed: int = 0) -> Task:
    return objective.terms[term].task(lesson, torch.Generator().manual_seed(seed))


def one_hot(labels: Tensor, classes: int) -> Tensor:
    return 60 * functional.one_hot(labels.long(), classes).movedim(-1, 1).float()


@DIMS
def test_copy_paste_goes_both_ways_and_labels_follow(dims: int, tiny_plan: Build) -> None:
    plan = tiny_plan(dims)
    lesson = lesson_of(plan)
    task = task_of(objective_of("bcp", plan), "paste", lesson)
    assert len(task.image) == 2 * len(lesson.weak)
    pasted_in, pasted_out = task.image.chunk(2)
    for i in range(3):
        unlabelled = pasted_in[i, 0] == 100 + i
        assert set(pasted_in[i, 0][~unlabelled].unique().tolist()) == {float(1 + i % 2)}
        assert int(unlabelled.sum()) == 10**dims, "a box of two thirds of sixteen voxels"
        assert torch.equal(pasted_out[i, 0] == 100 + i, ~unlabelled)
        assert set(pasted_out[i, 0][unlabelled].unique().tolist()) == {float(1 + (i + 1) % 2)}
    right = torch.where(task.image[:, 0] >= 100, 2, 1)
    assert float(task.loss(one_hot(right, plan.classes))) < 1e-3
    assert float(task.loss(one_hot(3 - right, plan.classes))) > 10


@DIMS
def test_outside_the_scan_a_pasted_guess_does_not_count(dims: int, tiny_plan: Build) -> None:
    plan = tiny_plan(dims)
    lesson = lesson_of(plan)
    nowhere = PseudoLabels(*(lesson.pseudo.__dict__[name] for name in ("probabilities", "labels", "confidence")),
                           valid=torch.zeros_like(lesson.pseudo.valid))  # fmt: skip
    task = task_of(objective_of("bcp", plan), "paste", lesson_of(plan, pseudo=nowhere))
    assert float(task.loss(one_hot(torch.ones_like(task.image[:, 0]), plan.classes))) < 1e-3


@DIMS
def test_two_strong_views_differ_and_the_feature_view_is_the_weak_one(dims: int, tiny_plan: Build) -> None:
    plan = tiny_plan(dims)
    objective = objective_of("unimatch", plan)
    torch.manual_seed(0)
    lesson = lesson_of(plan, weak=torch.randn(3, 1, *plan.patch_vox))
    generator = torch.Generator().manual_seed(0)
    first, second, feature = (term.task(lesson, generator) for term in objective.terms.values())
    assert not torch.equal(first.image, second.image)
    assert torch.equal(feature.image, lesson.weak)
    assert [task.channel_dropout for task in (first, second, feature)] == [0.0, 0.0, 0.5]


@DIMS
def test_silenced_channels_are_those_of_the_named_items_alone(dims: int, tiny_plan: Build, tiny_net: Build) -> None:
    plan = tiny_plan(dims)
    network = tiny_net(plan).eval()
    image = torch.randn(3, 1, *plan.patch_vox, generator=torch.Generator().manual_seed(0))
    seen: list[Tensor] = []
    stages = encoder_stages(network)
    assert len(stages) == 3
    with dropped_channels(network, [0.0, 0.5, 0.0], torch.Generator().manual_seed(1)):
        watch = stages[-1].register_forward_hook(lambda module, inputs, output: seen.append(output))
        dropped = network(image)
        watch.remove()
    plain = network(image)
    assert torch.allclose(dropped[[0, 2]], plain[[0, 2]], atol=1e-6)
    assert not torch.allclose(dropped[1], plain[1], atol=1e-3)
    silent = (seen[0].flatten(2) == 0).all(2)
    assert not silent[[0, 2]].any()
    assert 0 < int(silent[1].sum()) < silent.shape[1]
    assert not any(stage._forward_hooks for stage in stages), "nothing stays behind"


@DIMS
def test_ua_mt_asks_noisy_copies_and_leaves_out_what_is_uncertain(dims: int, tiny_plan: Build) -> None:
    plan = tiny_plan(dims)
    asked: list[Tensor] = []
    even = torch.full((3, plan.classes, *plan.patch_vox), 1 / plan.classes)
    sure = torch.zeros_like(even)
    sure[:, 2] = 1.0
    half = torch.arange(plan.patch_vox[0]).view(-1, *[1] * (dims - 1)) < 8
    mixed = torch.where(half, even, sure)

    def ask(image: Tensor) -> Tensor:
        asked.append(image)
        return mixed

    lesson = lesson_of(plan, ask=ask)
    task = task_of(objective_of("ua-mt", plan), "certain", lesson)
    assert len(asked) == 8
    assert all(0.05 < float((image - lesson.weak).std()) < 0.12 for image in asked)
    assert not torch.equal(asked[0], asked[1])
    logits = torch.zeros(3, plan.classes, *plan.patch_vox, requires_grad=True)
    task.loss(logits).backward()  # type: ignore[no-untyped-call]
    assert logits.grad is not None
    assert not logits.grad[:, :, :8].any()
    assert logits.grad[:, :, 8:].abs().min() > 0


@DIMS
def test_masked_labelled_scans_are_held_to_their_labels(dims: int, tiny_plan: Build) -> None:
    plan = tiny_plan(dims)
    lesson = lesson_of(plan, image=torch.randn(2, 1, *plan.patch_vox))
    task = task_of(objective_of("supervised+masked-labelled", plan), "masked_labelled", lesson)
    hidden = (task.image != lesson.image).float().mean()
    assert float(hidden) == pytest.approx(0.7, abs=0.05)
    assert float(task.loss(one_hot(lesson.labels, plan.classes))) < 1e-3


class Steps:
    """A pair, its average, and one step of cps."""

    def __init__(self, dims: int, builders: tuple[Build, Build], recipe: str = "cps") -> None:
        make_plan, make_batch = builders
        self.plan: Plan = make_plan(dims, deep_supervision=True)
        self.objective = objective_of(recipe, self.plan, **{"unlabelled.cutmix_probability": 0.0})
        torch.manual_seed(0)
        student = self.objective.build_student()
        assert isinstance(student, Pair)
        self.student = student.train()
        self.teacher = EMATeacher(student, 0.99)
        self.batch: Batch = make_batch(self.plan, self.objective.source_vox)

    def gradients(self, term: str | None = None) -> tuple[Tensor, Tensor]:
        self.student.zero_grad()
        generator = torch.Generator().manual_seed(0)
        losses = self.objective.step(self.student, self.teacher.network, self.batch, generator, 0.9)
        (losses.total if term is None else losses.parts[term]).backward()  # type: ignore[no-untyped-call]
        first, second = (
            torch.cat([p.grad.flatten() for p in net.parameters() if p.grad is not None])
            for net in self.student.members
        )
        return first, second


@DIMS
@pytest.mark.parametrize("recipe", ["cps", "cps+masked+multiscale"])
def test_each_of_a_pair_has_a_gradient_of_its_own(dims: int, recipe: str, tiny_plan: Build, tiny_batch: Build) -> None:
    steps = Steps(dims, (tiny_plan, tiny_batch), recipe)
    for term in ("cross", "supervised", None):
        first, second = steps.gradients(term)
        assert first.abs().max() > 1e-6
        assert second.abs().max() > 1e-6
        assert not torch.allclose(first, second)
    assert all(p.grad is None for p in steps.teacher.network.parameters())


@DIMS
def test_each_of_a_pair_is_taught_by_the_other(dims: int, tiny_plan: Build, tiny_batch: Build) -> None:
    """Changing the second network changes what the first is told, and not what its labels tell it."""
    steps = Steps(dims, (tiny_plan, tiny_batch))
    cross, own = steps.gradients("cross")[0], steps.gradients("supervised")[0]
    with torch.no_grad():
        for p in steps.student.members[1].parameters():
            p.mul_(-1.0)
    assert not torch.allclose(steps.gradients("cross")[0], cross)
    assert torch.equal(steps.gradients("supervised")[0], own)


@DIMS
def test_two_alike_networks_stay_alike(dims: int, tiny_plan: Build, tiny_batch: Build) -> None:
    """The two are treated the same: from the same weights they get the same gradient where views are the same."""
    steps = Steps(dims, (tiny_plan, tiny_batch))
    steps.student.members[1].load_state_dict(steps.student.members[0].state_dict())
    first, second = steps.gradients("supervised")
    assert torch.allclose(first, second)


def test_what_is_kept_of_a_pair_is_the_first(tiny_plan: Build) -> None:
    pair = Pair(tiny_plan(2)).eval()
    assert kept_network(pair) is pair.members[0]
    image = torch.randn(1, 1, 16, 16)
    assert torch.equal(pair(image), pair.members[0](image))
    assert torch.equal(pair(image, member=1), pair.members[1](image))
    assert not torch.allclose(pair(image), pair(image, member=1))
    alone = nn.Identity()
    assert kept_network(alone) is alone


@DIMS
def test_pasted_labelled_patches_keep_their_labels(dims: int, tiny_plan: Build) -> None:
    plan = tiny_plan(dims)
    still = {"spatial.rotation_probability": 0.0, "spatial.zoom_probability": 0.0}
    objective = objective_of("supervised+copy-paste", plan, **still)
    shape = objective.source_vox
    labels = torch.stack([torch.full(shape, value, dtype=torch.uint8) for value in (0, 1, 2)])
    batch = Batch(10.0 * labels[:, None].float(), labels, torch.zeros(0), torch.zeros(0), ())
    for seed in range(5):
        generator = torch.Generator().manual_seed(seed)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("maskmatch_med.methods.objective.apply_intensity", lambda image, draw, axes: image)
            image, pasted = objective.labelled_view(batch, generator)
        assert torch.equal(image[:, 0] / 10, pasted.float())
        for item in range(3):
            assert set(pasted[item].unique().tolist()) == {item, (item + 1) % 3}
