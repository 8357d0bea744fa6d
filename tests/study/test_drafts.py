"""Drafts: what was acknowledged is there after a kill, a torn file and a full disk; the second writer is told."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import nibabel as nib
import numpy as np
import pytest

from maskmatch_med.errors import ConflictError, InputError, StudyError
from maskmatch_med.study import Drafts, Study
from maskmatch_med.volume import Geometry, Volume

SHAPE = (7, 6, 5)
GEOMETRY = Geometry(SHAPE, np.array([[0, -2.0, 0, 7], [1.5, 0, 0, -3], [0, 0, 3.0, 1], [0, 0, 0, 1]]))


@pytest.fixture
def study(tmp_path):
    made = Study.create(tmp_path / "study", channel_names=["MRI"], label_names={"background": 0, "a": 1, "b": 2})
    made.add_case("x", Volume(np.ones((1, *SHAPE), np.float32), GEOMETRY))
    return made


@pytest.fixture
def drafts(study):
    return Drafts(study)


def stroke(seed: int, labels: np.ndarray, judged: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A small box painted over what was there; the same for the same seed."""
    rng = np.random.default_rng(seed)
    low = rng.integers(0, [n - 1 for n in labels.shape])
    place = tuple(slice(a, a + 1 + int(rng.integers(0, 3))) for a in low)
    labels, judged = labels.copy(), judged.copy()
    labels[place], judged[place] = rng.integers(0, 3), True
    return labels, judged


def painted(count: int, shape: tuple[int, int, int] = SHAPE) -> tuple[np.ndarray, np.ndarray]:
    """What is there after strokes 1 … count."""
    labels, judged = np.zeros(shape, np.uint8), np.zeros(shape, bool)
    for seed in range(1, count + 1):
        labels, judged = stroke(seed, labels, judged)
    return labels, judged


def save_strokes(drafts: Drafts, count: int) -> int:
    draft = drafts.open("x")
    for seed in range(1, count + 1):
        draft = drafts.save("x", draft.revision, *stroke(seed, draft.labels, draft.judged), "eve")
    return draft.revision


def test_strokes_come_back_from_the_disk(study, drafts):
    save_strokes(drafts, 12)
    again = Drafts(Study.at(study.root)).open("x")
    for found, expected in zip((again.labels, again.judged), painted(12), strict=True):
        np.testing.assert_array_equal(found, expected)
    assert (again.author, again.unsaved, again.source) == ("eve", True, "human")
    assert drafts.unsaved() == ["x"]
    assert study.versions("x") == []


def test_a_version_holds_judged_voxels_alone_and_nnunet_sees_it(study, drafts):
    save_strokes(drafts, 5)
    version = drafts.make_version("x")
    labels, judged = painted(5)
    image = nib.load(version.path)
    np.testing.assert_array_equal(np.asarray(image.dataobj), np.where(judged, labels, 255))
    np.testing.assert_allclose(image.affine, GEOMETRY.affine, atol=1e-6)
    assert (version.author, version.source, version.complete) == ("eve", "human", False)
    assert json.loads((study.root / "dataset.json").read_text())["labels"]["ignore"] == 3
    assert drafts.unsaved() == []
    assert drafts.make_version("x") is None
    assert len(study.versions("x")) == 1
    assert drafts.open("x").parent == version.version


def test_the_second_of_two_windows_is_told_and_may_keep_its_own(study, drafts):
    one, other = drafts.open("x"), drafts.open("x")
    first, second = stroke(1, one.labels, one.judged), stroke(2, other.labels, other.judged)
    drafts.save("x", one.revision, *first, "eve")
    with pytest.raises(ConflictError, match=r"x was saved by eve in another window") as caught:
        drafts.save("x", other.revision, *second, "bob")
    assert caught.value.revision == one.revision + 1
    np.testing.assert_array_equal(drafts.open("x").labels, first[0])
    kept = drafts.save_over("x", *second, "bob")
    np.testing.assert_array_equal(kept.labels, second[0])
    theirs = study.versions("x")[0].read().array
    np.testing.assert_array_equal(theirs, np.where(first[1], first[0], 255))


def test_a_save_sent_twice_is_no_conflict(drafts):
    draft = drafts.open("x")
    new = stroke(1, draft.labels, draft.judged)
    revisions = {drafts.save("x", draft.revision, *new).revision for _ in range(2)}
    assert revisions == {draft.revision + 1}


