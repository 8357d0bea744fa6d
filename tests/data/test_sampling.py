"""Patches: the same for the same (seed, step), cut as a padded array would give them, unjudged never background."""

from __future__ import annotations

import threading
import time
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from maskmatch_med.data.cache import CachedCase
from maskmatch_med.data.sampling import PatchSampler, Prefetcher, SamplingOptions, cut
from maskmatch_med.io.labels import UNJUDGED
from maskmatch_med.views import source_shape


def make_case(name: str, shape: tuple[int, ...], seed: int = 0, judged: bool = True, slab: int | None = None):
    """A scan whose value at each voxel is its flat index + 1, with a small structure; judged on ``slab`` only."""
    rng = np.random.default_rng(seed)
    image = (np.arange(np.prod(shape), dtype=np.float32) + 1).reshape(1, *shape)
    labels = np.zeros(shape, np.uint8)
    corner = tuple(int(rng.integers(0, max(1, n - 2))) for n in shape)
    labels[tuple(slice(c, c + 2) for c in corner)] = 1
    if slab is not None:
        away = np.ones(shape, bool)
        away[slab] = False
        labels[away] = UNJUDGED
    if not judged:
        labels[:] = UNJUDGED
    voxels = {int(v): np.argwhere(labels == v).astype(np.int32) for v in np.unique(labels[labels != UNJUDGED])}
    return CachedCase(name, None, image, labels, voxels)


def options(dims: int = 3, **changes) -> SamplingOptions:
    values = {
        "source_vox": (10,) * dims,
        "patch_vox": (6,) * dims,
        "labelled_batch": 2,
        "unlabelled_batch": 3,
        "foreground_share": 0.5,
        "seed": 4,
    }
    return SamplingOptions(**(values | changes))


def sampler(dims: int = 3, **changes) -> PatchSampler:
    shape = (14, 12, 9)[:dims]
    labelled = [make_case(f"l{i}", shape, i) for i in range(3)]
    unlabelled = [make_case(f"u{i}", shape, i, judged=False) for i in range(5)]
    return PatchSampler(labelled, unlabelled, options(dims, **changes))


@given(data=st.data(), dims=st.sampled_from([2, 3]))
def test_cut_equals_a_padded_array(data, dims):
    shape = tuple(data.draw(st.integers(1, 9)) for _ in range(dims))
    size = tuple(data.draw(st.integers(1, 12)) for _ in range(dims))
    centre = np.array([data.draw(st.integers(-3, n + 3)) for n in shape])
    array = np.arange(2 * np.prod(shape), dtype=np.int64).reshape(2, *shape) + 1
    margin = 40
    padded = np.pad(array, ((0, 0), *[(margin, margin)] * dims), constant_values=-7)
    start = centre - np.array(size) // 2 + margin
    expected = padded[(slice(None), *(slice(a, a + n) for a, n in zip(start, size, strict=True)))]
    found = cut(array, centre, size, -7)
    assert found.dtype == array.dtype
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("dims", [2, 3])
def test_a_step_depends_on_seed_and_step_alone(dims):
    one, other = sampler(dims), sampler(dims)
    for step in (5, 0, 63):
        a, b = one.batch(step), other.batch(step)
        assert a.cases == b.cases
        for name in ("labelled", "labels", "unlabelled", "inside"):
            assert torch.equal(getattr(a, name), getattr(b, name))
    assert not torch.equal(one.batch(5).labelled, one.batch(6).labelled)
    assert not torch.equal(one.batch(5).labelled, sampler(dims, seed=5).batch(5).labelled)


def test_the_seed_decides_the_places_too():
    case = make_case("only", (40, 40, 40))
    one, other = (PatchSampler([case], [case], options(seed=seed)).batch(5) for seed in (1, 2))
    assert not torch.equal(one.labelled, other.labelled)
    assert not torch.equal(one.unlabelled, other.unlabelled)


@pytest.mark.parametrize("dims", [2, 3])
def test_shapes_and_types(dims):
    batch = sampler(dims).batch(0)
    edge = (10,) * dims
    assert batch.labelled.shape == (2, 1, *edge)
    assert batch.labelled.dtype == torch.float32
    assert batch.labels.shape == (2, *edge)
    assert batch.labels.dtype == torch.uint8
    assert batch.unlabelled.shape == (3, 1, *edge)
    assert batch.inside.shape == (3, 1, *edge)
    assert batch.inside.dtype == torch.bool
    assert len(batch.cases) == 5


def test_every_scan_comes_once_a_round():
    chosen = sampler()
    seen = [chosen.batch(step).cases for step in range(15)]
    labelled = [name for cases in seen for name in cases[:2]]
    unlabelled = [name for cases in seen for name in cases[2:]]
    for names, scans in ((labelled, 3), (unlabelled, 5)):
        rounds = [names[i : i + scans] for i in range(0, len(names) - scans + 1, scans)]
        assert all(len(set(turn)) == scans for turn in rounds)
        assert len({tuple(turn) for turn in rounds}) > 1, "the rounds are never shuffled"


