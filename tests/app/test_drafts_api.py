"""The painter's routes of a real server, over HTTP: drafts out, boxes of strokes in."""

from __future__ import annotations

import gzip
import json
import shutil
import struct
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nibabel
import numpy as np
import pytest

from maskmatch_app import tokens
from maskmatch_med import Study
from maskmatch_med.service import LabelDefinition, define_labels, packed_draft
from tests.app.conftest import _SECRET, start_server
from tests.served import Answer, Server

CASE = "phantom_004"
"""A scan of the tests' study without a label."""


def body(corner: tuple[int, ...], labels: np.ndarray, judged: np.ndarray) -> bytes:
    """The body of a PUT, not yet packed."""
    header = json.dumps({"corner": list(corner), "shape": list(labels.shape)}).encode()
    bits = np.packbits(judged.ravel(order="F"), bitorder="little").tobytes()
    return struct.pack("<I", len(header)) + header + labels.tobytes(order="F") + bits


class Window:
    """A page with the painter, as far as the server sees it."""

    def __init__(self, server: Server, token: str, case: str = CASE, study: str = "tiny") -> None:
        self.server, self.path, self.token = server, f"/api/{study}/drafts/{case}", token
        self.load()

    def load(self) -> None:
        answer = self.server.ask(f"{self.path}?token={self.token}")
        assert answer.status == 200, answer.body
        self.state = json.loads(answer.headers["draft-state"])
        self.revision = answer.headers["etag"]
        raw, shape = gzip.decompress(answer.body), tuple(self.state["shape"])
        count = int(np.prod(shape))
        self.labels = np.frombuffer(raw[:count], np.uint8).reshape(shape, order="F").copy()
        bits = np.unpackbits(np.frombuffer(raw[count:], np.uint8), count=count, bitorder="little")
        self.judged = bits.astype(bool).reshape(shape, order="F")

    def put(self, corner: tuple[int, ...], labels: np.ndarray, judged: np.ndarray, **headers: str) -> Answer:
        return self.put_raw(gzip.compress(body(corner, labels, judged)), **headers)

    def put_raw(self, raw: bytes, query: str = "", **headers: str) -> Answer:
        sent = {"If_Match": self.revision, "Content_Type": "application/octet-stream", "Content_Encoding": "gzip"}
        sent = {name: value for name, value in (sent | headers).items() if value}
        answer = self.server.ask(f"{self.path}?token={self.token}{query}", "PUT", raw, **sent)
        if answer.status == 200:
            self.revision = answer.headers["etag"]
        return answer

    def post(self, verb: str, given: dict[str, object] | None = None, **headers: str) -> Answer:
        sent = {"If_Match": self.revision, "Content_Type": "application/json"} | headers
        asked = json.dumps(given or {}).encode()
        return self.server.ask(f"{self.path}/{verb}?token={self.token}", "POST", asked, **sent)

    def stroke(self, seed: int) -> tuple[tuple[int, ...], np.ndarray, np.ndarray]:
        """A random box painted over what this window shows; the same for the same seed."""
        rng = np.random.default_rng(seed)
        low = rng.integers(0, [n - 1 for n in self.labels.shape])
        place = tuple(slice(a, int(a + 1 + rng.integers(0, 6))) for a in low)
        self.labels[place] = rng.integers(0, 5, self.labels[place].shape)
        self.judged[place] |= (self.labels[place] > 0) | (rng.random(self.labels[place].shape) < 0.5)
        return tuple(int(a) for a in low), self.labels[place], self.judged[place]


@pytest.fixture
def window(server: Server, token: str) -> Window:
    return Window(server, token)


def test_random_boxes_come_back_as_an_array_that_was_painted_alike(server: Server, token: str) -> None:
    one = Window(server, token)
    for seed in range(60):
        answer = one.put(*one.stroke(seed), Draft_Author="Zo%C3%AB")
        assert (answer.status, json.loads(answer.body)["revision"]) == (200, int(one.revision.strip('"')))
    again = Window(server, token)
    np.testing.assert_array_equal(again.labels, one.labels)
    np.testing.assert_array_equal(again.judged, one.judged)
    assert (again.state["author"], again.state["unsaved"], again.revision) == ("Zoë", True, one.revision)


def test_the_second_window_is_told_and_may_save_over(server: Server, token: str) -> None:
    one, other = Window(server, token), Window(server, token)
    assert one.put(*one.stroke(1001), Draft_Author="eve").status == 200
    refused = other.put(*other.stroke(1002), Draft_Author="bob")
    said = json.loads(refused.body)
    assert (refused.status, said["author"], f'"{said["revision"]}"') == (409, "eve", one.revision)
    assert "another window" in said["error"]
    raw = gzip.compress(body((0, 0, 0), other.labels, other.judged))
    classes = {"Draft_Classes": json.dumps(other.state["classes"])}
    assert other.put_raw(raw, "&over=1", If_Match="", Draft_Author="bob", **classes).status == 200
    theirs = Study.at(server.folder / "tiny").versions(CASE)[-1]
    np.testing.assert_array_equal(theirs.read().array, np.where(one.judged, one.labels, 255))
    np.testing.assert_array_equal(Window(server, token).labels, other.labels)


