"""The routes of a real server, over HTTP."""

from __future__ import annotations

import gzip
import io
import os
import socket
from pathlib import Path
from urllib.parse import quote

import nibabel
import numpy as np
import psutil
import pytest

KEY = "0123456789abcdef"


def _headers(token: str, name: str, size: int, offset: int = 0) -> dict[str, str]:
    return {
        "Authorization": f"Bearer {token}",
        "Upload_Name": quote(name),
        "Upload_Length": str(size),
        "Upload_Offset": str(offset),
    }


def test_a_scan_travels_whole_and_is_not_compressed_twice(server, token: str) -> None:
    answer = server.ask(f"/api/tiny/scans/phantom_000/0.nii.gz?token={token}", Accept_Encoding="gzip")
    assert answer.status == 200
    assert answer.headers["cache-control"].startswith("private")
    image = nibabel.Nifti1Image.from_stream(io.BytesIO(gzip.decompress(answer.body)))
    source = nibabel.load(server.folder / "tiny" / "imagesTr" / "phantom_000_0000.nii.gz")
    np.testing.assert_array_equal(image.get_fdata(), source.get_fdata())
    np.testing.assert_allclose(image.affine, source.affine, atol=1e-5)


def test_labels_and_thumbnails_are_served(server, token: str) -> None:
    label = server.ask(f"/api/tiny/labels/phantom_000.nii.gz?token={token}")
    assert (label.status, label.body[:2]) == (200, b"\x1f\x8b")
    picture = server.ask(f"/api/tiny/thumbnails/phantom_000.jpg?token={token}")
    assert (picture.status, picture.headers["content-type"], picture.body[:3]) == (200, "image/jpeg", b"\xff\xd8\xff")


@pytest.mark.parametrize(
    "path",
    [
        "/api/tiny/scans/phantom_000/0.nii.gz",
        "/api/tiny/thumbnails/phantom_000.jpg?token=1.2",
        "/api/other/thumbnails/phantom_000.jpg?token={token}",
        "/api/..%2Ftiny/thumbnails/phantom_000.jpg?token={token}",
    ],
)
def test_without_a_good_token_nothing_is_served(server, token: str, path: str) -> None:
    answer = server.ask(path.format(token=token))
    assert answer.status in {400, 403, 404}
    assert b"phantom" not in answer.body


@pytest.mark.parametrize("case", ["absent", "..%2F..%2Fplan", "%2Fetc%2Fpasswd", "..%5Cplan", "a%00b"])
def test_a_case_that_is_none_is_refused(server, token: str, case: str) -> None:
    for path in (f"scans/{case}/0.nii.gz", f"thumbnails/{case}.jpg", f"predictions/m/{case}.nii.gz"):
        assert server.ask(f"/api/tiny/{path}?token={token}").status in {400, 404}


def test_an_upload_in_chunks_is_whole_on_disk(server, token: str) -> None:
    content, name = os.urandom(300_000), "scans of Zoë/ä b.nii.gz"
    for offset in range(0, len(content), 100_000):
        chunk = content[offset : offset + 100_000]
        headers = _headers(token, name, len(content), offset)
        answer = server.ask(f"/api/tiny/uploads/{KEY}", "PUT", chunk, **headers)
        assert (answer.status, answer.headers["upload-offset"]) == (204, str(offset + len(chunk)))
    path = server.folder / ".tiny.uploads" / "tiny" / "scans of Zoë" / "ä b.nii.gz"
    assert path.read_bytes() == content
    assert list((server.folder / ".tiny.uploads" / "parts").glob(f"{KEY}*")) == []


def test_an_upload_goes_on_from_where_the_connection_broke(server, token: str) -> None:
    content, key = os.urandom(2_000_000), "fedcba9876543210"
    with socket.create_connection(("localhost", server.port)) as line:
        lines = [f"PUT /api/tiny/uploads/{key} HTTP/1.1", "Host: localhost", f"Content-Length: {len(content)}"]
        lines += [f"{k.replace('_', '-')}: {v}" for k, v in _headers(token, "cut.nii.gz", len(content)).items()]
        line.sendall(("\r\n".join(lines) + "\r\n\r\n").encode() + content[:700_000])
    part = server.folder / ".tiny.uploads" / "parts" / f"{key}.part"
    _wait_for(lambda: part.is_file() and part.stat().st_size == 700_000)
    wrong = server.ask(f"/api/tiny/uploads/{key}", "PUT", b"x", **_headers(token, "cut.nii.gz", len(content), 0))
    assert (wrong.status, wrong.headers["upload-offset"]) == (409, "700000")
    asked = server.ask(f"/api/tiny/uploads/{key}", "HEAD", **_headers(token, "cut.nii.gz", len(content)))
    have = int(asked.headers["upload-offset"])
    rest = _headers(token, "cut.nii.gz", len(content), have)
    assert server.ask(f"/api/tiny/uploads/{key}", "PUT", content[have:], **rest).status == 204
    assert (server.folder / ".tiny.uploads" / "tiny" / "cut.nii.gz").read_bytes() == content


