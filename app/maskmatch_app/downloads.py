"""What can be taken along by HTTP: finished exports, reports, and small pictures of earlier label versions."""

from __future__ import annotations

from pathlib import Path

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import BaseRoute, Route

from maskmatch_app.guards import KEEP_PRIVATE, guarded
from maskmatch_med import service

_ZIP = {"Cache-Control": "private, no-store", "X-Content-Type-Options": "nosniff", "Content-Encoding": "identity"}
"""A zip is packed itself; the stated encoding keeps the server from compressing it once more."""
_PAGE = {
    "Cache-Control": "private, no-store",
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:",
}
"""A report is a file of the study: it may show itself, and neither run anything nor ask anybody."""


def download_routes() -> list[BaseRoute]:
    """The routes of exports, reports and label versions."""
    return [
        Route("/api/{study}/exports/{key}/{name}", guarded(_export)),
        Route("/api/{study}/reports/{place}/{name}", guarded(_report)),
        Route("/api/{study}/versions/{case}/{version}.jpg", guarded(_version)),
    ]


async def _export(request: Request, root: Path) -> Response:
    key, name = request.path_params["key"], request.path_params["name"]
    path = await run_in_threadpool(service.download_path, root, key, name)
    return FileResponse(path, media_type="application/zip", filename=name, headers=_ZIP)


async def _report(request: Request, root: Path) -> Response:
    place, name = request.path_params["place"], request.path_params["name"]
    path = await run_in_threadpool(service.report_path, root, place, name)
    return FileResponse(path, media_type="text/html", headers=_PAGE)


async def _version(request: Request, root: Path) -> Response:
    case, version = request.path_params["case"], request.path_params["version"]
    path = await run_in_threadpool(service.thumbnail_of, root, case, version)
    return FileResponse(path, media_type="image/jpeg", headers=KEEP_PRIVATE)
