from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from maskmatch_med.bench import Design, LabelBudget, Variant
from maskmatch_med.bench.prepare import painted_slices
from maskmatch_med.bench.run import starts_first
from maskmatch_med.errors import InputError


@pytest.fixture
def design(tmp_path: Path) -> Any:
    splits = tmp_path / "splits.json"
    splits.write_text(json.dumps({"label_order": [f"c{i}" for i in range(8)], "test": ["t0", "t1"]}))

    def build(**changes: Any) -> Design:
        values = {
            "data": tmp_path,
            "splits": splits,
            "labelled": (LabelBudget(scans=2),),
            "variants": (Variant.parse("supervised"), Variant.parse("maskmatch")),
            "seeds": (0, 1),
            "iterations": 10,
        }
        return Design(**(values | changes))

    return build


def test_cells_are_every_combination_seed_by_seed(design: Any) -> None:
    keys = [cell.key for cell in design(minutes=0.5).cells()]
    assert keys[:4] == [
        "2_supervised_s0_10iterations",
        "2_maskmatch_s0_10iterations",
        "2_supervised_s0_0.5minutes",
        "2_maskmatch_s0_0.5minutes",
    ]
    assert len(keys) == len(set(keys)) == 8


def test_one_training_of_each_start_comes_before_those_that_would_wait_for_it(design: Any) -> None:
    cells = list(design().cells())
    assert [cell.key for cell in starts_first(cells)] == [
        "2_supervised_s0_10iterations",
        "2_supervised_s1_10iterations",
        "2_maskmatch_s0_10iterations",
        "2_maskmatch_s1_10iterations",
    ]
    assert [cell.seed for cell in starts_first(cells[1:])] == [0, 1, 1]


@pytest.mark.parametrize(
    ("given", "option"),
    [
        ("seed=4", "--seeds"),
        ("method=supervised", "--recipes"),
        ("device=cuda", "--devices"),
        ("preset=best", "--preset"),
    ],
)
def test_what_a_benchmark_decides_is_no_setting(design: Any, given: str, option: str) -> None:
    key, value = given.split("=")
    with pytest.raises(InputError, match=option):
        design(settings={key: value}).check()
    with pytest.raises(InputError, match=option):
        design(variants=(Variant.parse(f"x=maskmatch;{given}"),)).check()


def test_a_cells_settings_are_the_designs_and_its_own(design: Any) -> None:
    narrow = Variant.parse("narrow=maskmatch;pseudo_labels.scales=[0.9,1,1.1];pseudo_labels.gate=false")
    whole = design(variants=(narrow,), settings={"labelled_batch": "1"}, preset="quick", minutes=2.0)
    iterations, minutes = [whole.config_of(cell, "cpu") for cell in whole.cells() if cell.seed == 1]
    assert (iterations.iterations, iterations.minutes, iterations.seed) == (10, None, 1)
    assert (minutes.iterations, minutes.minutes) == (None, 2.0)
    assert iterations.method == "maskmatch"
    assert iterations.pseudo_labels.scales == (0.9, 1.0, 1.1)
    assert not iterations.pseudo_labels.gate
    assert (iterations.labelled_batch, iterations.preset) == (1, "quick")


def test_all_labelled_scans_of_a_cell_train(design: Any) -> None:
    cell = next(design().cells())
    assert design().config_of(cell, "cpu").validation_share == 0
    assert design(settings={"validation_share": "0.1"}).config_of(cell, "cpu").validation_share == 0.1


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("maskmach", ["unknown method"]),
        ("x=maskmatch;pseudo_labels.treshold=0.9", ["pseudo_labels.treshold"]),
        ("x=maskmatch;gate", ["key=value", "'gate'"]),
        ("maskmatch;pseudo_labels.gate=false", ["needs a name"]),
        ("a/b=maskmatch", ["needs a name"]),
    ],
)
def test_a_recipe_that_cannot_be_run_is_refused(text: str, words: list[str]) -> None:
    with pytest.raises(InputError) as caught:
        Variant.parse(text)
    assert all(word in str(caught.value) for word in words)


