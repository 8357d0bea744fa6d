"""Strokes box by box: against a plain array, kept in memory or not, compacted, on a full disk, on a read-only study."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from itertools import takewhile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from maskmatch_med import service
from maskmatch_med.errors import ConflictError, InputError
from maskmatch_med.service import Box, Painter
from maskmatch_med.study import Drafts, Study, painting
from maskmatch_med.study.opened import OpenedDrafts
from maskmatch_med.volume import Geometry, Volume

SHAPE = (9, 8, 7)
EVE = Painter("eve")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    made = Study.create(tmp_path / "study", channel_names=["MRI"], label_names={"background": 0, "a": 1, "b": 2})
    made.add_case("x", Volume(np.ones((1, *SHAPE), np.float32), Geometry(SHAPE, np.eye(4))))
    return made.root


def draft(root: Path):
    """The draft as a process finds it that kept nothing in memory."""
    return Drafts(Study.at(root)).open("x")


def box(seed: int) -> Box:
    """A random box; the same for the same seed."""
    rng = np.random.default_rng(seed)
    corner = tuple(int(n) for n in rng.integers(0, SHAPE))
    sizes = [int(rng.integers(1, whole - low + 1)) for low, whole in zip(corner, SHAPE, strict=True)]
    labels = rng.integers(0, 3, sizes).astype(np.uint8)
    return Box(corner, labels, rng.random(sizes) < 0.5)


def painted(seeds: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """What boxes lead to on a plain array."""
    labels, judged = np.zeros(SHAPE, np.uint8), np.zeros(SHAPE, bool)
    for seed in seeds:
        one = box(seed)
        labels[one.place], judged[one.place] = one.labels, one.judged | (one.labels > 0)
    return labels, judged


def same(root: Path, seeds: list[int]) -> bool:
    found, (labels, judged) = draft(root), painted(seeds)
    return bool((found.labels == labels).all() and (found.judged == judged).all())


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seeds=some.lists(some.integers(0, 10_000), max_size=12), other=some.integers(0, 11), long=some.booleans())
def test_boxes_lead_to_what_a_plain_array_holds(
    root: Path, monkeypatch: pytest.MonkeyPatch, seeds: list[int], other: int, long: bool
) -> None:
    """Whether the journal is compacted, and whether another process writes in between, which memory must notice."""
    monkeypatch.setattr(painting, "_LONG_JOURNAL", 200 if long else 1 << 30)
    start = draft(root)
    blank = Box((0, 0, 0), np.zeros(SHAPE, np.uint8), np.zeros(SHAPE, bool))
    revision = service.save_box(root, "x", start.revision, blank, EVE).revision
    for number, seed in enumerate(seeds):
        if number == other:
            now = draft(root)
            labels, judged = now.labels.copy(), now.judged.copy()
            one = box(seed)
            labels[one.place], judged[one.place] = one.labels, one.judged | (one.labels > 0)
            revision = Drafts(Study.at(root)).save("x", revision, labels, judged, "bob").revision
        else:
            revision = service.save_box(root, "x", revision, box(seed), EVE).revision
    assert same(root, seeds)
    assert draft(root).revision == revision


def test_a_long_journal_is_written_anew_and_stays_short(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(painting, "_LONG_JOURNAL", 4000)
    journal, revision, sizes = root / "drafts" / "x" / "draft.journal", draft(root).revision, []
    for seed in range(120):
        revision = service.save_box(root, "x", revision, box(seed), EVE).revision
        sizes.append(journal.stat().st_size)
    assert max(sizes) < 6000
    assert same(root, list(range(120)))
    assert draft(root).unsaved


def test_a_window_that_is_behind_is_told_and_one_that_repeats_itself_is_not(root: Path) -> None:
    start = draft(root).revision
    first = service.save_box(root, "x", start, box(1), EVE)
    assert service.save_box(root, "x", start, box(1), EVE) == first
    with pytest.raises(ConflictError) as caught:
        service.save_box(root, "x", start, box(2), Painter("bob"))
    assert (caught.value.revision, caught.value.author) == (first.revision, "eve")
    assert same(root, [1])


@pytest.mark.parametrize(
    ("corner", "size", "value"), [((-1, 0, 0), 2, 1), ((8, 0, 0), 2, 1), ((0, 0, 0), 0, 1), ((0, 0, 0), 2, 3)]
)
def test_boxes_that_do_not_fit_change_nothing(root: Path, corner: tuple[int, int, int], size: int, value: int) -> None:
    before = draft(root).revision
    labels = np.full((size, 2, 2), value, np.uint8)
    with pytest.raises(InputError, match="load the scan again"):
        service.save_box(root, "x", before, Box(corner, labels, labels > 0), EVE)
    assert draft(root).revision == before


def test_only_so_many_bytes_are_kept(root: Path, tmp_path: Path) -> None:
    kept = OpenedDrafts(most_bytes=3 * 2 * int(np.prod(SHAPE)))
    drafts = Drafts(Study.at(root))
    for name in "abcde":
        drafts.study.add_case(name, Volume(np.ones((1, *SHAPE), np.float32), Geometry(SHAPE, np.eye(4))))
        painting.Painting(drafts, kept).look(name, lambda draft: draft.revision)
    held = [name for name in "abcde" if kept.find(drafts.journal(name).path) is not None]
    assert held == ["c", "d", "e"]


SAVER = """
import sys
sys.path.insert(0, sys.argv[2])
from pathlib import Path
from test_strokes import EVE, box
from maskmatch_med import service
revision = 0
for seed in range(100000):
    revision = service.save_box(Path(sys.argv[1]), "x", revision, box(seed), EVE).revision
    print(seed, flush=True)
