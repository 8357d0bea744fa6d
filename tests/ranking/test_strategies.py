"""Orders of scans, on features one can draw on paper."""

from __future__ import annotations

import numpy as np
import pytest

from maskmatch_med.errors import InputError
from maskmatch_med.ranking import STRATEGIES, Candidate, rank


def _line(*places: float, **more: float) -> list[Candidate]:
    """Scans on a line, with an uncertainty where one is named."""
    return [Candidate(f"at{place:g}", np.array([place]), more.get(f"at{place:g}")) for place in places]


def _names(*given: object) -> list[str]:
    return [one.name for one in rank(*given)]  # type: ignore[arg-type]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_scan_comes_once_and_in_the_same_order_each_time(strategy: str) -> None:
    scans = [*_line(0, 1, 2, 5, 9, at2=0.3, at5=0.1), Candidate("unknown")]
    first = _names(scans, [np.array([1.5])], strategy, 7)
    assert sorted(first) == sorted(one.name for one in scans)
    assert _names(scans[::-1], [np.array([1.5])], strategy, 7) == first


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_no_scan_is_an_empty_order(strategy: str) -> None:
    assert rank([], [], strategy) == []  # type: ignore[arg-type]
    assert rank([], [np.array([1.0])], strategy) == []  # type: ignore[arg-type]


def test_chance_depends_on_the_seed_and_stays_when_scans_leave() -> None:
    scans = _line(*range(20))
    orders = {tuple(_names(scans, [], "random", seed)) for seed in range(5)}
    assert len(orders) == 5
    whole = _names(scans, [], "random", 3)
    assert _names([one for one in scans if one.name != whole[0]], [], "random", 3) == whole[1:]


def test_chance_favours_no_place() -> None:
    scans = _line(*range(8))
    firsts = [_names(scans, [], "random", seed)[0] for seed in range(400)]
    assert all(25 <= firsts.count(one.name) <= 80 for one in scans)


def test_scans_with_foreground_come_first() -> None:
    scans = [
        Candidate(f"{word}{i}", has_foreground=flag)
        for word, flag in (("no", False), ("yes", True), ("unseen", None))
        for i in range(4)
    ]
    order = [name.rstrip("0123") for name in _names(scans, [], "foreground-random", 1)]
    assert order == ["yes"] * 4 + ["unseen"] * 4 + ["no"] * 4


def test_the_least_sure_come_first_and_the_unknown_last() -> None:
    scans = [*_line(0, 1, 2, at0=0.1, at1=0.4, at2=0.2), Candidate("unknown")]
    assert _names(scans, [], "uncertainty") == ["at1", "at2", "at0", "unknown"]


def test_a_spread_begins_in_the_middle_and_takes_the_farthest_each_time() -> None:
    assert _names(_line(0, 1, 5, 9.5, 10), [], "diversity")[:3] == ["at5", "at0", "at10"]


def test_a_spread_keeps_away_from_what_is_labelled() -> None:
    order = _names(_line(0, 1, 5, 9, 10), [np.array([0.2]), np.array([10.1])], "diversity")
    assert order[0] == "at5"


def test_a_mix_prefers_the_unsure_of_two_equally_far() -> None:
    scans = _line(-4, 4, at4=0.9, **{"at-4": 0.1})
    assert _names(scans, [np.array([0.0])], "mix")[0] == "at4"


def test_features_of_no_spread_do_not_decide() -> None:
    scans = [Candidate(str(i), np.array([7.0, float(i)])) for i in range(3)]
    order = rank(scans, [np.array([7.0, 0.0])], "diversity")
    assert order[0].name == "2"
    assert np.isfinite([one.score for one in order]).all()


def test_an_unknown_strategy_is_refused() -> None:
    with pytest.raises(InputError, match="no strategy 'best'; choose one of random, foreground-random"):
        rank([], [], "best")  # type: ignore[arg-type]
