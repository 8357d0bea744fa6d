"""The password of a server on a network: nothing is answered to a browser that has not given it, no page, no socket.

A browser that has gets a cookie, signed with this user's secret and the password, good for twelve hours.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import os
import stat
import time
from pathlib import Path
from urllib.parse import parse_qs

from markupsafe import escape
from starlette.requests import Request, cookie_parser
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from maskmatch_app import tokens
from maskmatch_app.gate import header_of, refuse

PASSWORD_FILE = "MASKMATCH_APP_PASSWORD_FILE"
"""The environment variable that names the file with the password; nobody is asked where it is not set."""
SHORTEST = 10
COOKIE = "maskmatch_session"
_LARGEST = 1 << 12
_PAGE = Path(__file__).with_name("pictures") / "entrance.html"
_PATH = "/enter"
_OPEN = {"/_stcore/health"}
_FREE_TRIES = 3
_LONGEST_WAIT_S = 60.0
_MOST_ADDRESSES = 10_000
_STRICT = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; img-src data:; style-src 'unsafe-inline'; form-action 'self'; "
    "frame-ancestors 'none'",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
}


def read_password(path: Path) -> str:
    """The password in a file: its text without the line's end.

    Raises:
        ValueError: the file cannot be read, others on this computer may read it, or the password is too short.
    """
    try:
        mode = path.stat().st_mode
        text = path.read_text(encoding="utf-8").strip()
    except FileNotFoundError as error:
        raise ValueError(
            f"there is no password file {path}; write one line into it and run: chmod 600 {path}"
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"the password file {path} cannot be read: {error}") from error
    if os.name == "posix" and mode & stat.S_IRWXO:
        raise ValueError(f"others may read the password file {path}; run: chmod 600 {path}")
    if len(text) < SHORTEST or "\n" in text:
        raise ValueError(f"the password file {path} needs one line of at least {SHORTEST} characters")
    return text


class Tries:
    """How often a wrong password came from an address, and how long it has to wait for the next try."""

    def __init__(self) -> None:
        self._failed: dict[str, tuple[int, float]] = {}

    def wait_s(self, address: str, now: float) -> float:
        """Seconds until the next try from there."""
        _, until = self._failed.get(address, (0, 0.0))
        return max(0.0, until - now)

    def fail(self, address: str, now: float) -> None:
        """Note a wrong password: after three, each wait is twice the one before."""
        count = self._failed.pop(address, (0, 0.0))[0] + 1
        wait_s = min(2.0 ** (count - _FREE_TRIES), _LONGEST_WAIT_S) if count >= _FREE_TRIES else 0.0
        self._failed[address] = (count, now + wait_s)
        while len(self._failed) > _MOST_ADDRESSES:
            self._failed.pop(next(iter(self._failed)))

    def forgive(self, address: str) -> None:
        """Forget the tries from there."""
        self._failed.pop(address, None)


class PasswordGate:
    """Let through only browsers that have given the password, where there is one.

    Args:
        app: what answers them.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        stated = os.environ.get(PASSWORD_FILE)
        self._password = read_password(Path(stated)) if stated else None
        self._tries = Tries()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or ask for the password."""
        if self._password is None or scope["type"] not in {"http", "websocket"} or self._is_known(scope):
            await self._app(scope, receive, send)
        elif scope["type"] == "http" and scope["path"] == _PATH and scope["method"] == "POST":
            await (await self._enter(Request(scope, receive)))(scope, receive, send)
        else:
            await refuse(_asked(scope), scope, receive, send)

    def _is_known(self, scope: Scope) -> bool:
        if scope["path"] in _OPEN:
            return True
        held = cookie_parser(header_of(scope, b"cookie")).get(COOKIE, "")
        return tokens.is_good(held, self._purpose())

    def _purpose(self) -> str:
        """What the cookie is signed for; a new password ends all sessions."""
        return "enter " + hashlib.sha256((self._password or "").encode()).hexdigest()

    async def _enter(self, request: Request) -> Response:
        address = request.client.host if request.client else ""
        now = time.monotonic()
        if (wait_s := self._tries.wait_s(address, now)) > 0:
            return _page(f"Too many tries. Wait {int(wait_s) + 1} seconds, then try again.", 429)
        given = await _given(request)
        if not hmac.compare_digest(given.encode(), (self._password or "").encode()):
            self._tries.fail(address, now)
            await asyncio.sleep(0.5)
            return _page("That is not the password.", 403)
        self._tries.forgive(address)
        response = RedirectResponse("/", 303, headers=_STRICT)
        secure = request.url.scheme == "https"
        token = tokens.sign(self._purpose())
        response.set_cookie(COOKIE, token, max_age=tokens.LIFETIME_S, httponly=True, samesite="strict", secure=secure)
        return response


async def _given(request: Request) -> str:
    """The password that a form brings; empty where it brings none."""
    raw = bytearray()
    async for chunk in request.stream():
        raw += chunk
        if len(raw) > _LARGEST:
            return ""
    fields = parse_qs(raw.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=8)
    return fields.get("password", [""])[0].strip()


def _asked(scope: Scope) -> Response:
    """The page that asks for the password; to what is no page, a refusal."""
    if scope["type"] == "http" and scope["path"].startswith("/api/"):
        return JSONResponse({"error": "sign in first: reload the page"}, 403, headers=_STRICT)
    if scope["type"] == "http" and scope["method"] == "GET" and "text/html" in header_of(scope, b"accept"):
        return _page("", 200)
    return Response(status_code=403, headers=_STRICT)


def _page(told: str, status: int) -> Response:
    text = _PAGE.read_text(encoding="utf-8").replace("{told}", str(escape(told)))
    return HTMLResponse(text, status, headers=_STRICT)
