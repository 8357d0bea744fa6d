"""What can be taken along by HTTP: finished exports, and small pictures of earlier label versions."""

from __future__ import annotations

from pathlib import Path

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import BaseRoute, Route

from maskmatch_app.guards import KEEP_PRIVATE, guarded
from maskmatch_med import service


def download_routes() -> list[BaseRoute]:
    """The routes of exports and of label versions."""
    return [
        Route("/api/{study}/versions/{case}/{version}.jpg", guarded(_version)),
    ]


async def _version(request: Request, root: Path) -> Response:
    case, version = request.path_params["case"], request.path_params["version"]
    path = await run_in_threadpool(service.thumbnail_of, root, case, version)
    return FileResponse(path, media_type="image/jpeg", headers=KEEP_PRIVATE)
