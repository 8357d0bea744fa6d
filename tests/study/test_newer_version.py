"""A study that a newer version of the program has written to: it is called that, and nothing of it is mended."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from maskmatch_med import __version__
from maskmatch_med.errors import NewerError, StudyError
from maskmatch_med.study import Drafts, Study, check_study, repair_study
from maskmatch_med.study.verdicts import add_verdict, verdict_on, verdicts_of
from maskmatch_med.volume import Geometry, Volume

SHAPE = (4, 4, 3)


@pytest.fixture
def study(tmp_path: Path) -> Study:
    """A study with a labelled scan, a stroke on it, a prediction and a decision on that."""
    made = Study.create(tmp_path / "s", channel_names=["MRI"], label_names={"background": 0, "a": 1})
    made.add_case("x", Volume(np.zeros((1, *SHAPE), np.float32), Geometry(SHAPE, np.eye(4))))
    made.add_label("x", np.ones(SHAPE, np.uint8))
    draft = Drafts(made).open("x")
    Drafts(made).save("x", draft.revision, np.zeros(SHAPE, np.uint8), np.ones(SHAPE, bool))
    predicted = made.predictions_dir / "m" / "x.nii.gz"
    predicted.parent.mkdir(parents=True)
    predicted.write_bytes((made.root / "labelsTr" / "x.nii.gz").read_bytes())
    add_verdict(made, "x", "m", "rejected", "", "eve")
    return made


def _with_more_in_it(path: Path) -> None:
    content = json.loads(path.read_text())
    for one in content if isinstance(content, list) else [content]:
        one["seen_by"] = ["eve"]
    path.write_text(json.dumps(content))


def _with_another_layout(path: Path) -> None:
    raw = path.read_bytes()
    path.write_bytes(raw[:7] + bytes([raw[7] + 1]) + raw[8:])


FILES: dict[str, tuple[Callable[[Path], None], Callable[[Study], object]]] = {
    "sources/x.json": (_with_more_in_it, lambda study: study.case("x")),
    "history/x/0001.json": (_with_more_in_it, lambda study: study.case("x")),
    "predictions/m/x.review.json": (
        _with_more_in_it,
        lambda study: verdict_on(study.predictions_dir / "m" / "x.nii.gz"),
    ),
    "drafts/x/draft.journal": (_with_another_layout, lambda study: Drafts(study).open("x")),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_of_a_newer_version_is_called_that(study: Study, name: str) -> None:
    change, use = FILES[name]
    use(study)
    change(study.root / name)
    with pytest.raises(NewerError, match=rf"{re.escape(name)} .*{re.escape(__version__)}.*newer version") as caught:
        use(Study.at(study.root))
    assert "damaged; run" not in str(caught.value)


@pytest.mark.parametrize("name", ["sources/x.json", "history/x/0001.json"])
def test_check_says_so_and_repair_leaves_it(study: Study, name: str) -> None:
    _with_more_in_it(study.root / name)
    before = (study.root / name).read_bytes()
    assert [found.todo for found in check_study(study.root) if "newer version" in found.message] == [
        "update the program"
    ]
    with pytest.raises(NewerError):
        repair_study(study.root)
    assert (study.root / name).read_bytes() == before


def test_what_is_damaged_is_still_called_that(study: Study) -> None:
    (study.root / "sources/x.json").write_text(json.dumps({"seen_by": 3})[:-1])
    with pytest.raises(StudyError, match="missing or damaged") as caught:
        Study.at(study.root).case("x")
    assert not isinstance(caught.value, NewerError)


def test_decisions_on_a_scan_with_brackets_in_its_name_are_found(study: Study) -> None:
    study.add_case("x[1]", Volume(np.zeros((1, *SHAPE), np.float32), Geometry(SHAPE, np.eye(4))))
    predicted = study.predictions_dir / "m"
    (predicted / "x[1].nii.gz").write_bytes((predicted / "x.nii.gz").read_bytes())
    add_verdict(study, "x[1]", "m", "rejected", "", "eve")
    assert [one.model for one in verdicts_of(study, "x[1]")] == ["m"]
