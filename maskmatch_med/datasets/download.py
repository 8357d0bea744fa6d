"""One file by HTTP, gone on with where an earlier try broke off, and kept only with the right sum.

Proxies are those of the environment: ``http_proxy``, ``https_proxy``, ``no_proxy``.
"""

from __future__ import annotations

import hashlib
import re
import ssl
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from http import HTTPStatus
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import HTTPSHandler, Request, build_opener

import certifi

from maskmatch_med.errors import InputError
from maskmatch_med.progress import Progress

WAITS_S = (1.0, 2.0, 4.0, 8.0)
"""How long to wait before each further try that brought nothing new."""
_SILENCE_S = 60.0
_BLOCK = 1 << 20
_BUSY = {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS}


@dataclass(frozen=True)
class Remote:
    """A file elsewhere.

    Args:
        address: http or https.
        md5: its sum, in hexadecimal digits.

    Raises:
        InputError: the address is of another kind.
    """

    address: str
    md5: str

    def __post_init__(self) -> None:
        try:
            usable = urlsplit(self.address).scheme in {"http", "https"} and bool(urlsplit(self.address).hostname)
        except ValueError:
            usable = False
        if not usable:
            raise InputError(f"{self.address!r} is no address; expected one that begins with https:// or http://")


def download(
    remote: Remote,
    target: Path,
    *,
    room: Callable[[int, int], None] = lambda total, missing: None,
    progress: Progress | None = None,
    waits_s: Sequence[float] = WAITS_S,
) -> None:
    """Bring a file here. Until it is whole and its sum is right it is called ``TARGET.part``.

    What has come stays when the connection breaks or the program is stopped; the next call goes on from there where the
    server can, and begins anew where it cannot.

    Args:
        remote: what to bring.
        target: where to; its folder exists.
        room: asked with (bytes in all, bytes to come) before the bytes come; raises where there is no room.
        progress: told how far it is.
        waits_s: seconds before each further try; tries that bring something do not count.

    Raises:
        InputError: the server refuses or cannot be reached, or the sum is wrong; with a wrong sum nothing is kept.
        OSError: the file cannot be written.
    """
    part = target.with_name(f"{target.name}.part")
    waits = list(waits_s)
    while True:
        before = _size(part)
        try:
            if _receive(remote.address, part, room, progress):
                break
            continue
        except (HTTPException, OSError) as error:
            told = _told(error, remote.address)
        if _size(part) > before:
            waits = list(waits_s)
        if not waits:
            raise InputError(
                f"{remote.address} cannot be had: {told}; {_size(part) / 1e6:.1f} MB are kept, and the same command "
                "goes on from there"
            )
        time.sleep(waits.pop(0))
    found = md5_of(part, progress)
    if found != remote.md5:
        part.unlink()
        raise InputError(
            f"what came from {remote.address} has the md5 sum {found}, expected {remote.md5}; it was removed: try "
            "again, or name another mirror by --address"
        )
    part.replace(target)


def _told(error: HTTPException | OSError, address: str) -> str:
    """Why a try failed that may be repeated; raises where that would be of no use."""
    if isinstance(error, HTTPError):
        with error:
            told = f"{error.code} {error.reason}"
        if error.code < HTTPStatus.INTERNAL_SERVER_ERROR and error.code not in _BUSY:
            raise InputError(f"{address} gives {told}; name a mirror by --address") from error
        return told
    if isinstance(error, OSError) and not isinstance(error, URLError | ConnectionError | TimeoutError | ssl.SSLError):
        raise error  # of the disk, not of the network
    return str(getattr(error, "reason", error)) or type(error).__name__


def md5_of(path: Path, progress: Progress | None = None) -> str:
    """The md5 sum of a file: it tells damage, and is what the publisher states; it is no protection from malice."""
    total, done, state = _size(path), 0, hashlib.md5(usedforsecurity=False)
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK):
            state.update(block)
            done += len(block)
            _tell(progress, done, total, "checked")
    return state.hexdigest()


class _CutError(ConnectionError):
    """The connection ended before the file did."""


def _receive(address: str, part: Path, room: Callable[[int, int], None], progress: Progress | None) -> bool:
    """Append to ``part`` what it lacks, or write it anew where the server gives the whole; whether it is whole now."""
    have = _size(part)
    asked = {"Accept-Encoding": "identity", "User-Agent": "maskmatch"} | ({"Range": f"bytes={have}-"} if have else {})
    try:
        answer = _open(Request(address, headers=asked))
    except HTTPError as error:
        if error.code != HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE or not have:
            raise
        with error:  # all of it is here already, or more than there is
            whole = error.headers.get("Content-Range") == f"bytes */{have}"
        if not whole:
            part.unlink()
        return whole
    with closing(answer):
        goes_on = answer.status == HTTPStatus.PARTIAL_CONTENT
        begin, total = _placed(answer) if goes_on else (0, int(answer.headers.get("Content-Length") or 0))
        if goes_on and begin != have:
            raise _CutError(f"the server sent the bytes from {begin} instead of those from {have}")
        room(total, max(total - begin, 0))
        with part.open("ab" if goes_on else "wb") as stream:
            done = begin
            while block := answer.read(_BLOCK):
                stream.write(block)
                done += len(block)
                _tell(progress, done, total, "fetched")
    if done < total:
        raise _CutError(f"the connection ended at byte {done} of {total}")
    return True


def _open(request: Request) -> HTTPResponse:
    """Ask, trusting the authorities of this system and the usual ones, which some installations of Python lack."""
    context = ssl.create_default_context()
    context.load_verify_locations(certifi.where())
    answer: HTTPResponse = build_opener(HTTPSHandler(context=context)).open(request, timeout=_SILENCE_S)
    return answer


def _placed(answer: HTTPResponse) -> tuple[int, int]:
    """Where the bytes of an answer in part begin, and how many the file has."""
    found = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", answer.headers.get("Content-Range", ""))
    if found is None:
        raise _CutError("the server does not say which bytes it sends")
    return int(found[1]), int(found[2])


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _tell(progress: Progress | None, done: int, total: int, verb: str) -> None:
    if progress is not None:
        progress(done, total, f"{done / 1e6:.1f}{f' of {total / 1e6:.1f}' if total else ''} MB {verb}")
