"""What travels by HTTP: pictures and volumes out, uploads in. Each request carries a token for its study."""

from __future__ import annotations

import asyncio
import errno
from collections import defaultdict
from collections.abc import Awaitable, Callable
from pathlib import Path
from urllib.parse import unquote

from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from maskmatch_app import tokens
from maskmatch_app.shelf import Shelf
from maskmatch_app.uploads import NoSpaceError, OffsetError, Upload
from maskmatch_med import service
from maskmatch_med.errors import InputError, MaskMatchError

_HERE = Path(__file__).parent
_KEEP_PRIVATE = {"Cache-Control": "private, max-age=3600", "X-Content-Type-Options": "nosniff"}
_VOLUME = {**_KEEP_PRIVATE, "Content-Encoding": "identity"}
"""A volume is gzip itself; the stated encoding keeps the server from compressing it once more."""
Handler = Callable[[Request, Path], Awaitable[Response]]
_locks: defaultdict[Path, asyncio.Lock] = defaultdict(asyncio.Lock)


def routes() -> list[BaseRoute]:
    """The routes beside those of Streamlit."""
    return [
        Route("/api/{study}/thumbnails/{case}.jpg", _guarded(_thumbnail)),
        Route("/api/{study}/scans/{case}/{channel:int}.nii.gz", _guarded(_scan)),
        Route("/api/{study}/labels/{case}.nii.gz", _guarded(_label)),
        Route("/api/{study}/predictions/{model}/{case}.nii.gz", _guarded(_prediction)),
        Route("/api/{study}/uploads/{key}", _guarded(_upload), methods=["HEAD", "PUT"]),
        Route("/api/{rest:path}", _nothing_there),
        Mount("/annotator", _Lasting(directory=_HERE / "annotator")),
    ]


class _Lasting(StaticFiles):
    """The viewer's own files; a browser asks again whether they changed, and gets them only then."""

    def file_response(self, *arguments: object, **named: object) -> Response:
        response: Response = super().file_response(*arguments, **named)  # type: ignore[arg-type]
        response.headers["Cache-Control"] = "public, no-cache"
        return response


def _guarded(handler: Handler) -> Callable[[Request], Awaitable[Response]]:
    """Let a handler see only requests with a good token for a study of the shelf; errors become sentences."""

    async def guarded(request: Request) -> Response:
        study = request.path_params["study"]
        bearer = request.headers.get("authorization", "").removeprefix("Bearer ")
        if not tokens.is_good(bearer or request.query_params.get("token", ""), study):
            return _refusal(403, "this page is too old; reload it")
        try:
            return await handler(request, Shelf.from_environment().path(study))
        except MaskMatchError as error:
            return _refusal(404, str(error))
        except OSError as error:
            return _refusal(507 if error.errno == errno.ENOSPC else 500, str(error.strerror))

    return guarded


async def _thumbnail(request: Request, root: Path) -> Response:
    path = await run_in_threadpool(service.thumbnail_of, root, request.path_params["case"])
    return FileResponse(path, media_type="image/jpeg", headers=_KEEP_PRIVATE)


async def _scan(request: Request, root: Path) -> Response:
    case, channel = request.path_params["case"], request.path_params["channel"]
    return _volume(await run_in_threadpool(service.display_scan, root, case, channel))


async def _label(request: Request, root: Path) -> Response:
    return _volume(await run_in_threadpool(service.display_label, root, request.path_params["case"]))


async def _prediction(request: Request, root: Path) -> Response:
    case, model = request.path_params["case"], request.path_params["model"]
    return _volume(await run_in_threadpool(service.display_prediction, root, case, model))


async def _upload(request: Request, root: Path) -> Response:
    """HEAD tells how much has arrived, PUT adds what begins at ``Upload-Offset``."""
    try:
        upload = Upload(
            root,
            request.path_params["key"],
            unquote(request.headers.get("upload-name", "")),
            int(request.headers.get("upload-length", "-1")),
        )
        if request.method == "HEAD":
            return _at(204, upload.received())
        async with _locks[upload.part]:
            have = await upload.append(int(request.headers.get("upload-offset", "-1")), request.stream())
        return _at(204, have)
    except OffsetError as error:
        return _at(409, error.expected)
    except NoSpaceError as error:
        return _refusal(507, str(error))
    except (InputError, ValueError) as error:
        return _refusal(400, str(error))
    except ClientDisconnect:
        return Response(status_code=400)


async def _nothing_there(request: Request) -> Response:
    return _refusal(404, "there is nothing at this address")


def _volume(path: Path) -> Response:
    return FileResponse(path, media_type="application/gzip", headers=_VOLUME)


def _at(status: int, offset: int) -> Response:
    return Response(status_code=status, headers={"Upload-Offset": str(offset), "Cache-Control": "no-store"})


def _refusal(status: int, text: str) -> Response:
    return JSONResponse({"error": text}, status, headers={"Cache-Control": "no-store"})
