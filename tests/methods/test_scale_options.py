"""Later start, whose Dice gates, how scales are weighed, and labelled patches at the ensemble's scales."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from maskmatch_med.config import TrainConfig
from maskmatch_med.errors import InputError
from maskmatch_med.methods import Batch, Objective, ScaleReliability, average_scales, parse_recipe
from maskmatch_med.methods import objective as objective_module
from maskmatch_med.methods.pseudo_labels import weighed_by_certainty

Build = Callable[..., Any]
WIDE = {"pseudo_labels.scales": (0.7, 1.0, 1.5)}


def objective_of(tiny_plan: Build, recipe: str = "maskmatch", **settings: Any) -> Objective:
    return Objective(parse_recipe(recipe), tiny_plan(2), TrainConfig().override(WIDE | settings))


def measured(alone: list[float], paired: list[float]) -> ScaleReliability:
    """Overlap counts of one structure that give these Dice values at scales 0.7, 1 and 1.5."""
    reliability = ScaleReliability((0.7, 1.0, 1.5), 2)
    for scale, dice in enumerate(zip(alone, paired, strict=True)):
        for kind, value in enumerate(dice):
            reliability.counts[scale, kind, :, 1] = torch.tensor([value * 50, 100.0])
    reliability.counts[4:] = reliability.counts[1, 0]
    return reliability


def test_the_gate_asks_the_pair_or_the_scale_alone() -> None:
    reliability = measured(alone=[0.7, 0.8, 0.85], paired=[0.82, 0.8, 0.7])
    assert reliability.weights() == {0.7: 1.0, 1.0: 1.0, 1.5: 0.0}
    assert reliability.weights(gate_by="alone") == {0.7: 0.0, 1.0: 1.0, 1.5: 1.0}
    assert reliability.weights(gate=False, gate_by="alone") == {0.7: 1.0, 1.0: 1.0, 1.5: 1.0}


def test_dice_weighs_scales_against_scale_one() -> None:
    reliability = measured(alone=[0.4, 0.8, 0.0], paired=[0.9, 0.8, 0.9])
    assert reliability.weights(weigh_by="dice") == pytest.approx({0.7: 0.5, 1.0: 1.0, 1.5: 0.1 / 0.8})
    nothing = ScaleReliability((0.7, 1.0), 2)
    assert nothing.weights(gate=False, weigh_by="dice") == {0.7: 1.0, 1.0: 1.0}


def test_certainty_weighs_voxel_by_voxel() -> None:
    sure, even, some = [1.0, 0.0], [0.5, 0.5], [0.9, 0.1]
    one = torch.tensor([even, some, sure]).T[None, :, :, None]
    other = torch.tensor([sure, some, even]).T[None, :, :, None]
    inside = torch.ones(1, 1, 3, 1) > 0
    members = weighed_by_certainty({1.0: (one, inside), 0.7: (other, inside)})
    found = average_scales(members, {1.0: 1.0, 0.7: 1.0})[0, 0, :, 0].tolist()
    doubt = 1e-3
    expected = [(doubt * 0.5 + 1.0) / (1 + doubt), 0.9, (doubt * 0.5 + 1.0) / (1 + doubt)]
    assert found == pytest.approx(expected, abs=1e-5)
    certainty = 1 - -(0.9 * math.log(0.9) + 0.1 * math.log(0.1)) / math.log(2)
    assert float(members[0.7][1][0, 0, 1, 0]) == pytest.approx(certainty, abs=1e-5)


@pytest.mark.parametrize("weigh_by", ["equal", "dice", "entropy"])
def test_an_ensemble_stays_a_probability(weigh_by: str, tiny_plan: Build, tiny_net: Build, tiny_batch: Build) -> None:
    objective = objective_of(tiny_plan, **{"pseudo_labels.gate": "false", "pseudo_labels.weigh_by": weigh_by})
    batch = tiny_batch(objective.plan, objective.source_vox)
    teacher = tiny_net(objective.plan).eval()
    objective.measure_scales(teacher, batch, torch.Generator().manual_seed(0))
    _, pseudo = objective.teach(teacher, batch, torch.Generator().manual_seed(0))
    assert torch.allclose(pseudo.probabilities.sum(1), torch.ones(3, 16, 16), atol=1e-5)
    assert pseudo.probabilities.min() >= 0
    assert set(objective.reliability.dice()) == {"0.7", "1", "1.5", "ensemble"}


def test_scales_begin_when_they_are_told_to(tiny_plan: Build) -> None:
    objective = objective_of(tiny_plan, **{"unlabelled.start": 0.3, "pseudo_labels.scales_start": 0.6})
    assert [objective.uses_scales(progress) for progress in (0.2, 0.3, 0.59, 0.6, 1.0)] == [False] * 3 + [True] * 2
    early = objective_of(tiny_plan, **{"unlabelled.start": 0.3})
    assert [early.uses_scales(progress) for progress in (0.29, 0.3)] == [False, True]
    assert not objective_of(tiny_plan, "fixmatch").uses_scales(1.0)
    with pytest.raises(InputError, match="scales_start needs gate"):
        TrainConfig().override({"pseudo_labels.scales_start": 0.5, "pseudo_labels.gate": False})


def test_labelled_patches_are_cut_at_the_ensembles_scales(tiny_plan: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a ramp, the slope of a patch tells the scale that it was cut at; labels follow."""
    monkeypatch.setattr(objective_module, "apply_intensity", lambda image, draw, axes: image)
    still = {"spatial.rotation_probability": 0.0, "spatial.zoom_probability": 0.0}
    objective = objective_of(tiny_plan, **still, **{"pseudo_labels.train_scales": True})
    shape = objective.source_vox
    ramp = torch.arange(shape[0], dtype=torch.float32) - (shape[0] - 1) / 2
    image = ramp.view(1, 1, -1, 1).expand(1, 1, *shape).contiguous()
    labels = (image[:, 0] > 0).to(torch.uint8)
    batch = Batch(image, labels, torch.zeros(0), torch.zeros(0), ())
    slopes = set()
    for seed in range(20):
        view, drawn = objective.labelled_view(batch, torch.Generator().manual_seed(seed))
        slopes.add(round(float((view[0, 0, 9, 8] - view[0, 0, 7, 8]) / 2), 3))
        assert torch.equal(drawn[0] == 1, view[0, 0] > 0)
    assert sorted(slopes) == pytest.approx(sorted(1 / scale for scale in (0.7, 1.0, 1.5)), abs=2e-3)


