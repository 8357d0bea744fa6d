"""Who may use a route, and what an error is called in HTTP: a request needs a token for a study of the shelf."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, Response

from maskmatch_app import tokens
from maskmatch_app.shelf import Shelf
from maskmatch_med.errors import (
    BusyError,
    ClassesError,
    ConflictError,
    DiskFullError,
    InputError,
    MaskMatchError,
    ReadOnlyError,
    UnknownScanError,
    not_written,
)

KEEP_PRIVATE = {"Cache-Control": "private, no-cache", "X-Content-Type-Options": "nosniff"}
"""For what a browser may keep, and asks again whether it has changed."""
_FOR_GOOD = "private, max-age=31536000, immutable"
_VOLUME = {**KEEP_PRIVATE, "Content-Encoding": "identity"}
"""A volume is gzip itself; the stated encoding keeps the server from compressing it once more."""
_STATUS: tuple[tuple[type[MaskMatchError], int], ...] = (
    (ConflictError, 409),
    (ClassesError, 412),
    (ReadOnlyError, 403),
    (DiskFullError, 507),
    (BusyError, 503),
)
Handler = Callable[[Request, Path], Awaitable[Response]]


class RefusedError(Exception):
    """A request that cannot be answered.

    Args:
        status: what HTTP calls it.
        text: the sentence for who sent it.
    """

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


def guarded(handler: Handler, unusable: int = 404) -> Callable[[Request], Awaitable[Response]]:
    """Let a handler see only requests with a good token for a study of the shelf; errors become sentences.

    Args:
        handler: called with the request and the study's folder.
        unusable: the status where what was asked for or sent cannot be used.
    """

    async def guarded_handler(request: Request) -> Response:
        study = request.path_params["study"]
        bearer = request.headers.get("authorization", "").removeprefix("Bearer ")
        if not tokens.is_good(bearer or request.query_params.get("token", ""), study):
            return refusal(403, "this page is too old; reload it")
        root = Shelf.from_environment().path(study)
        try:
            return _unless_known(request, await handler(request, root))
        except RefusedError as error:
            return refusal(error.status, str(error))
        except MaskMatchError as error:
            return refusal(_status(error, 404, unusable), _words(error), **_choice(error))
        except OSError as error:
            told = not_written(root, error)
            return refusal(_status(told, 500), str(told))
        except ClientDisconnect:
            return Response(status_code=400)

    return guarded_handler


def _status(error: MaskMatchError, otherwise: int, unusable: int = 400) -> int:
    """What HTTP calls an error.

    Args:
        error: it.
        otherwise: for an error of the study that is none of those known.
        unusable: for what was asked for or sent and cannot be used.
    """
    if isinstance(error, InputError):
        return unusable
    return next((code for kind, code in _STATUS if isinstance(error, kind)), otherwise)


def _words(error: MaskMatchError) -> str:
    if isinstance(error, UnknownScanError):
        return "this scan is not in the study, or was removed from it in another window"
    return str(error)


def refusal(status: int, text: str, **more: object) -> Response:
    """An error as JSON: ``{"error": text}`` and what else there is to tell."""
    return JSONResponse({"error": text, **more}, status, headers={"Cache-Control": "no-store"})


def volume(path: Path) -> Response:
    """A file that is gzip itself."""
    return FileResponse(path, media_type="application/gzip", headers=_VOLUME, stat_result=path.stat())


def _unless_known(request: Request, response: Response) -> Response:
    """Send no file again that the browser has; one whose address names a version (``v=``) is not even asked about."""
    if not isinstance(response, FileResponse) or "etag" not in response.headers:
        return response
    if request.query_params.get("v"):
        response.headers["Cache-Control"] = _FOR_GOOD
    if response.headers["etag"] not in request.headers.get("if-none-match", ""):
        return response
    kept = {name: response.headers[name] for name in ("etag", "cache-control")}
    return Response(status_code=304, headers=kept)


def _choice(error: MaskMatchError) -> dict[str, object]:
    """What a window needs to know of the save that came before its own."""
    if not isinstance(error, ConflictError):
        return {}
    return {"revision": error.revision, "author": error.author, "saved": error.saved}