def test_a_window_whose_answer_was_lost_is_in_no_conflict_with_itself(server: Server, token: str) -> None:
    one, name = Window(server, token), "window-one-0001"
    before = one.revision
    first = one.stroke(1003)
    assert one.put(*first, Draft_Window=name).status == 200
    one.revision = before  # its answer never arrived
    assert one.put(*first).status == 200
    one.revision = before
    one.stroke(1004)
    whole = ((0, 0, 0), one.labels, one.judged)
    assert one.put(*whole, Draft_Window=name).status == 200
    one.revision = before
    assert one.put(*one.stroke(1005), Draft_Window="window-two-0002").status == 409


def test_what_is_complete_is_a_version_and_saving_twice_makes_one(server: Server, token: str, window: Window) -> None:
    study = Study.at(server.folder / "tiny")
    window.put(*window.stroke(1006))
    answer = window.post("complete", {"axis": 2, "index": 4})
    said = json.loads(answer.body)
    assert (answer.status, said["version"]) == (200, study.versions(CASE)[-1].version)
    again = Window(server, token)
    assert again.judged[:, :, 4].all()
    assert f'"{said["revision"]}"' == again.revision
    again.put(*again.stroke(1007))
    saved = json.loads(again.post("save", Draft_Author="eve").body)
    assert saved["version"] == study.versions(CASE)[-1].version
    assert json.loads(again.post("save").body) == {"version": None, "revision": saved["revision"]}
    assert again.put(*again.stroke(1008)).status == 200
    assert json.loads(again.post("complete", {"axis": None, "index": 0}).body)["version"]
    assert Window(server, token).state["complete"] is True


def test_a_prediction_is_laid_under_what_is_judged(server: Server, token: str) -> None:
    case = "phantom_003"
    window = Window(server, token, case)
    window.put(*window.stroke(9))
    image = nibabel.load(server.folder / "tiny" / "imagesTr" / f"{case}_0000.nii.gz")
    values = np.random.default_rng(1).integers(0, 5, image.shape, dtype=np.uint8)
    folder = server.folder / "tiny" / "predictions" / "other"
    folder.mkdir(parents=True)
    nibabel.save(nibabel.Nifti1Image(values, image.affine), folder / f"{case}.nii.gz")
    started = window.post("start", {"model": "other"})
    assert (started.status, json.loads(started.headers["draft-state"])["model"]) == (200, "other")
    after = Window(server, token, case)
    np.testing.assert_array_equal(after.labels, np.where(window.judged, window.labels, values))
    np.testing.assert_array_equal(after.judged, window.judged)
    assert started.headers["etag"] == after.revision


def test_savers_at_once_lose_no_acknowledged_stroke(server: Server, token: str) -> None:
    """Four windows save boxes of one voxel; whoever is told of a conflict loads and tries again."""
    case, kept = "phantom_002", []

    def paint(number: int) -> None:
        window = Window(server, token, case)
        for step in range(6):
            corner = (number, step, 0)
            value = np.full((1, 1, 1), 1 + (number + step) % 4, np.uint8)
            while (answer := window.put(corner, value, value > 0)).status == 409:
                window.load()
            assert answer.status == 200, answer.body
            kept.append((corner, int(value[0, 0, 0])))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(paint, range(4)))
    found = Window(server, token, case)
    assert len(kept) == 24
    assert all(found.labels[corner] == value for corner, value in kept)


@pytest.mark.parametrize(
    ("status", "headers"),
    [
        (428, {"If_Match": ""}),
        (400, {"If_Match": "W/x"}),
        (415, {"Content_Type": "text/plain"}),
        (415, {"Content_Encoding": "identity"}),
    ],
)
def test_headers_that_do_not_fit_are_refused(window: Window, status: int, headers: dict[str, str]) -> None:
    before = window.revision
    answer = window.put(*window.stroke(10), **headers)
    assert (answer.status, list(json.loads(answer.body))) == (status, ["error"])
    window.load()
    assert window.revision == before


