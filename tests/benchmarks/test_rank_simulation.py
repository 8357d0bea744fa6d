"""The simulation of which scan to label next, on generated scans and with a very small network."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.rank import area, finished, main, page, write_tables
from benchmarks.rank_rounds import Round, Simulation, result_path, run_round
from maskmatch_med.errors import InputError
from maskmatch_med.study import Study


def simulation_of(source: Path, **changes) -> Simulation:
    values = {
        "data": source,
        "splits": source / "splits.json",
        "counts": (1, 2),
        "strategies": ("foreground-random", "uncertainty"),
        "seeds": (0,),
        "iterations": 2,
        "scans": 1,
        "preset": "quick",
        "settings": {"labelled_batch": "1"},
        "plan": {"patch_vox": "[16, 16, 16]", "network.features": "[4, 8, 8]"},
        "device": "cpu",
    }
    return Simulation(**{**values, **changes})


def never() -> bool:
    return False


def test_strategies_share_a_training_and_then_go_their_own_ways(phantom_source: Path, tmp_path: Path) -> None:
    what = simulation_of(phantom_source).keep(tmp_path)
    for this in what.rounds():
        assert run_round(tmp_path, what, this, never)

    told = {this.key: json.loads(result_path(tmp_path, this).read_text()) for this in what.rounds()}
    assert told["uncertainty_s0_1"]["same_as"] == "foreground-random_s0_1"
    assert told["uncertainty_s0_1"]["model"] == "studies/foreground-random_s0/models/c1"
    assert all(len(one["labelled"]) == int(key[-1]) for key, one in told.items())
    maps = list((tmp_path / "studies" / "uncertainty_s0" / "predictions" / "c1").glob("*_uncertainty.nii.gz"))
    assert len(maps) == 4
    (chosen,) = json.loads((tmp_path / "rounds/uncertainty_s0_2/chosen.json").read_text())["chosen"]
    study = Study.open(tmp_path / "studies" / "uncertainty_s0")
    truth = Study.open(tmp_path / "truth").case(chosen).read_label()
    assert chosen in {case.name for case in study.labelled_cases()}
    assert (study.case(chosen).read_label().array == truth.array).all()

    text = write_tables(tmp_path, what).read_text()
    assert "4 of 4 rounds are finished" in text
    assert "`uncertainty` − `foreground-random` | area |" in text
    assert len((tmp_path / "cases.csv").read_text().splitlines()) == 5
    assert [one["count"] for one in json.loads((tmp_path / "results.json").read_text())["rounds"]] == [1, 2, 1, 2]


def test_a_killed_round_labels_no_others_and_a_finished_one_is_left(phantom_source: Path, tmp_path: Path) -> None:
    what = simulation_of(phantom_source, strategies=("random",)).keep(tmp_path)
    first, second = what.rounds()
    assert run_round(tmp_path, what, first, never)
    assert not run_round(tmp_path, what, second, lambda: True)
    chosen = json.loads(result_path(tmp_path, second).with_name("chosen.json").read_text())["chosen"]
    assert not result_path(tmp_path, second).exists()

    assert run_round(tmp_path, what, second, never)
    told = json.loads(result_path(tmp_path, second).read_text())
    assert set(chosen) < set(told["labelled"])
    assert len(told["labelled"]) == 2
    written = result_path(tmp_path, second).stat().st_mtime_ns
    assert run_round(tmp_path, what, second, never)
    assert result_path(tmp_path, second).stat().st_mtime_ns == written


def test_rounds_go_count_by_count(phantom_source: Path) -> None:
    keys = [one.key for one in simulation_of(phantom_source, seeds=(0, 1)).rounds()]
    assert keys[:3] == ["foreground-random_s0_1", "uncertainty_s0_1", "foreground-random_s0_2"]
    assert len(keys) == 8
    assert Round("random", 0, 5, 3).key == "random_s0_5"


def test_a_folder_can_grow_but_not_change(phantom_source: Path, tmp_path: Path) -> None:
    simulation_of(phantom_source).keep(tmp_path)
    grown = simulation_of(phantom_source, counts=(1, 2, 3), strategies=("mix",), seeds=(1,)).keep(tmp_path)
    assert grown.strategies == ("foreground-random", "uncertainty", "mix")
    assert (grown.seeds, grown.counts) == ((0, 1), (1, 2, 3))
    with pytest.raises(InputError, match="another iterations"):
        simulation_of(phantom_source, iterations=3).keep(tmp_path)
    with pytest.raises(InputError, match="only larger counts"):
        simulation_of(phantom_source, counts=(2, 3)).keep(tmp_path)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"strategies": ("best",)}, "no strategy 'best'"),
        ({"counts": (2, 1)}, "must rise"),
        ({"counts": (1, 99)}, "at most 5"),
        ({"settings": {"nothing": "1"}}, "unknown setting 'nothing'"),
    ],
)
def test_what_cannot_be_run_is_refused_at_once(phantom_source: Path, tmp_path: Path, changes, told: str) -> None:
    with pytest.raises(InputError, match=told):
        simulation_of(phantom_source, **changes).keep(tmp_path)
    assert not (tmp_path / "rank.json").exists()


def test_the_area_is_the_mean_dice_over_the_label_counts() -> None:
    assert area((3, 5, 8), (0.5, 0.5, 0.5)) == pytest.approx(0.5)
    assert area((3, 5, 9), (0.0, 1.0, 1.0)) == pytest.approx((1 + 4) / 6)
    assert area((3,), (0.7,)) == 0.7


def test_a_page_with_nothing_finished_has_dashes(phantom_source: Path, tmp_path: Path) -> None:
    what = simulation_of(phantom_source)
    text = page(what, finished(tmp_path, what))
    assert "| `uncertainty` | 0 | – | – | – |" in text
    assert "difference" not in text


def test_the_command_tells_what_is_wrong(phantom_source: Path, tmp_path: Path, capsys) -> None:
    words = [str(phantom_source), str(tmp_path), "--splits", str(phantom_source / "splits.json")]
    assert main([*words, "--counts", "3,x"]) == 2
    assert "'3,x'" in capsys.readouterr().err
