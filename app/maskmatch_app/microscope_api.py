"""The pictures of the pseudo-label microscope by HTTP; a snapshot never changes, so the browser keeps them."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, cast

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from maskmatch_app.guards import KEEP_PRIVATE, RefusedError, guarded
from maskmatch_med import service

_LAYERS = {"labels", "confidence"}


def microscope_routes() -> list[BaseRoute]:
    """The route of the pictures."""
    address = "/api/{study}/microscope/{model}/{iteration:int}/{case}/{at:int}/{layer}.png"
    return [Route(address, guarded(_picture))]


async def _picture(request: Request, root: Path) -> Response:
    asked = request.path_params
    if asked["layer"] not in _LAYERS:
        raise RefusedError(404, f"there are the layers {' and '.join(sorted(_LAYERS))}, not {asked['layer']!r}")
    layer = cast("Literal['labels', 'confidence']", asked["layer"])
    picture = await run_in_threadpool(
        service.microscope_picture, root, asked["model"], asked["iteration"], asked["case"], asked["at"], layer
    )
    return Response(picture, media_type="image/png", headers=KEEP_PRIVATE)