def _bodies() -> dict[str, tuple[int, bytes]]:
    one = np.ones((2, 2, 2), np.uint8)
    good = body((0, 0, 0), one, one > 0)
    odd = struct.pack("<I", 5) + b"[1,2]" + good[-9:]
    return {
        "not gzip": (400, b"no gzip at all"),
        "cut": (400, gzip.compress(good)[:-3]),
        "two streams": (400, gzip.compress(good) * 2),
        "outside": (400, gzip.compress(body((99, 0, 0), one, one > 0))),
        "negative": (400, gzip.compress(body((-1, 0, 0), one, one > 0))),
        "an unknown class": (400, gzip.compress(body((0, 0, 0), one * 200, one > 0))),
        "too few": (400, gzip.compress(good[:-1])),
        "no object": (400, gzip.compress(odd)),
        "empty": (400, gzip.compress(b"")),
        "a long header": (400, gzip.compress(struct.pack("<I", 1 << 31) + good[4:])),
        "a bomb": (413, gzip.compress(bytes(64 << 20))),
        "large": (413, bytes(1 << 17)),  # no more than a socket takes at once, so that the answer can be read
    }


@pytest.mark.parametrize("what", list(_bodies()))
def test_bodies_that_do_not_fit_are_refused(window: Window, what: str) -> None:
    status, raw = _bodies()[what]
    answer = window.put_raw(raw)
    assert (answer.status, list(json.loads(answer.body))) == (status, ["error"])


@pytest.mark.parametrize("case", ["absent", "..%2F..%2Fplan", "%2Fetc%2Fpasswd", "..%5Cplan", "a%00b", "..", "."])
def test_scans_that_are_none_are_refused(server: Server, token: str, case: str) -> None:
    before = sorted(path.name for path in server.folder.rglob("*") if path.name == "draft.journal")
    for method, path in (("GET", ""), ("PUT", ""), ("POST", "/complete"), ("POST", "/save"), ("POST", "/start")):
        given = {"If_Match": '"0"', "Content_Type": "application/json" if path else "application/octet-stream"}
        sent = given | ({} if path else {"Content_Encoding": "gzip"})
        answer = server.ask(f"/api/tiny/drafts/{case}{path}?token={token}", method, b"{}" if path else b"", **sent)
        assert answer.status in {400, 404, 405, 415}
    assert sorted(path.name for path in server.folder.rglob("*") if path.name == "draft.journal") == before


def test_without_a_good_token_nothing_is_read_or_kept(server: Server, token: str) -> None:
    window = Window(server, token)
    window.token = "1.2"
    assert window.put(*window.stroke(11)).status == 403
    assert window.post("save").status == 403
    assert server.ask(f"{window.path}?token=1.2").status == 403


def test_what_is_told_of_a_scan(server: Server, token: str) -> None:
    said = json.loads(server.ask(f"/api/tiny/scans/{CASE}.json?token={token}").body)
    image = nibabel.load(server.folder / "tiny" / "imagesTr" / f"{CASE}_0000.nii.gz")
    assert (tuple(said["shape"]), said["factors"], said["colour"]) == (image.shape, [1, 1, 1], False)
    np.testing.assert_allclose(said["spacing_mm"], image.header.get_zooms(), rtol=1e-5)
    values = np.asarray(image.dataobj)
    np.testing.assert_allclose(said["range"], np.percentile(values, (0.5, 99.5)), atol=1)
    assert said["extent"] == [values.min(), values.max()]


def test_a_file_that_the_browser_has_is_not_sent_again(server: Server, token: str) -> None:
    path = f"/api/tiny/scans/{CASE}/0.nii.gz?token={token}"
    first = server.ask(path)
    assert (first.status, first.headers["cache-control"]) == (200, "private, no-cache")
    again = server.ask(path, If_None_Match=first.headers["etag"])
    assert (again.status, again.body) == (304, b"")
    assert server.ask(f"{path}&v=1").headers["cache-control"] == "private, max-age=31536000, immutable"


def unpacked(answer: Answer) -> tuple[tuple[int, ...], np.ndarray, np.ndarray]:
    """The box of an answer: corner, labels, judged."""
    raw = gzip.decompress(answer.body)
    (length,) = struct.unpack_from("<I", raw)
    header = json.loads(raw[4 : 4 + length])
    shape, voxels = header["shape"], np.frombuffer(raw[4 + length :], np.uint8)
    count = int(np.prod(shape))
    judged = np.unpackbits(voxels[count:], count=count, bitorder="little").astype(bool)
    return header["corner"], voxels[:count].reshape(shape, order="F"), judged.reshape(shape, order="F")


def test_strokes_grow_and_slices_are_filled_without_being_saved(server: Server, token: str) -> None:
    window = Window(server, token, "phantom_003")
    zero = np.zeros(window.labels.shape, np.uint8)
    window.put((0, 0, 0), zero, zero > 0)
    painted = np.full((4, 4, 1), 2, np.uint8)
    for z in (3, 7):
        assert window.put((5, 5, z), painted, painted > 0).status == 200
    between = window.post("interpolate", {"label": 2, "axis": None})
    corner, labels, judged = unpacked(between)
    assert (between.status, corner, labels.shape) == (200, [5, 5, 4], (4, 4, 3))
    assert (labels == 2).all()
    assert judged.all()
    grown = window.post("grow", {"label": 2, "limit": 0.9, "slice": {"axis": 2, "index": 3}})
    corner, labels, judged = unpacked(grown)
    assert (corner[2], labels.shape[2]) == (3, 1)
    assert (labels[judged] == 2).all()
    window.load()
    assert window.judged.sum() == 32
    assert (server.ask(f"{window.path}?token={token}").headers["etag"]) == window.revision


