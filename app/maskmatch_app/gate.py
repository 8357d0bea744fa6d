"""What the guards before all pages and routes share: reading a header, and saying no to a request or a socket."""

from __future__ import annotations

from starlette.responses import Response
from starlette.types import Receive, Scope, Send


def header_of(scope: Scope, name: bytes) -> str:
    """A header of a request, empty where it has none; ``name`` in lower case."""
    found = next((value for key, value in scope["headers"] if key == name), b"")
    return str(found.decode("latin-1"))


async def refuse(response: Response, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer a request; a socket is closed before it opens."""
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close", "code": 1008})
    else:
        await response(scope, receive, send)