@pytest.mark.parametrize("text", ["0", "5x", "x3", "five", "", "5x0", "-1", "5+2", "5x3+0", "5x3+"])
def test_a_label_count_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="--labelled takes numbers of scans"):
        LabelBudget.parse(text)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"iterations": None}, "--iterations, --minutes"),
        ({"iterations": 0}, "greater than 0"),
        ({"seeds": ()}, "seed"),
        ({"seeds": (1, 1)}, "seed"),
        ({"labelled": (LabelBudget(scans=7),), "unseen": 2}, "lists 8 scans"),
        ({"scales": (0.0,)}, "scales must be"),
        ({"nsd_mm": -1.0}, "tolerance"),
        ({"iterations": None, "minutes": 1.0, "shared_start": True}, "--shared-start needs --iterations"),
        ({"splits": Path("nowhere.json")}, "cannot read .*nowhere.json: No such file"),
        ({"settings": {"treshold": "1"}}, "treshold"),
    ],
)
def test_a_design_that_cannot_be_run_is_refused(design: Any, tmp_path: Path, changes: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        design(**changes).keep_in(tmp_path / "bench")
    assert not (tmp_path / "bench").exists()


def test_a_folder_grows_and_refuses_what_it_cannot_compare(design: Any, tmp_path: Path) -> None:
    root = tmp_path / "bench"
    design().keep_in(root)
    more = design(variants=(Variant.parse("fixmatch"),), seeds=(2,), minutes=1.0).keep_in(root)
    assert [variant.name for variant in more.variants] == ["supervised", "maskmatch", "fixmatch"]
    assert (more.seeds, more.iterations, more.minutes) == ((0, 1, 2), 10, 1.0)
    assert Design.load(root) == more
    before = (root / "bench.json").read_bytes()
    for changes, words in (
        ({"preset": "quick"}, "preset"),
        ({"scales": (1.0,)}, "scales"),
        ({"nsd_mm": 2.0}, "nsd_mm"),
        ({"iterations": 20}, "10"),
    ):
        with pytest.raises(InputError, match=words):
            design(**changes).keep_in(root)
    other = Variant(name="maskmatch", method="maskmatch", settings={"labelled_batch": "1"})
    with pytest.raises(InputError, match="recipe"):
        design(variants=(other,)).keep_in(root)
    assert (root / "bench.json").read_bytes() == before


def test_a_scan_that_was_trained_on_cannot_become_one_to_score_on(design: Any, tmp_path: Path) -> None:
    root, splits = tmp_path / "bench", tmp_path / "splits.json"
    kept = design().keep_in(root)
    listed = json.loads(splits.read_text())
    splits.write_text(json.dumps({"label_order": ["t0", *listed["label_order"][1:]], "test": ["c0", "t1"]}))
    with pytest.raises(InputError, match="lists other scans than when this benchmark was begun"):
        design(seeds=(2,)).keep_in(root)
    with pytest.raises(InputError, match="lists other scans"):
        kept.scored_cases()
    splits.write_text(json.dumps(listed, indent=2))
    assert design(seeds=(2,)).keep_in(root).scored_cases() == ["t0", "t1"]


def test_a_folder_of_others_is_left_alone(design: Any, tmp_path: Path) -> None:
    root = tmp_path / "bench"
    root.mkdir()
    (root / "table.md").write_text("my notes")
    with pytest.raises(InputError, match=r"is no benchmark and holds other files, such as table\.md"):
        design().keep_in(root)
    assert [path.name for path in root.iterdir()] == ["table.md"]


def test_settings_are_chosen_on_scans_without_a_label_in_the_run(design: Any) -> None:
    assert design().scored_cases() == ["t0", "t1"]
    assert design(unseen=3).scored_cases() == ["c5", "c6", "c7"]


def test_painted_slices_lie_among_those_with_a_structure() -> None:
    labels = np.zeros((4, 5, 20), np.uint8)
    labels[1:3, 1:3, 5:14] = 1
    kept = painted_slices(labels, 3, (1.0, 1.0, 1.0))
    judged = np.flatnonzero((kept != 255).any((0, 1)))
    assert judged.tolist() == [6, 9, 12]
    assert np.array_equal(kept[..., judged], labels[..., judged])
    assert (np.delete(kept, judged, 2) == 255).all()
    across_first = painted_slices(labels, 1, (3.0, 1.0, 1.0))
    assert np.flatnonzero((across_first != 255).any((1, 2))).size == 1
    ends = painted_slices(labels, 3, (1.0, 1.0, 1.0), empty=2)
    assert np.flatnonzero((ends != 255).any((0, 1))).tolist() == [2, 6, 9, 12, 17]
    assert not ends[..., [2, 17]].any()
    few = painted_slices(labels, 50, (1.0, 1.0, 1.0))
    assert np.flatnonzero((few != 255).any((0, 1))).tolist() == list(range(5, 14))
