"""The bodies of requests, read as they arrive and never beyond what they may hold."""

from __future__ import annotations

import json
import zlib
from typing import Any

from starlette.requests import Request

from maskmatch_app.guards import RefusedError

_JSON_BYTES = 1 << 16
_GZIP_OVERHEAD = 1 << 12


async def read_json(request: Request) -> dict[str, Any]:
    """A small JSON object.

    Raises:
        RefusedError: 413 for a large body, 415 for another type, 400 for what is no JSON object.
    """
    _require_type(request, "application/json")
    raw = bytearray()
    async for chunk in request.stream():
        raw += chunk
        if len(raw) > _JSON_BYTES:
            raise RefusedError(413, f"this request may hold {_JSON_BYTES} bytes at most")
    try:
        found = json.loads(bytes(raw) or b"{}")
    except (ValueError, RecursionError) as error:
        raise RefusedError(400, "the request is no JSON; reload the page and try again") from error
    if not isinstance(found, dict):
        raise RefusedError(400, "the request is no JSON object; reload the page and try again")
    return found


async def read_inflated(request: Request, most: int) -> bytes:
    """The bytes of a gzip body, inflated as it arrives and stopped as soon as it holds more than it may.

    Args:
        request: with ``Content-Type: application/octet-stream`` and ``Content-Encoding: gzip``.
        most: bytes that it may hold when inflated.

    Raises:
        RefusedError: 413 for more than ``most`` bytes, 415 for another type, 400 for what is no whole gzip stream.
    """
    _require_type(request, "application/octet-stream")
    if request.headers.get("content-encoding", "").strip().lower() != "gzip":
        raise RefusedError(415, "this request takes Content-Encoding: gzip; reload the page and try again")
    packed_most = most + most // 1000 + _GZIP_OVERHEAD
    if int(request.headers.get("content-length", "0") or "0") > packed_most:
        raise _too_large(most)
    out, came, gzip = bytearray(), 0, zlib.decompressobj(wbits=31)
    async for chunk in request.stream():
        came += len(chunk)
        if came > packed_most:
            raise _too_large(most)
        try:
            out += gzip.decompress(chunk, most + 1 - len(out))
        except zlib.error as error:
            raise RefusedError(400, "the strokes arrived damaged; they will be sent again") from error
        if len(out) > most:
            raise _too_large(most)
    if not gzip.eof or gzip.unused_data:
        raise RefusedError(400, "the strokes arrived in part; they will be sent again")
    return bytes(out)


def _require_type(request: Request, expected: str) -> None:
    found = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if found != expected:
        raise RefusedError(415, f"this request takes {expected}, got {found or 'no type'}")


def _too_large(most: int) -> RefusedError:
    return RefusedError(413, f"the strokes hold more than the scan has room for ({most} bytes)")
