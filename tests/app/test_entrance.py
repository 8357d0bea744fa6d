"""Who gets in: loopback alone without a password, nothing before the password on a network, no other site at all."""

from __future__ import annotations

import http.client
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import pytest

from maskmatch_app import tokens
from maskmatch_app.entrance import COOKIE, Tries, read_password
from maskmatch_app.hosts import is_loopback, names_of
from tests.served import Server

PASSWORD = "correct horse & Zoë"


def ask(server: Server, path: str, method: str = "GET", body: bytes = b"", **headers: str) -> tuple[int, dict, bytes]:
    """One request that follows nothing, with the headers as they are."""
    line = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    try:
        line.request(method, path, body or None, {name.replace("_", "-"): value for name, value in headers.items()})
        answer = line.getresponse()
        return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()
    finally:
        line.close()


@pytest.fixture(scope="module")
def guarded_server(planned_study: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server on all addresses with a password."""
    base = tmp_path_factory.mktemp("guarded")
    shutil.copytree(planned_study, base / "studies" / "tiny")
    (base / "password").write_text(PASSWORD + "\n", encoding="utf-8")
    (base / "password").chmod(0o600)
    server = Server(base / "studies", more=("--host", "0.0.0.0", "--password-file", str(base / "password"))).start()
    yield server
    server.stop()


def sign_in(server: Server, password: str) -> tuple[int, dict, bytes]:
    form = urlencode({"password": password}).encode()
    return ask(server, "/enter", "POST", form, Content_Type="application/x-www-form-urlencoded")


SOCKET = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec_WebSocket_Version": "13",
    "Sec_WebSocket_Key": "dGhlIHNhbXBsZSBub25jZQ==",
}


def test_before_the_password_nothing_is_answered_and_after_it_everything(
    guarded_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = guarded_server
    status, headers, page = ask(server, "/", Accept="text/html")
    assert (status, b"Password of this server" in page, b"tiny" in page) == (200, True, False)
    assert headers["x-frame-options"] == "DENY"
    monkeypatch.setattr(tokens, "_SECRET", tokens.secret(server.folder.parent / "state" / "maskmatch"))
    scan = f"/api/tiny/scans/phantom_000.json?token={tokens.sign('tiny')}"
    assert [ask(server, path)[0] for path in (scan, "/", "/static/x.js", "/annotator/viewer.js")] == [403] * 4
    assert ask(server, "/_stcore/stream", **SOCKET)[0] == 403
    status, headers, _ = sign_in(server, PASSWORD)
    cookie = headers["set-cookie"]
    assert (status, headers["location"]) == (303, "/")
    assert {"HttpOnly", "SameSite=strict"} <= set(cookie.split("; "))
    held = cookie.partition(";")[0]
    assert ask(server, scan, Cookie=held)[0] == 200
    assert b"Password of this server" not in ask(server, "/", Accept="text/html", Cookie=held)[2]
    assert ask(server, scan, Cookie=f"{held}x")[0] == 403
    assert ask(server, scan, Cookie=f"{COOKIE}={tokens.sign('tiny')}")[0] == 403


def test_wrong_passwords_are_slowed_down(guarded_server: Server) -> None:
    said = [sign_in(guarded_server, f"guess {number} of many") for number in range(5)]
    assert [status for status, _, _ in said[:3]] == [403] * 3
    assert 429 in {status for status, _, _ in said}
    assert all("set-cookie" not in headers for _, headers, _ in said)


def test_each_wait_is_twice_the_one_before_and_other_addresses_do_not_wait() -> None:
    tries, now, waits = Tries(), 0.0, []
    for _ in range(10):
        tries.fail("a", now)
        waits.append(tries.wait_s("a", now))
        now += waits[-1]
    assert waits == [0, 0, 1, 2, 4, 8, 16, 32, 60, 60]
    assert tries.wait_s("b", now) == 0
    tries.forgive("a")
    tries.fail("a", now)
    assert tries.wait_s("a", now) == 0


@pytest.mark.parametrize("content", ["", "short", "\n\n", "one line of ten\nand another line"])
def test_passwords_that_are_none_are_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "password").write_text(content)
    (tmp_path / "password").chmod(0o600)
    with pytest.raises(ValueError, match="at least 10 characters"):
        read_password(tmp_path / "password")


@pytest.mark.skipif(os.name != "posix", reason="only Unix states who may read a file in its mode")
def test_a_password_that_others_may_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "password").write_text(PASSWORD)
    (tmp_path / "password").chmod(0o644)
    with pytest.raises(ValueError, match="chmod 600"):
        read_password(tmp_path / "password")


@pytest.mark.parametrize("more", [[], ["--password-file", "absent"]])
def test_a_network_is_not_served_without_a_password(tmp_path: Path, more: list[str]) -> None:
    command = [sys.executable, "-c", "from maskmatch_med.cli import main; raise SystemExit(main())", "app", "--host"]
    command += ["0.0.0.0", "--no-browser", "--folder", str(tmp_path), *more]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert (done.returncode, "password" in done.stderr) == (2, True)
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("host", "loopback"),
    [("localhost", True), ("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("0.0.0.0", False), ("::", False)],
)
def test_which_hosts_are_this_computer_alone(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback
    assert names_of(host) == (("localhost", "127.0.0.1", "::1") if loopback else ())


def test_a_server_of_one_address_goes_by_its_name() -> None:
    assert not is_loopback("scans.hospital.example")
    assert {"localhost", "scans.hospital.example"} <= set(names_of("scans.hospital.example"))


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "", "localhost.evil.example", "[", "127.0.0.1.x"])
def test_by_another_name_nothing_is_answered(server: Server, token: str, host: str) -> None:
    for path in (f"/api/tiny/scans/phantom_000.json?token={token}", "/", "/_stcore/health"):
        assert ask(server, path, Host=host)[0] == 400
    assert ask(server, "/_stcore/stream", Host=host, **SOCKET)[0] == 403


def test_a_page_of_another_site_changes_nothing_and_reads_nothing(server: Server, token: str) -> None:
    path = f"/api/tiny/drafts/phantom_004/save?token={token}"
    host = f"localhost:{server.port}"
    sent = {"Content_Type": "application/json", "Host": host}
    assert ask(server, path, "POST", b"{}", Origin="http://evil.example", **sent)[0] == 403
    assert ask(server, path, "POST", b"{}", Origin="null", **sent)[0] == 403
    assert ask(server, path, "POST", b"{}", Origin=f"http://{host}", **sent)[0] == 200
    _, headers, _ = ask(server, f"/api/tiny/scans/phantom_000.json?token={token}", Origin="http://evil.example")
    assert "access-control-allow-origin" not in headers