def test_image_label_and_inside_are_cut_alike():
    """The image holds each voxel's index: the label at that index must be the one beside it, and 255 off the scan."""
    chosen = sampler()
    by_name = {case.name: case for case in [*chosen.labelled, *chosen.unlabelled]}
    for step in range(20):
        batch = chosen.batch(step)
        for image, labels, name in zip(batch.labelled, batch.labels, batch.cases[:2], strict=True):
            values = image[0].numpy().astype(int)
            flat = by_name[name].labels.ravel()
            expected = np.where(values == 0, UNJUDGED, flat[np.maximum(values - 1, 0)])
            np.testing.assert_array_equal(labels.numpy(), expected)
        assert torch.equal(batch.inside, batch.unlabelled > 0)


@pytest.mark.parametrize(("share", "expected"), [(0.0, 0), (0.5, 2), (1.0, 4)])
def test_the_foreground_share_is_kept(share, expected):
    """The structure sits in a corner far from the middle of a long scan, so that chance seldom meets it."""
    case = make_case("long", (200, 6, 6), 0)
    case.labels[:] = 0
    case.labels[190:192, 2:4, 2:4] = 1
    case.voxels.clear()
    case.voxels.update({v: np.argwhere(case.labels == v).astype(np.int32) for v in (0, 1)})
    chosen = PatchSampler([case], [], options(labelled_batch=4, foreground_share=share))
    met = [int((chosen.batch(step).labels == 1).flatten(1).any(1).sum()) for step in range(40)]
    assert min(met) >= expected
    assert np.mean(met) < expected + 0.1 * 4


@pytest.mark.parametrize(("share", "batch"), [(0.5, 1), (0.5, 3), (0.33, 2), (0.9, 1)])
def test_a_fraction_of_a_patch_is_kept_on_average(share, batch):
    """One voxel of 60 x 60 is the structure, so that a patch of 6 x 6 that is not centred on it rarely shows it."""
    case = make_case("one", (60, 60), 0)
    case.labels[:] = 0
    case.labels[31, 31] = 1
    case.voxels.update({v: np.argwhere(case.labels == v).astype(np.int32) for v in (0, 1)})
    chosen = PatchSampler([case], [], options(2, labelled_batch=batch, foreground_share=share, source_vox=(6, 6)))
    counts = [int((chosen.batch(step).labels[:, 3, 3] == 1).sum()) for step in range(600)]
    assert np.mean(counts) == pytest.approx(share * batch, abs=0.07)
    assert set(counts) <= {int(share * batch), int(share * batch) + 1, int(share * batch) + 2}
    again = PatchSampler([case], [], options(2, labelled_batch=batch, foreground_share=share, source_vox=(6, 6)))
    assert [int((again.batch(step).labels[:, 3, 3] == 1).sum()) for step in (7, 3)] == [counts[7], counts[3]]


def test_a_foreground_patch_is_centred_on_a_voxel_of_the_structure():
    case = make_case("wide", (40, 40, 40), 0)
    case.labels[:] = 0
    case.labels[15:25, 15:25, 15:25] = 1
    case.voxels.clear()
    case.voxels.update({v: np.argwhere(case.labels == v).astype(np.int32) for v in (0, 1)})
    chosen = PatchSampler([case], [], options(foreground_share=1.0))
    centres = {chosen.batch(step).labels[i, 5, 5, 5].item() for step in range(30) for i in range(2)}
    assert centres == {1}


def test_each_structure_is_met_as_often_whatever_its_size():
    case = make_case("two", (40, 40, 40), 0)
    case.labels[:] = 0
    case.labels[5:20, 5:20, 5:20] = 1
    case.labels[30, 30, 30] = 2
    case.voxels.clear()
    case.voxels.update({v: np.argwhere(case.labels == v).astype(np.int32) for v in (0, 1, 2)})
    chosen = PatchSampler([case], [], options(foreground_share=1.0))
    met = Counter(chosen.batch(step).labels[i, 5, 5, 5].item() for step in range(100) for i in range(2))
    assert 60 < met[2] < 140


def test_unjudged_voxels_stay_unjudged_and_patches_meet_judged_ones():
    case = make_case("partial", (30, 30, 30), 3, slab=12)
    assert not case.complete
    for share in (0.0, 1.0):
        chosen = PatchSampler([case], [], options(foreground_share=share))
        for step in range(20):
            for image, labels in zip(chosen.batch(step).labelled, chosen.batch(step).labels, strict=True):
                assert (labels != UNJUDGED).any(), "a patch without any judged voxel teaches nothing"
                slices = (image[0].numpy().astype(int) - 1) // 900
                outside = (image[0].numpy() == 0) | (slices != 12)
                assert (labels.numpy()[outside] == UNJUDGED).all()
                assert (labels.numpy()[~outside] != UNJUDGED).all()