@pytest.mark.parametrize(
    ("verb", "given", "told"),
    [
        ("grow", {"label": 9, "limit": 0.5}, "no structure"),
        ("grow", {"label": 1, "limit": 3}, "from 0 to 1"),
        ("grow", {"label": 1, "limit": "wide"}, "as a number"),
        ("grow", {"label": 1, "slice": 4}, "an axis and an index"),
        ("grow", {"label": 4, "limit": 0.5, "slice": {"axis": 2, "index": 0}}, "no stroke"),
        ("grow", {}, "label as a whole number"),
        ("interpolate", {"label": 0}, "no structure"),
        ("interpolate", {"label": 3, "axis": 7}, "no axis 7"),
        ("interpolate", {"label": 3, "axis": 1}, "nothing lies between"),
    ],
)
def test_what_cannot_be_proposed_is_told(server: Server, token: str, verb: str, given: dict, told: str) -> None:
    answer = Window(server, token, "phantom_003").post(verb, given)
    assert answer.status == 400
    assert told in json.loads(answer.body)["error"]


def test_strokes_in_the_numbers_of_other_classes_are_refused(
    planned_study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = Path(shutil.copytree(planned_study, tmp_path / "studies" / "own"))
    server = start_server(root.parent)
    try:
        monkeypatch.setattr(tokens, "_SECRET", _SECRET)
        window = Window(server, tokens.sign("own"), study="own")
        _classes_change_under(window, root)
    finally:
        server.stop()


def _classes_change_under(window: Window, root: Path) -> None:
    names, one = window.state["classes"], np.ones((2, 1, 1), np.uint8)
    mine = {"Draft_Window": "window-one-0001", "Draft_Classes": json.dumps(names)}
    assert window.put((0, 0, 0), one, one > 0, **mine).status == 200
    kept = [LabelDefinition(name, was=name) for name in names]
    define_labels(root, [LabelDefinition("hepar", was=names[0]), *kept[1:], LabelDefinition("cyst")])
    assert window.put((0, 1, 0), one, one > 0, **mine).status == 200, "a new name and a class more are no harm"
    grow: dict[str, object] = {"label": 1, "limit": 0.5}
    assert window.post("grow", grow, **mine).status in {200, 204}
    before = window.revision
    define_labels(root, [LabelDefinition(name, was=name) for name in ("cyst", "hepar", *names[1:])])
    whole = gzip.compress(body((0, 0, 0), window.labels, window.judged))
    for answer in (
        window.put((0, 2, 0), one, one > 0, **mine),
        window.put_raw(whole, "&over=1", **mine),
        window.post("complete", {"axis": 2, "index": 0}, **mine),
        window.post("start", {"model": "m"}, **mine),
        window.post("grow", grow, **mine),
        window.post("interpolate", {"label": 1, "axis": 1}, **mine),
    ):
        assert answer.status == 412, answer.body
        assert "paints with the classes" in json.loads(answer.body)["error"]
    assert window.put_raw(whole, "&over=1").status == 428
    assert window.put((0, 2, 0), one, one > 0, Draft_Window="window-one-0001").status == 409
    assert window.put((0, 2, 0), one, one > 0, Draft_Classes="{").status == 400
    found = json.loads(window.post("classes", {"classes": names}).body)
    assert found == {"classes": ["cyst", "hepar", *names[1:]], "values": [2, 3, 4, 5]}
    window.load()
    assert (window.state["classes"], window.revision != before) == (found["classes"], True)
    assert window.labels[:2, :2, 0].ravel().tolist() == [2] * 4
    define_labels(root, [LabelDefinition("cyst", was="cyst")], remove_used=True)
    assert json.loads(window.post("classes", {"classes": names}).body)["values"] == [None] * 4


def test_a_scan_of_the_same_name_is_told_from_another(planned_study: Path, tmp_path: Path) -> None:
    root = Path(shutil.copytree(planned_study, tmp_path / "own"))
    before = packed_draft(root, CASE).state.origin
    assert packed_draft(root, "phantom_003").state.origin != before
    assert packed_draft(root, CASE).state.origin == before
    record = root / "sources" / f"{CASE}.json"
    record.write_text(json.dumps(json.loads(record.read_text()) | {"added": "2020-01-01T00:00:00.000+00:00"}))
    assert packed_draft(root, CASE).state.origin != before