def test_a_journal_cut_anywhere_keeps_what_came_before(study, drafts):
    """The last save is cut off byte by byte; the one before it stands, and what was cut is kept aside."""
    journal = study.root / "drafts" / "x" / "draft.journal"
    revision = save_strokes(drafts, 3)
    before = journal.stat().st_size
    draft = drafts.open("x")
    drafts.save("x", revision, *stroke(4, draft.labels, draft.judged))
    raw = journal.read_bytes()
    for end in range(before, len(raw)):
        journal.write_bytes(raw[:end])
        found = drafts.open("x")
        assert found.revision == revision
        np.testing.assert_array_equal(found.labels, painted(3)[0])
    drafts.save("x", revision, *stroke(4, found.labels, found.judged))
    assert journal.read_bytes()[:before] == raw[:before]
    np.testing.assert_array_equal(drafts.open("x").labels, painted(4)[0])
    assert (journal.parent / "draft-cut-1.journal").read_bytes() == raw[before:-1]


def test_a_damaged_byte_ends_the_journal_there(study, drafts):
    journal = study.root / "drafts" / "x" / "draft.journal"
    save_strokes(drafts, 3)
    before = journal.stat().st_size
    draft = drafts.open("x")
    drafts.save("x", draft.revision, *stroke(4, draft.labels, draft.judged))
    raw = bytearray(journal.read_bytes())
    for place in range(before, len(raw)):
        raw[place] ^= 0xFF
        journal.write_bytes(raw)
        raw[place] ^= 0xFF
        np.testing.assert_array_equal(drafts.open("x").labels, painted(3)[0])


PAINTER = """
import sys
import numpy as np
sys.path.insert(0, sys.argv[2])
from test_drafts import stroke
from maskmatch_med.study import Drafts, Study
drafts = Drafts(Study.at(__import__("pathlib").Path(sys.argv[1])))
draft = drafts.open("x")
for seed in range(1, 100000):
    draft = drafts.save("x", draft.revision, *stroke(seed, draft.labels, draft.judged))
    print(seed, flush=True)
"""


def test_every_acknowledged_stroke_outlives_kill_9(study, drafts):
    """The painter is killed in the midst of saving; its lock and what it acknowledged are taken over."""
    words = [sys.executable, "-c", PAINTER, str(study.root), os.path.dirname(__file__)]  # noqa: PTH120
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        process.stdout.readline()
        time.sleep(0.7)
        process.kill()
        acknowledged = int(process.stdout.read().split()[-1])
    assert acknowledged > 3
    found = drafts.open("x")
    possible = [painted(count) for count in (acknowledged, acknowledged + 1)]
    assert any((found.labels == labels).all() and (found.judged == judged).all() for labels, judged in possible)


