"""The names under which the server is asked for: a page of another site must not reach it by a name of its own."""

from __future__ import annotations

import ipaddress
import os
import socket
from urllib.parse import urlsplit

from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from maskmatch_app.gate import header_of, refuse

HOSTS = "MASKMATCH_APP_HOSTS"
"""The environment variable with the names that are answered, separated by commas; ``*`` for all."""
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


def is_loopback(host: str) -> bool:
    """Whether only this computer can ask a server that listens there."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def names_of(host: str) -> tuple[str, ...]:
    """The names that a server which listens on ``host`` answers; none where it listens everywhere.

    Behind a password that is no danger: what keeps a browser signed in is sent to the name alone that it signed in at.
    """
    if is_loopback(host):
        return _LOOPBACK
    try:
        if ipaddress.ip_address(host).is_unspecified:
            return ()
    except ValueError:
        pass
    return (*_LOOPBACK, host.lower(), socket.gethostname().lower(), socket.getfqdn().lower())


class HostCheck:
    """Answer requests by the server's own names alone, and change nothing for pages of other sites.

    Args:
        app: what answers.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        stated = os.environ.get(HOSTS) or ",".join(_LOOPBACK)
        self._names = None if stated == "*" else frozenset(stated.split(","))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or refuse."""
        if scope["type"] in {"http", "websocket"}:
            host = _name(header_of(scope, b"host"))
            origin = header_of(scope, b"origin")
            if self._names is not None and host not in self._names:
                await refuse(PlainTextResponse("this server does not go by that name", 400), scope, receive, send)
                return
            changes = scope["type"] == "http" and scope["method"] not in {"GET", "HEAD", "OPTIONS"}
            if changes and origin and urlsplit(origin).netloc.lower() != header_of(scope, b"host").lower():
                await refuse(PlainTextResponse("another site may change nothing here", 403), scope, receive, send)
                return
        await self._app(scope, receive, send)


def _name(host: str) -> str:
    """A Host header without its port."""
    try:
        return (urlsplit(f"//{host}").hostname or "").lower()
    except ValueError:
        return ""
