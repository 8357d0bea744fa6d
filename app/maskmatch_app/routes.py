"""What travels by HTTP: pictures and volumes out, uploads in. Each request carries a token for its study."""

from __future__ import annotations

import asyncio
import os
from collections import defaultdict
from dataclasses import asdict
from pathlib import Path
from urllib.parse import unquote

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from maskmatch_app.downloads import download_routes
from maskmatch_app.drafts_api import draft_routes
from maskmatch_app.guards import KEEP_PRIVATE, guarded, refusal, volume
from maskmatch_app.microscope_api import microscope_routes
from maskmatch_app.overlays_api import overlay_routes
from maskmatch_app.uploads import NoSpaceError, OffsetError, Upload
from maskmatch_med import service
from maskmatch_med.errors import InputError

_HERE = Path(__file__).parent
_OF_A_PAGE = {".css", ".html", ".js", ".txt"}
"""Endings of the files that a browser may ask for; the program's own lie among them."""
_locks: defaultdict[Path, asyncio.Lock] = defaultdict(asyncio.Lock)


def routes() -> list[BaseRoute]:
    """The routes beside those of Streamlit."""
    return [
        Route("/api/{study}/thumbnails/{case}.jpg", guarded(_thumbnail)),
        Route("/api/{study}/scans/{case}/{channel:int}.nii.gz", guarded(_scan)),
        Route("/api/{study}/scans/{case}/colour.nii.gz", guarded(_colour)),
        Route("/api/{study}/scans/{case}.json", guarded(_described)),
        Route("/api/{study}/labels/{case}.nii.gz", guarded(_label)),
        Route("/api/{study}/predictions/{model}/{case}.nii.gz", guarded(_prediction)),
        *draft_routes(),
        *microscope_routes(),
        *overlay_routes(),
        *download_routes(),
        Route("/api/{study}/uploads/{key}", guarded(_upload), methods=["HEAD", "PUT", "DELETE"]),
        Route("/api/{rest:path}", _nothing_there),
        Mount("/annotator", _Lasting(directory=_HERE / "annotator")),
    ]


class _Lasting(StaticFiles):
    """The viewer's own files; a browser asks again whether they changed, and gets them only then."""

    def lookup_path(self, path: str) -> tuple[str, os.stat_result | None]:
        return super().lookup_path(path) if Path(path).suffix in _OF_A_PAGE else ("", None)

    def file_response(self, *arguments: object, **named: object) -> Response:
        response: Response = super().file_response(*arguments, **named)  # type: ignore[arg-type]
        response.headers["Cache-Control"] = "public, no-cache"
        return response


async def _thumbnail(request: Request, root: Path) -> Response:
    path = await run_in_threadpool(service.thumbnail_of, root, request.path_params["case"])
    return FileResponse(path, media_type="image/jpeg", headers=KEEP_PRIVATE, stat_result=path.stat())


async def _scan(request: Request, root: Path) -> Response:
    case, channel = request.path_params["case"], request.path_params["channel"]
    return volume(await run_in_threadpool(service.display_scan, root, case, channel))


async def _colour(request: Request, root: Path) -> Response:
    return volume(await run_in_threadpool(service.display_colour, root, request.path_params["case"]))


async def _described(request: Request, root: Path) -> Response:
    found = await run_in_threadpool(service.describe_scan, root, request.path_params["case"])
    return JSONResponse(asdict(found), headers={"Cache-Control": "no-store"})


async def _label(request: Request, root: Path) -> Response:
    return volume(await run_in_threadpool(service.display_label, root, request.path_params["case"]))


async def _prediction(request: Request, root: Path) -> Response:
    case, model = request.path_params["case"], request.path_params["model"]
    return volume(await run_in_threadpool(service.display_prediction, root, case, model))


async def _upload(request: Request, root: Path) -> Response:
    """HEAD tells how much has arrived, PUT adds what begins at ``Upload-Offset``, DELETE forgets it."""
    if request.method == "PUT" and not service.may_write(root):
        return refusal(403, f"{root.name} may only be read, so nothing can be added to it; check the folder's rights")
    try:
        upload = Upload(
            root,
            request.path_params["key"],
            unquote(request.headers.get("upload-name", "")),
            int(request.headers.get("upload-length", "-1")),
            request.headers.get("upload-drop", ""),
        )
        if request.method == "HEAD":
            return _at(204, upload.received())
        async with _locks[upload.part]:
            if request.method == "DELETE":
                upload.forget()
                have = 0
            else:
                have = await upload.append(int(request.headers.get("upload-offset", "-1")), request.stream())
        return _at(204, have)
    except OffsetError as error:
        return _at(409, error.expected)
    except NoSpaceError as error:
        return refusal(507, str(error))
    except (InputError, ValueError) as error:
        return refusal(400, str(error))


async def _nothing_there(request: Request) -> Response:
    return refusal(404, "there is nothing at this address")


def _at(status: int, offset: int) -> Response:
    return Response(status_code=status, headers={"Upload-Offset": str(offset), "Cache-Control": "no-store"})