FULL = """
import resource, signal, sys
sys.path.insert(0, sys.argv[2])
from test_drafts import Drafts, Study, stroke, save_strokes
from maskmatch_med.errors import StudyError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
root = __import__("pathlib").Path(sys.argv[1])
drafts = Drafts(Study.at(root))
revision = save_strokes(drafts, 3)
journal = root / "drafts" / "x" / "draft.journal"
size = journal.stat().st_size
draft = drafts.open("x")
resource.setrlimit(resource.RLIMIT_FSIZE, (size + 20, resource.RLIM_INFINITY))
try:
    drafts.save("x", revision, *stroke(4, draft.labels, draft.judged))
except StudyError as error:
    print(error)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
print(journal.stat().st_size == size, drafts.save("x", revision, *stroke(4, draft.labels, draft.judged)).revision)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGXFSZ"), reason="the size of files can be limited on Unix only")
def test_a_full_disk_is_told_and_spoils_nothing(study, drafts):
    words = [sys.executable, "-c", FULL, str(study.root), os.path.dirname(__file__)]  # noqa: PTH120
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    told, after = done.stdout.splitlines()
    assert told.startswith(f"cannot save to {study.root / 'drafts' / 'x'}: File too large; free some space")
    assert after == "True 4"
    np.testing.assert_array_equal(drafts.open("x").labels, painted(4)[0])


def test_a_complete_slice_and_a_complete_scan(study, drafts):
    draft = drafts.open("x")
    draft = drafts.complete("x", draft.revision, "eve", axis=2, index=3)
    assert draft.complete_slices(2) == [3]
    assert (draft.complete, draft.unsaved) == (False, False)
    expected = np.full(SHAPE, 255, np.uint8)
    expected[:, :, 3] = 0
    np.testing.assert_array_equal(study.versions("x")[-1].read().array, expected)
    draft = drafts.complete("x", draft.revision, "eve")
    assert draft.complete
    assert [version.complete for version in study.versions("x")] == [False, True]
    assert Study.open(study.root).case("x").judged == "complete"
    with pytest.raises(InputError, match="no slice 5 along axis 2"):
        drafts.complete("x", draft.revision, axis=2, index=5)


def test_a_prediction_is_a_suggestion_until_it_is_judged(study, drafts):
    save_strokes(drafts, 3)
    labels, judged = painted(3)
    prediction = np.random.default_rng(0).integers(0, 3, SHAPE, dtype=np.uint8)
    draft = drafts.suggest("x", drafts.open("x").revision, prediction, "m")
    np.testing.assert_array_equal(draft.labels, np.where(judged, labels, prediction))
    np.testing.assert_array_equal(draft.judged, judged)
    first = drafts.make_version("x")
    np.testing.assert_array_equal(first.read().array, np.where(judged, labels, 255))
    assert first.source == "model corrected"
    draft = drafts.open("x")
    np.testing.assert_array_equal(draft.labels, np.where(judged, labels, prediction))
    drafts.complete("x", draft.revision, "eve")
    last = study.versions("x")[-1]
    np.testing.assert_array_equal(last.read().array, np.where(judged, labels, prediction))
    assert (last.source, last.author, last.complete) == ("model corrected", "eve", True)
    assert last.notes == ("started from the prediction of m",)


def test_a_prediction_left_as_it_was_is_accepted(study, drafts):
    prediction = np.random.default_rng(0).integers(0, 3, SHAPE, dtype=np.uint8)
    draft = drafts.suggest("x", drafts.open("x").revision, prediction, "m")
    assert not draft.unsaved
    drafts.complete("x", draft.revision)
    assert [version.source for version in study.versions("x")] == ["model accepted"]


def test_a_label_made_by_other_ways_begins_the_draft_anew(study, drafts):
    revision = save_strokes(drafts, 2)
    drafts.make_version("x")
    study.add_label("x", np.full(SHAPE, 2, np.uint8))
    fresh = drafts.open("x")
    assert (fresh.labels == 2).all()
    assert fresh.judged.all()
    with pytest.raises(ConflictError):
        drafts.save("x", revision, *painted(3))


def test_unsaved_strokes_stand_beside_a_label_made_by_other_ways(study, drafts):
    save_strokes(drafts, 2)
    elsewhere = study.add_label("x", np.full(SHAPE, 2, np.uint8))
    draft = drafts.open("x")
    assert draft.newer == elsewhere.version
    np.testing.assert_array_equal(draft.labels, painted(2)[0])
    made = drafts.make_version("x")
    assert [version.version for version in study.versions("x")] == [elsewhere.version, made.version]
    np.testing.assert_array_equal(made.read().array, np.where(painted(2)[1], painted(2)[0], 255))
    assert drafts.open("x").newer is None


def test_what_does_not_fit_is_refused(drafts):
    draft = drafts.open("x")
    with pytest.raises(InputError, match=r"the labels of x need \(7, 6, 5\) voxels of uint8, got \(7, 6, 4\)"):
        drafts.save("x", draft.revision, draft.labels[..., 1:], draft.judged)
    with pytest.raises(InputError, match="holds the value 3, the classes end at 2"):
        drafts.save("x", draft.revision, np.full(SHAPE, 3, np.uint8), draft.judged)
    with pytest.raises(StudyError, match="no case 'y'"):
        drafts.open("y")
    with pytest.raises(InputError, match="cannot be"):
        drafts.open("../imagesTr/x")
    assert drafts.open("x").revision == draft.revision


def test_a_save_writes_the_box_that_changed(tmp_path):
    """A stroke on a large scan adds little to its journal."""
    shape = (160, 160, 88)
    study = Study.create(tmp_path / "s", channel_names=["CT"], label_names={"background": 0, "a": 1})
    study.add_case("x", Volume(np.ones((1, *shape), np.float32), Geometry(shape, np.eye(4))))
    drafts = Drafts(study)
    draft = drafts.open("x")
    journal = study.root / "drafts" / "x" / "draft.journal"
    before = journal.stat().st_size
    labels, judged = draft.labels.copy(), draft.judged.copy()
    labels[50:70, 40:60, 30], judged[50:70, 40:60, 30] = 1, True
    drafts.save("x", draft.revision, labels, judged)
    assert before < 20_000
    assert journal.stat().st_size - before < 1_000