def test_files_of_a_drop_lie_together_and_can_be_forgotten(server, token: str) -> None:
    drop, other = "d" * 24, "e" * 24
    headers = {**_headers(token, "series/a.dcm", 3), "Upload_Drop": drop}
    assert server.ask(f"/api/tiny/uploads/{KEY}", "PUT", b"abc", **headers).status == 204
    path = server.folder / ".tiny.uploads" / drop / "tiny" / "series" / "a.dcm"
    assert path.read_bytes() == b"abc"
    asked = server.ask(f"/api/tiny/uploads/{KEY}", "HEAD", **{**headers, "Upload_Drop": other})
    assert asked.headers["upload-offset"] == "0"
    forgotten = server.ask(f"/api/tiny/uploads/{KEY}", "DELETE", **headers)
    assert (forgotten.status, path.exists()) == (204, False)
    wrong = server.ask(f"/api/tiny/uploads/{KEY}", "PUT", b"abc", **{**headers, "Upload_Drop": "../up"})
    assert wrong.status == 400


@pytest.mark.parametrize(
    "name", ["../a.nii", "/a.nii", "a/../../b.nii", "a\\b.nii", ".a.nii", "a//b.nii", "", "a:b", "a.", "x/" * 600 + "a"]
)
def test_names_that_lead_elsewhere_are_refused(server, token: str, name: str) -> None:
    answer = server.ask(f"/api/tiny/uploads/{KEY}", "PUT", b"x", **_headers(token, name, 1))
    assert answer.status == 400
    assert b"error" in answer.body


def test_more_bytes_than_announced_and_no_token_are_refused(server, token: str) -> None:
    much = server.ask("/api/tiny/uploads/aaaaaaaaaaaaaaaa", "PUT", b"12345", **_headers(token, "a.nii", 3))
    assert much.status == 400
    alien = server.ask("/api/tiny/uploads/aaaaaaaaaaaaaaaa", "PUT", b"123", **_headers("1.2", "a.nii", 3))
    assert alien.status == 403
    huge = server.ask("/api/tiny/uploads/bbbbbbbbbbbbbbbb", "PUT", b"123", **_headers(token, "a.nii", 1 << 37))
    assert huge.status == 507


def test_the_server_listens_on_this_machine_alone(server) -> None:
    listening = [c.laddr.ip for c in psutil.Process(server.process.pid).net_connections("tcp") if c.status == "LISTEN"]
    assert listening
    assert set(listening) <= {"127.0.0.1", "::1"}


@pytest.mark.proof
def test_two_gigabytes_leave_the_memory_flat(server, token: str) -> None:
    process, size, chunk = psutil.Process(server.process.pid), 2 << 30, os.urandom(8 << 20)
    # The first upload imports what all of them need.
    headers = _headers(token, "small.nii", len(chunk), 0)
    assert server.ask("/api/tiny/uploads/dddddddddddddddd", "PUT", chunk, **headers).status == 204
    most = before = process.memory_info().rss
    for offset in range(0, size, len(chunk)):
        headers = _headers(token, "large.nii", size, offset)
        assert server.ask("/api/tiny/uploads/cccccccccccccccc", "PUT", chunk, **headers).status == 204
        most = max(most, process.memory_info().rss)
    path: Path = server.folder / ".tiny.uploads" / "tiny" / "large.nii"
    assert path.stat().st_size == size
    path.unlink()
    assert most - before < 64 << 20


@pytest.mark.parametrize(("name", "status"), [("viewer.js", 200), ("painter.css", 200), ("__init__.py", 404)])
def test_the_viewer_travels_and_the_program_around_it_does_not(server, name: str, status: int) -> None:
    assert server.ask(f"/annotator/{name}").status == status


def _wait_for(condition: object, seconds: float = 10.0) -> None:
    import time

    end = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)
