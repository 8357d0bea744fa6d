"""Changing the classes of a study: what is painted keeps its meaning, also when the change is cut short."""

from __future__ import annotations

import json

import numpy as np
import pytest

from maskmatch_med import service
from maskmatch_med.errors import ConflictError, InputError, LabelsInUseError, StudyError
from maskmatch_med.io import nifti
from maskmatch_med.study import (
    Box,
    Drafts,
    LabelDefinition,
    OpenedDrafts,
    Painter,
    Painting,
    Study,
    define_labels,
    import_scans,
    relabelling,
)
from maskmatch_med.study.removal import remove_scan
from maskmatch_med.volume import Geometry, Volume

SHAPE = (5, 4, 3)


@pytest.fixture
def study(tmp_path):
    names = {"background": 0, "liver": 1, "tumor": 2, "vessel": 3}
    made = Study.create(tmp_path / "s", channel_names=["CT"], label_names=names, label_colours={"tumor": "#ff0000"})
    for name in ("x", "y", "z"):
        made.add_case(name, Volume(np.ones((1, *SHAPE), np.float32), Geometry(SHAPE, np.diag([1.0, 2, 3, 1]))))
    made.add_label("x", labels(0))
    partial = labels(1)
    partial[:2] = 255
    made.add_label("y", partial)
    return made


def labels(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 4, SHAPE, dtype=np.uint8)


def paint(study: Study, name: str, seed: int) -> np.ndarray:
    """A draft of which the lower half is judged."""
    drafts = Drafts(study)
    judged = np.zeros(SHAPE, bool)
    judged[:3] = True
    drafts.save(name, drafts.open(name).revision, np.where(judged, labels(seed), 0).astype(np.uint8), judged, "eve")
    return np.where(judged, labels(seed), 255)


def named(study: Study, array: np.ndarray) -> np.ndarray:
    """Voxels by the names of their classes."""
    names = {value: name for name, value in study.label_names.items()} | {255: "?"}
    return np.array([names[value] for value in array.ravel().tolist()]).reshape(array.shape)


def now(study: Study, name: str) -> np.ndarray:
    opened = Study.open(study.root)
    return named(opened, opened.case(name).read_label().array)


def keep(*names: str) -> list[LabelDefinition]:
    return [LabelDefinition(name, was=name) for name in names]


def test_renaming_and_adding_change_no_label(study):
    before = {name: now(study, name) for name in "xy"}
    wanted = [LabelDefinition("liver", "#00ff00", "liver"), LabelDefinition("tumour", None, "tumor")]
    define_labels(study, [*wanted, *keep("vessel"), LabelDefinition("cyst")])
    content = json.loads((study.root / "dataset.json").read_text())
    assert content["labels"] == {"background": 0, "liver": 1, "tumour": 2, "vessel": 3, "cyst": 4, "ignore": 5}
    assert content["label_colours"] == {"liver": "#00ff00", "tumour": "#ff0000"}
    for name in "xy":
        np.testing.assert_array_equal(now(study, name), np.where(before[name] == "tumor", "tumour", before[name]))
        assert len(study.versions(name)) == 1


def test_reordering_keeps_the_meaning_of_labels_and_drafts(study):
    before = {name: now(study, name) for name in "xy"}
    draft = named(study, paint(study, "z", 2))
    revision = Drafts(study).open("z").revision
    define_labels(study, keep("vessel", "liver", "tumor"), author="eve")
    assert study.label_names == {"background": 0, "vessel": 1, "liver": 2, "tumor": 3}
    for name in "xy":
        np.testing.assert_array_equal(now(study, name), before[name])
        assert [version.source for version in study.versions(name)] == ["human", "classes changed"]
    opened = Study.open(study.root)
    np.testing.assert_array_equal(named(opened, Drafts(opened).open("z").as_label()), draft)
    with pytest.raises(ConflictError):
        Drafts(opened).save("z", revision, labels(3), np.ones(SHAPE, bool))
    restored = service.restore_version(study.root, "x", "0001")
    np.testing.assert_array_equal(now(study, "x"), before["x"])
    assert (restored.version, restored.parent) == ("0003", "0001")