"""


def test_every_acknowledged_box_outlives_kill_9(root: Path) -> None:
    words = [sys.executable, "-c", SAVER, str(root), str(Path(__file__).parent)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        process.stdout.readline()
        time.sleep(0.4)
        process.kill()
        acknowledged = int(process.stdout.read().split()[-1])
    assert acknowledged > 3
    assert same(root, list(range(acknowledged + 1))) or same(root, list(range(acknowledged + 2)))


FULL = """
import resource, signal, sys
sys.path.insert(0, sys.argv[2])
from pathlib import Path
from test_strokes import EVE, box
from maskmatch_med import service
from maskmatch_med.errors import DiskFullError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
root, revision = Path(sys.argv[1]), 0
for seed in range(3):
    revision = service.save_box(root, "x", revision, box(seed), EVE).revision
size = (root / "drafts" / "x" / "draft.journal").stat().st_size
resource.setrlimit(resource.RLIMIT_FSIZE, (size + 20, resource.RLIM_INFINITY))
try:
    service.save_box(root, "x", revision, box(3), EVE)
except DiskFullError as error:
    print(error)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
print(service.save_box(root, "x", revision, box(3), EVE).revision - revision)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGXFSZ"), reason="the size of files can be limited on Unix only")
def test_a_full_disk_is_told_and_the_stroke_can_be_sent_again(root: Path) -> None:
    words = [sys.executable, "-c", FULL, str(root), str(Path(__file__).parent)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    told, after = done.stdout.splitlines()
    assert "free some space" in told
    assert after == "1"
    assert same(root, [0, 1, 2, 3])


LOOKER = """
import os, sys
sys.path.insert(0, sys.argv[2])
from pathlib import Path
from test_strokes import EVE, box
from maskmatch_med import service
from maskmatch_med.errors import ReadOnlyError
root = Path(sys.argv[1])
service.packed_draft(root, "x")  # all modules are loaded by now: another user may not read them
os.setuid(65534)
found = service.packed_draft(root, "x")
print(found.state.revision, found.state.unsaved)
try:
    service.save_box(root, "x", found.state.revision, box(9), EVE)
except ReadOnlyError as error:
    print(error)
"""


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can become another user")
def test_a_study_that_may_only_be_read_opens_and_says_so(root: Path) -> None:
    revision = service.save_box(root, "x", draft(root).revision, box(1), EVE).revision
    for folder in takewhile(lambda one: one.name.startswith(("pytest-", "popen-", "test_")), root.parents):
        folder.chmod(0o755)
    words = [sys.executable, "-c", LOOKER, str(root), str(Path(__file__).parent)]
    done = subprocess.run(words, capture_output=True, text=True, check=False, env={**os.environ, "HOME": "/"})
    assert done.stdout.splitlines()[:1] == [f"{revision} True"], done.stderr
    assert "it may only be read" in done.stdout
    assert same(root, [1])
