"""What a reviewer lays over a scan by HTTP: where a model is unsure, and what two predictions do not agree on."""

from __future__ import annotations

from pathlib import Path

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from maskmatch_app.guards import guarded, volume
from maskmatch_med import service


def overlay_routes() -> list[BaseRoute]:
    """The routes of both."""
    return [
        Route("/api/{study}/uncertainties/{model}/{case}.nii.gz", guarded(_uncertainty)),
        Route("/api/{study}/differences/{model}/{other}/{case}.nii.gz", guarded(_difference)),
    ]


async def _uncertainty(request: Request, root: Path) -> Response:
    asked = request.path_params
    return volume(await run_in_threadpool(service.display_uncertainty, root, asked["case"], asked["model"]))


async def _difference(request: Request, root: Path) -> Response:
    asked = request.path_params
    path = await run_in_threadpool(service.display_difference, root, asked["case"], asked["model"], asked["other"])
    return volume(path)