def test_a_window_of_before_may_not_go_on_in_the_old_numbers(study):
    drafts, window, ones = Drafts(study), "window-one-0001", np.ones((1, 1, 1), np.uint8)
    box = Box((0, 0, 0), ones, ones > 0)
    seen = Painting(drafts, OpenedDrafts()).save("z", drafts.open("z").revision, box, Painter("eve", window)).revision
    define_labels(study, keep("vessel", "liver", "tumor"))
    opened = Drafts(Study.open(study.root))
    with pytest.raises(ConflictError):
        Painting(opened, OpenedDrafts()).save("z", seen, Box((1, 0, 0), ones, ones > 0), Painter("eve", window))
    assert opened.open("z").labels[0, 0, 0] == 2


def test_removing_a_painted_class_asks(study):
    before, draft = now(study, "x"), named(study, paint(study, "z", 2))
    with pytest.raises(LabelsInUseError, match="'liver' on 3 scans would no longer be a label") as asked:
        define_labels(study, keep("tumor", "vessel"))
    assert asked.value.scans == {"liver": ["x", "y", "z"]}
    assert study.label_names["liver"] == 1
    define_labels(study, keep("tumor", "vessel"), remove_used=True)
    assert Study.at(study.root).label_names == {"background": 0, "tumor": 1, "vessel": 2}
    np.testing.assert_array_equal(now(study, "x"), np.where(before == "liver", "?", before))
    opened = Study.open(study.root)
    np.testing.assert_array_equal(
        named(opened, Drafts(opened).open("z").as_label()), np.where(draft == "liver", "?", draft)
    )
    with pytest.raises(InputError, match="the class 'liver', which is no class of the study"):
        service.restore_version(study.root, "x", "0001")


def test_a_class_that_nobody_painted_is_removed_without_a_question(study):
    define_labels(study, [*keep("liver", "tumor", "vessel"), LabelDefinition("cyst")])
    define_labels(study, keep("liver", "tumor", "vessel"))
    assert "cyst" not in study.label_names


def test_what_is_painted_on_a_removed_scan_counts_as_used(study):
    paint(study, "z", 2)
    remove_scan(study, "z")
    with pytest.raises(LabelsInUseError) as asked:
        define_labels(study, keep("tumor", "vessel"))
    assert "z (removed)" in asked.value.scans["liver"]


@pytest.mark.parametrize("step", ["_renumber_label", "_renumber_draft", "_follow_in_plan", "unlink"])
def test_a_change_cut_short_is_finished_at_the_next_opening(study, monkeypatch, step):
    """The process ends at its second label, at the draft, before dataset.json, or before the note is taken away."""
    before, draft = {name: now(study, name) for name in "xy"}, named(study, paint(study, "z", 2))
    real, calls = getattr(relabelling, step, None), []

    def dies(*arguments):
        calls.append(arguments)
        if step != "_renumber_label" or len(calls) == 2:
            raise KeyboardInterrupt
        real(*arguments)

    with monkeypatch.context() as patch:
        if step == "unlink":
            patch.setattr(relabelling, "_carry_out", _then_die)
        else:
            patch.setattr(relabelling, step, dies)
        with pytest.raises(KeyboardInterrupt):
            define_labels(study, keep("vessel", "liver", "tumor"))
    opened = Study.open(study.root)
    assert opened.label_names == {"background": 0, "vessel": 1, "liver": 2, "tumor": 3}
    for name in "xy":
        np.testing.assert_array_equal(now(study, name), before[name])
        assert len(opened.versions(name)) == 2
    np.testing.assert_array_equal(named(opened, Drafts(opened).open("z").as_label()), draft)
    assert not (study.root / "history" / "relabelling.json").exists()
    assert json.loads((study.root / "dataset.json").read_text())["labels"]["vessel"] == 1


_carry_out = relabelling._carry_out


def _then_die(*arguments):
    _carry_out(*arguments)
    raise KeyboardInterrupt


