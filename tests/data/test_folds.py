"""Who is held out: a fifth of enough scans, whole patients, never a partly labelled one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskmatch_med.data.cache import CachedCase
from maskmatch_med.data.folds import hold_out
from maskmatch_med.io.labels import UNJUDGED


def scan(name: str, group: str | None = None, partial: bool = False) -> CachedCase:
    labels = np.zeros((2, 2, 2), np.uint8)
    if partial:
        labels[0] = UNJUDGED
    return CachedCase(name, group, np.zeros((1, 2, 2, 2), np.float32), labels, {0: np.zeros((1, 3), np.int32)})


def showing(name: str, *classes: int, group: str | None = None) -> CachedCase:
    """A completely labelled scan in which these classes are found."""
    case = scan(name, group)
    case.voxels.update({label: np.zeros((1, 3), np.int32) for label in classes})
    return case


def names(cases: list[CachedCase]) -> list[str]:
    return [case.name for case in cases]


@pytest.mark.parametrize("count", [0, 1, 9])
def test_fewer_than_ten_all_train(count):
    cases = [scan(f"c{i}") for i in range(count)]
    assert hold_out(cases, 0) == (cases, [])


def test_partly_labelled_scans_do_not_count_towards_ten():
    cases = [scan(f"c{i}") for i in range(9)] + [scan(f"p{i}", partial=True) for i in range(20)]
    assert hold_out(cases, 0) == (cases, [])


@pytest.mark.parametrize(("count", "held"), [(10, 2), (12, 2), (13, 3), (100, 20)])
def test_a_fifth_is_held_out(count, held):
    cases = [scan(f"c{i}") for i in range(count)]
    train, validation = hold_out(cases, 3)
    assert len(validation) == held
    assert sorted(names(train) + names(validation)) == sorted(names(cases))


def test_nothing_is_held_out_on_request():
    cases = [scan(f"c{i}") for i in range(30)]
    assert hold_out(cases, 3, share=0) == (cases, [])


def test_the_seed_decides_alone():
    cases = [scan(f"c{i:02d}") for i in range(30)]
    _, first = hold_out(cases, 1)
    _, again = hold_out(cases[::-1], 1)
    _, other = hold_out(cases, 2)
    assert set(names(first)) == set(names(again))
    assert set(names(first)) != set(names(other))


@given(
    groups=st.lists(st.one_of(st.none(), st.integers(0, 6)), min_size=10, max_size=40),
    partial=st.sets(st.integers(0, 39)),
    seed=st.integers(0, 99),
)
def test_no_patient_is_split_and_partial_labels_train(groups, partial, seed):
    cases = [scan(f"c{i:02d}", None if group is None else f"g{group}", i in partial) for i, group in enumerate(groups)]
    train, validation = hold_out(cases, seed)
    assert sorted(names(train) + names(validation)) == names(cases)
    sides = [{case.group or case.name for case in part} for part in (train, validation)]
    assert not sides[0] & sides[1]
    assert all(case.complete for case in validation)
    complete = sum(case.complete for case in cases)
    assert len(validation) <= max(round(0.2 * complete), complete / 2)
    assert train


def test_one_patient_of_all_scans_is_not_held_out():
    cases = [scan(f"c{i}", "same") for i in range(12)]
    assert hold_out(cases, 0) == (cases, [])


@pytest.mark.parametrize("seed", range(5))
def test_a_patient_of_many_scans_does_not_take_the_training_away(seed):
    cases = [scan(f"a{i}", "many") for i in range(9)] + [scan("b", "few"), scan("c", "other")]
    _, validation = hold_out(cases, seed)
    assert sorted(names(validation)) == ["b", "c"]


def test_where_no_patient_fits_the_smallest_is_held_out():
    cases = [scan(f"{g}{i}", g) for g, count in (("a", 5), ("b", 4), ("c", 6)) for i in range(count)]
    _, validation = hold_out(cases, 0)
    assert {case.group for case in validation} == {"b"}


@pytest.mark.parametrize("seed", range(20))
def test_every_class_keeps_a_training_scan(seed):
    """Class 2 is in two scans, class 3 in those of one patient: never are all of them held out."""
    rare = [showing("r0", 1, 2), showing("r1", 2), showing("p0", 1, 3, group="p"), showing("p1", 3, group="p")]
    train, validation = hold_out(rare + [showing(f"c{i}", 1) for i in range(8)], seed)
    assert {label for case in train for label in case.voxels} == {0, 1, 2, 3}
    assert len(validation) == 2


def test_nothing_is_held_out_where_every_scan_is_the_only_one_of_its_class():
    cases = [showing(f"c{i}", i + 1) for i in range(12)]
    assert hold_out(cases, 0) == (cases, [])


@pytest.mark.parametrize("seed", range(5))
def test_a_patient_too_large_for_the_share_is_held_out_only_where_its_classes_remain(seed):
    """Three patients of four scans, more than the share of two: one of the two without class 2 is held out."""
    cases = [showing(f"{group}{i}", 2 if group == "c" else 1, group=group) for group in "abc" for i in range(4)]
    _, validation = hold_out(cases, seed)
    assert {case.group for case in validation} in ({"a"}, {"b"})