def test_complete_needs_every_voxel():
    assert make_case("a", (5, 5, 5)).complete
    assert not make_case("a", (5, 5, 5), slab=0).complete
    assert not make_case("a", (5, 5, 5), judged=False).complete


def test_the_patch_stays_on_the_scan_while_the_margin_may_leave_it():
    chosen = sampler(foreground_share=0.0)
    middle = (slice(2, 8),) * 3
    for step in range(40):
        batch = chosen.batch(step)
        assert (batch.labelled[(slice(None), 0, *middle)] > 0).all()
        assert batch.inside[(slice(None), 0, *middle)].all()
    assert any(not chosen.batch(step).inside.all() for step in range(5))


@pytest.mark.parametrize("patch", [5, 6, 7, 8])
@pytest.mark.parametrize("wide", [1.0, 1.34, 2.0])
def test_source_and_patch_share_their_centre(patch, wide):
    """The views take the patch from the middle of the source: both must be even or odd, or it lies half a voxel off."""
    source = source_shape((patch,) * 3, wide)
    assert all((edge - patch) % 2 == 0 and edge >= patch for edge in source)
    case = make_case("edge", (30, 30, 30), 0)
    case.labels[:] = 0
    case.labels[0, 29, 15] = 1
    case.voxels.clear()
    case.voxels.update({v: np.argwhere(case.labels == v).astype(np.int32) for v in (0, 1)})
    chosen = PatchSampler([case], [], options(source_vox=source, patch_vox=(patch,) * 3, foreground_share=1.0))
    margin = (source[0] - patch) // 2
    middle = (slice(None), *(slice(margin, margin + patch),) * 3)
    assert (chosen.batch(0).labels[middle] == 1).flatten(1).any(1).all()


@pytest.mark.parametrize("shape", [(3, 4, 5), (1, 1, 1), (20, 2, 20)])
def test_a_scan_smaller_than_the_patch_is_surrounded(shape):
    small = make_case("small", shape, 1)
    chosen = PatchSampler([small], [make_case("loose", shape, 2, judged=False)], options())
    for step in range(10):
        batch = chosen.batch(step)
        assert (batch.labelled > 0).flatten(1).any(1).all()
        assert torch.equal(batch.labels == UNJUDGED, batch.labelled[:, 0] == 0)
        assert torch.equal(batch.inside, batch.unlabelled > 0)


def test_without_unlabelled_scans_the_batch_has_none():
    chosen = PatchSampler([make_case("a", (9, 9, 9))], [], options())
    batch = chosen.batch(3)
    assert batch.unlabelled.shape == (0, 1, 10, 10, 10)
    assert batch.inside.shape == (0, 1, 10, 10, 10)
    assert batch.inside.dtype == torch.bool
    assert batch.cases == ("a", "a")


def prefetch_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "prefetch"]


def test_prefetched_batches_come_in_order_and_the_thread_ends():
    chosen = sampler()
    with Prefetcher(chosen, 7) as crops:
        for step in range(7, 15):
            assert torch.equal(crops.next().labelled, chosen.batch(step).labelled)
        assert prefetch_threads()
    assert not prefetch_threads()


def test_an_error_of_the_thread_reaches_the_caller():
    chosen = sampler()
    whole = chosen.batch

    def failing(step: int):
        if step == 2:
            raise OSError(5, "Input/output error", "image.npy")
        return whole(step)

    chosen.batch = failing
    with Prefetcher(chosen, 0) as crops:
        crops.next()
        crops.next()
        with pytest.raises(OSError, match="Input/output"):
            crops.next()
    assert not prefetch_threads()


def _fail_inside(chosen: PatchSampler) -> None:
    with Prefetcher(chosen, 0) as crops:
        crops.next()
        raise TypeError("an error of the step")


def test_leaving_early_or_by_an_error_ends_the_thread():
    began = time.monotonic()
    with Prefetcher(sampler(), 0):
        time.sleep(0.05)
    with pytest.raises(TypeError, match="of the step"):
        _fail_inside(sampler())
    assert not prefetch_threads()
    assert time.monotonic() - began < 5


def test_crops_for_a_card_are_pinned(monkeypatch: pytest.MonkeyPatch) -> None:
    """There need be no card: pinning is asked for, of each part, in the thread that cuts."""
    asked: list[str] = []

    def pinned(part: torch.Tensor) -> torch.Tensor:
        asked.append(threading.current_thread().name)
        return part

    monkeypatch.setattr(torch.Tensor, "pin_memory", pinned)
    with Prefetcher(sampler(), 0, pinned=True, ahead=1) as crops:
        same = crops.next()
    assert torch.equal(same.labelled, sampler().batch(0).labelled)
    assert set(asked) == {"prefetch"}
    assert len(asked) >= 4