def test_a_name_never_passes_to_another_class(study):
    with pytest.raises(InputError, match=r"'tumor' is or was the name of another class"):
        define_labels(study, [LabelDefinition("tumor", was="liver"), LabelDefinition("liver", was="tumor")])
    define_labels(study, [LabelDefinition("hepar", was="liver"), *keep("tumor", "vessel")])
    with pytest.raises(InputError, match=r"'liver' is or was the name of another class \('hepar'\)"):
        define_labels(study, [*keep("hepar", "tumor", "vessel"), LabelDefinition("liver")])
    define_labels(study, [LabelDefinition("liver", was="hepar"), *keep("tumor", "vessel")])
    assert relabelling.names_now(study.root, {"hepar": 1, "liver": 1}) == {"liver": 1}


@pytest.mark.parametrize(
    ("definitions", "message"),
    [
        ([], "must be distinct and not empty"),
        ([LabelDefinition(" ")], "must be distinct and not empty"),
        ([*keep("liver"), LabelDefinition("liver")], "must be distinct"),
        ([LabelDefinition("background", was="liver")], "must be distinct"),
        ([*keep("liver"), LabelDefinition("background")], "the background is always there"),
        ([LabelDefinition("ignore", was="liver")], "a name kept for voxels not judged"),
        (keep("spleen"), "are not those of the study"),
        ([LabelDefinition("a", was="liver"), LabelDefinition("b", was="liver")], "are not those of the study"),
        ([LabelDefinition("liver", "red", "liver")], "needs the form #rrggbb, got 'red'"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_changes(study, definitions, message):
    before = (study.root / "dataset.json").read_bytes()
    with pytest.raises(InputError, match=message):
        define_labels(study, definitions)
    assert (study.root / "dataset.json").read_bytes() == before
    assert not (study.root / "history" / "relabelling.json").exists()


def test_definitions_have_colours_to_tell_apart(study):
    shown = service.label_definitions(study)
    assert [(d.name, d.was) for d in shown] == [(name, name) for name in ("liver", "tumor", "vessel")]
    assert shown[1].colour == "#ff0000"
    assert len({d.colour for d in shown}) == 3
    service.define_labels(study.root, shown[::-1])
    assert service.label_definitions(study.root)[0] == shown[2]


def test_a_study_that_was_opened_before_a_change_does_not_undo_it(study):
    opened_before = Study.open(study.root)
    define_labels(Study.open(study.root), keep("vessel", "tumor", "liver"))
    wanted = Study.open(study.root).label_names
    opened_before.set_group("x", "patient 1")
    assert Study.open(study.root).label_names == wanted
    other = Study.at(study.root)
    assert other.label_names == wanted


def test_values_of_former_classes_are_refused(study):
    opened_before = Study.open(study.root)
    define_labels(Study.open(study.root), keep("vessel", "tumor", "liver"))
    with pytest.raises(StudyError, match=r"classes of .* were changed meanwhile, from 1 liver.* to 1 vessel"):
        opened_before.add_label("z", labels(3))
    assert not study.versions("z")


def test_an_import_during_which_classes_change_writes_nothing(study, tmp_path):
    source = tmp_path / "source"
    (source / "imagesTr").mkdir(parents=True)
    (source / "labelsTr").mkdir()
    geometry = Geometry(SHAPE, np.diag([1.0, 2, 3, 1]))
    nifti.write_map(source / "imagesTr/new_0000.nii.gz", np.ones(SHAPE, np.float32), geometry)
    nifti.write_segmentation(source / "labelsTr/new.nii.gz", labels(4), geometry)
    (source / "dataset.json").write_text(
        json.dumps({"channel_names": {"0": "CT"}, "labels": study.label_names, "file_ending": ".nii.gz"})
    )

    def change(done: int, total: int, text: str) -> None:
        if text == "checking new":
            define_labels(Study.open(study.root), keep("vessel", "tumor", "liver"))

    before = {name: now(study, name) for name in "xy"}
    with pytest.raises(StudyError, match="changed meanwhile"):
        import_scans(source, study.root, progress=change)
    opened = Study.open(study.root)
    assert [case.name for case in opened.cases()] == ["x", "y", "z"]
    assert opened.label_names == {"background": 0, "vessel": 1, "tumor": 2, "liver": 3}
    for name in "xy":
        np.testing.assert_array_equal(now(study, name), before[name])