def test_context_is_cut_from_beyond_the_patch(tiny_plan: Build) -> None:
    """At scale 0.7 the teacher is shown what lies around the patch, in a window of the training size."""

    class Watching(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.seen: list[Tensor] = []

        def forward(self, image: Tensor) -> Tensor:
            self.seen.append(image)
            return torch.cat([image] * 3, 1)

    still = {"spatial.rotation_probability": 0.0, "spatial.zoom_probability": 0.0, "pseudo_labels.gate": False}
    objective = objective_of(tiny_plan, **still, **{"pseudo_labels.scale_mode": "window"})
    shape = objective.source_vox
    image = torch.zeros(2, 1, *shape)
    border = (np.array(shape) - 16) // 2
    image[:, :, border[0] - 2, :] = 1.0
    batch = Batch(image, image[:, 0].byte(), image, torch.ones_like(image) > 0, ())
    teacher = Watching()
    weak, _ = objective.teach(teacher, batch, torch.Generator().manual_seed(0))
    (seen,) = teacher.seen
    by_scale = dict(zip(objective.scales, seen.split(2), strict=True))
    assert not weak.any()
    assert not by_scale[1.0].any()
    assert not by_scale[1.5].any()
    assert by_scale[0.7].any()
    assert seen.shape == (6, 1, 16, 16)


def test_each_scale_but_one_is_asked_about_its_own_mirror_image(tiny_plan: Build) -> None:
    plan = tiny_plan(2)
    for axes, wanted in (((0, 1), [(0,), (), (1,)]), ((1,), [(1,), (), (1,)]), ((), [(), (), ()])):
        objective = Objective(
            parse_recipe("maskmatch"), plan.model_copy(update={"mirror_axes": axes}), TrainConfig().override(WIDE)
        )
        assert [objective.mirrored_axes(scale) for scale in (0.7, 1.0, 1.5)] == wanted
    still = objective_of(tiny_plan, **{"pseudo_labels.mirror_scales": False})
    assert [still.mirrored_axes(scale) for scale in (0.7, 1.0, 1.5)] == [(), (), ()]


@pytest.mark.parametrize("mode", ["window", "resize"])
def test_mirrored_scales_come_back_to_their_place(mode: str, tiny_plan: Build, tiny_batch: Build) -> None:
    """A network that answers voxel by voxel says the same of a mirror image, so the ensemble must not change."""

    class Pointwise(nn.Module):
        def forward(self, image: Tensor) -> Tensor:
            return torch.cat([0.2 * image[:, :1], -image[:, :1], image[:, :1]], 1)

    plan = tiny_plan(2).model_copy(update={"mirror_axes": (0, 1)})
    found = []
    for mirror in (True, False):
        told = {"pseudo_labels.mirror_scales": mirror, "pseudo_labels.gate": False, "pseudo_labels.scale_mode": mode}
        objective = Objective(parse_recipe("maskmatch"), plan, TrainConfig().override(WIDE | told))
        batch = tiny_batch(objective.plan, objective.source_vox)
        _, pseudo = objective.teach(Pointwise(), batch, torch.Generator().manual_seed(0))
        found.append(pseudo.probabilities)
    torch.testing.assert_close(found[0], found[1], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("mode", ["window", "resize"])
def test_where_the_gate_is_shut_the_mirror_image_at_scale_one_speaks(
    mode: str, tiny_plan: Build, tiny_batch: Build
) -> None:
    """The teacher sees as many images either way; those of a shut gate are the patch itself, mirrored."""

    class Watching(nn.Module):
        seen: list[Tensor]

        def forward(self, image: Tensor) -> Tensor:
            self.seen.append(image)
            return torch.cat([0.2 * image[:, :1], -image[:, :1], image[:, :1]], 1)

    plan = tiny_plan(2).model_copy(update={"mirror_axes": (0, 1)})
    told = {"pseudo_labels.scale_mode": mode}
    objective = Objective(parse_recipe("maskmatch"), plan, TrainConfig().override(WIDE | told))
    teacher = Watching()
    images = {}
    for gate, dice in (("shut", [0.4, 0.8, 0.4]), ("open", [0.9, 0.8, 0.9])):
        objective.reliability.counts = torch.zeros_like(objective.reliability.counts)
        for row, value in enumerate(dice):
            objective.reliability.counts[row, :, :, 1] = torch.tensor([value * 50, 100.0])
        objective.reliability.counts[4:, :, :, 1] = torch.tensor([40.0, 100.0])
        assert list(objective.scale_weights().values()) == ([0, 1, 0] if gate == "shut" else [1, 1, 1])
        teacher.seen = []
        weak, _ = objective.teach(teacher, tiny_batch(plan, objective.source_vox), torch.Generator().manual_seed(0))
        images[gate] = [image for seen in teacher.seen for image in seen.split(len(weak))]
    torch.testing.assert_close(images["shut"][1], weak)
    torch.testing.assert_close(images["shut"][0], weak.flip(2))
    torch.testing.assert_close(images["shut"][2], weak.flip(3))
    other = images["open"][0]
    assert other.shape != weak.shape if mode == "resize" else not torch.allclose(other, weak.flip(2))
    torch.testing.assert_close(images["open"][1], weak)
