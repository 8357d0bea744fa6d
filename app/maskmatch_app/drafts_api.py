"""The painter's routes: a draft out, boxes of strokes in, and what makes versions of them.

Voxels travel in the file's order, x fastest; judged voxels as bits, the lowest of a byte first.
"""

from __future__ import annotations

import gzip
import json
import re
import struct
from dataclasses import asdict
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from maskmatch_app.bodies import read_inflated, read_json
from maskmatch_app.guards import RefusedError, guarded
from maskmatch_med import service

_FRESH = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
_HEADER_BYTES = 1 << 12
_REVISION = re.compile(r'\s*"?(\d{1,15})"?\s*')
_WINDOW = re.compile(r"[A-Za-z0-9-]{8,64}")
_LONGEST_NAME = 80
Shape = tuple[int, int, int]


def draft_routes() -> list[BaseRoute]:
    """The routes of the painter."""
    return [
        Route("/api/{study}/drafts/{case}", guarded(_get, 400), methods=["GET"]),
        Route("/api/{study}/drafts/{case}", guarded(_put, 400), methods=["PUT"]),
        Route("/api/{study}/drafts/{case}/classes", guarded(_classes, 400), methods=["POST"]),
        Route("/api/{study}/drafts/{case}/complete", guarded(_complete, 400), methods=["POST"]),
        Route("/api/{study}/drafts/{case}/save", guarded(_save, 400), methods=["POST"]),
        Route("/api/{study}/drafts/{case}/start", guarded(_start, 400), methods=["POST"]),
        Route("/api/{study}/drafts/{case}/grow", guarded(_grow, 400), methods=["POST"]),
        Route("/api/{study}/drafts/{case}/interpolate", guarded(_interpolate, 400), methods=["POST"]),
    ]


async def _get(request: Request, root: Path) -> Response:
    return await _draft(root, request.path_params["case"])


async def _draft(root: Path, case: str) -> Response:
    found = await run_in_threadpool(service.packed_draft, root, case)
    headers = {
        **_FRESH,
        "Content-Encoding": "gzip",
        "ETag": f'"{found.state.revision}"',
        "Draft-State": json.dumps(asdict(found.state)),
    }
    return Response(found.voxels, media_type="application/octet-stream", headers=headers)


async def _put(request: Request, root: Path) -> Response:
    """Keep a box of strokes; with ``?over=1`` the whole scan, over what another window has saved."""
    case, over = request.path_params["case"], request.query_params.get("over") == "1"
    revision = 0 if over else _revision(request)
    shape = await run_in_threadpool(service.scan_shape, root, case)
    raw = await read_inflated(request, 4 + _HEADER_BYTES + _bytes_of(shape))
    box = _box(raw, shape)
    painter = _painter(request)
    if over and painter.classes is None:
        raise RefusedError(428, "the request names no classes in whose numbers it paints; reload the page")
    if over:
        if box.labels.shape != shape:
            raise RefusedError(400, f"saving over another window takes the whole scan of {shape} voxels")
        saved = await run_in_threadpool(service.save_box_over, root, case, box, painter)
    else:
        saved = await run_in_threadpool(service.save_box, root, case, revision, box, painter)
    return JSONResponse(asdict(saved), headers={**_FRESH, "ETag": f'"{saved.revision}"'})


async def _classes(request: Request, root: Path) -> Response:
    """What became of the classes in whose numbers a window has painted."""
    classes = _names((await read_json(request)).get("classes"))
    found = await run_in_threadpool(service.classes_now, root, classes)
    return JSONResponse(asdict(found), headers=_FRESH)


async def _complete(request: Request, root: Path) -> Response:
    """Mark a slice, or the whole scan, as judged, and make a version."""
    case, revision = request.path_params["case"], _revision(request)
    given, author = await read_json(request), (await _refused_in_other_classes(request, root)).author
    axis = given.get("axis")
    if axis is None:
        draft = await run_in_threadpool(service.complete_scan, root, case, revision, author)
    else:
        place = _whole(given, "axis"), _whole(given, "index")
        draft = await run_in_threadpool(service.complete_slice, root, case, revision, *place, author)
    told = {"revision": draft.revision, "version": draft.parent, "saved": draft.saved}
    return JSONResponse(told, headers=_FRESH)


async def _save(request: Request, root: Path) -> Response:
    """Make a version of what is painted."""
    case = request.path_params["case"]
    made = await run_in_threadpool(service.save_label, root, case, _painter(request).author or None)
    revision = await run_in_threadpool(service.draft_revision, root, case)
    return JSONResponse({"version": made.version if made else None, "revision": revision}, headers=_FRESH)


async def _start(request: Request, root: Path) -> Response:
    """Lay a prediction under what is judged."""
    case, revision = request.path_params["case"], _revision(request)
    model = (await read_json(request)).get("model")
    if not isinstance(model, str):
        raise RefusedError(400, "name the model whose prediction is the start")
    author = (await _refused_in_other_classes(request, root)).author
    await run_in_threadpool(service.start_from_prediction, root, case, revision, model, author)
    return await _draft(root, case)


async def _grow(request: Request, root: Path) -> Response:
    """What a structure would be, grown from its strokes."""
    given = await read_json(request)
    limit, place = given.get("limit", 0.5), given.get("slice")
    if isinstance(limit, bool) or not isinstance(limit, int | float):
        raise RefusedError(400, f"the request needs limit as a number from 0 to 1, got {limit!r}")
    if place is not None and not isinstance(place, dict):
        raise RefusedError(400, "slice is an axis and an index, or nothing")
    where = {} if place is None else {"slice_axis": _whole(place, "axis"), "slice_index": _whole(place, "index")}
    options = service.GrowOptions(float(limit), **where)
    case, label = request.path_params["case"], _whole(given, "label")
    await _refused_in_other_classes(request, root)
    box = await run_in_threadpool(service.grow_strokes, root, case, label, options)
    await _refused_in_other_classes(request, root)
    return await run_in_threadpool(_proposal, box)


async def _interpolate(request: Request, root: Path) -> Response:
    """What a structure would be between the slices on which it is painted."""
    given = await read_json(request)
    axis = None if given.get("axis") is None else _whole(given, "axis")
    case, label = request.path_params["case"], _whole(given, "label")
    await _refused_in_other_classes(request, root)
    box = await run_in_threadpool(service.interpolate_slices, root, case, label, axis)
    await _refused_in_other_classes(request, root)
    return await run_in_threadpool(_proposal, box)


def _proposal(box: service.Box | None) -> Response:
    """A box as it is sent by a PUT; nothing where nothing would change."""
    if box is None:
        return Response(status_code=204, headers=_FRESH)
    header = json.dumps({"corner": box.corner, "shape": box.labels.shape}).encode()
    judged = np.packbits(box.judged.ravel(order="F"), bitorder="little").tobytes()
    raw = struct.pack("<I", len(header)) + header + box.labels.tobytes(order="F") + judged
    headers = {**_FRESH, "Content-Encoding": "gzip"}
    return Response(gzip.compress(raw, 1), media_type="application/octet-stream", headers=headers)


def _revision(request: Request) -> int:
    stated = request.headers.get("if-match")
    if stated is None:
        raise RefusedError(428, "the request names no revision that it goes on from; reload the page")
    found = _REVISION.fullmatch(stated)
    if found is None:
        raise RefusedError(400, f"If-Match needs the revision of a draft, got {stated[:40]!r}")
    return int(found[1])


async def _refused_in_other_classes(request: Request, root: Path) -> service.Painter:
    """Who paints; refused where their numbers mean other classes than those of the study."""
    painter = _painter(request)
    await run_in_threadpool(service.refuse_other_classes, root, painter.classes)
    return painter


def _painter(request: Request) -> service.Painter:
    name = " ".join(unquote(request.headers.get("draft-author", "")).split())
    printable = "".join(sign for sign in name if sign.isprintable())[:_LONGEST_NAME]
    window = request.headers.get("draft-window", "")
    classes = _stated_classes(request)
    return service.Painter(printable, window if _WINDOW.fullmatch(window) else "", classes)


def _stated_classes(request: Request) -> tuple[str, ...] | None:
    """The names of the classes 1, 2, … in whose numbers a window paints, as ``Draft-Classes`` states them."""
    stated = request.headers.get("draft-classes")
    if stated is None:
        return None
    try:
        return _names(json.loads(stated))
    except (ValueError, RecursionError) as error:
        raise RefusedError(400, "Draft-Classes needs a list of names as JSON; reload the page") from error


def _names(given: Any) -> tuple[str, ...]:
    if not isinstance(given, list) or not all(isinstance(name, str) for name in given):
        raise RefusedError(400, f"the names of classes were expected as a list, got {type(given).__name__}")
    return tuple(given)


def _bytes_of(shape: Shape) -> int:
    voxels = shape[0] * shape[1] * shape[2]
    return voxels + (voxels + 7) // 8


def _box(raw: bytes, whole: Shape) -> service.Box:
    """The box of a request: the length of its JSON, the JSON, labels, judged bits.

    Raises:
        RefusedError: 400 where these do not fit together or the box does not lie in the scan.
    """
    length = struct.unpack_from("<I", raw)[0] if len(raw) >= 4 else _HEADER_BYTES + 1
    if length > _HEADER_BYTES or len(raw) < 4 + length:
        raise RefusedError(400, "the strokes have no readable header; reload the page and try again")
    try:
        header = json.loads(raw[4 : 4 + length])
        corner, shape = _three(header["corner"]), _three(header["shape"])
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise RefusedError(400, "the strokes have no readable header; reload the page and try again") from error
    if any(low < 0 or n < 1 or low + n > most for low, n, most in zip(corner, shape, whole, strict=True)):
        raise RefusedError(400, f"a box of {shape} voxels at {corner} does not lie in a scan of {whole}")
    if len(raw) != 4 + length + _bytes_of(shape):
        raise RefusedError(400, f"a box of {shape} voxels needs {_bytes_of(shape)} bytes, got {len(raw) - 4 - length}")
    count = shape[0] * shape[1] * shape[2]
    voxels = np.frombuffer(raw, np.uint8, offset=4 + length)
    labels = voxels[:count].reshape(shape, order="F")
    judged = np.unpackbits(voxels[count:], count=count, bitorder="little").view(np.bool_).reshape(shape, order="F")
    return service.Box(corner, labels, judged)


def _three(given: Any) -> Shape:
    if not isinstance(given, list) or len(given) != 3 or not all(type(n) is int for n in given):
        raise ValueError("three whole numbers were expected")
    return given[0], given[1], given[2]


def _whole(given: dict[str, Any], name: str) -> int:
    value = given.get(name)
    if type(value) is not int:
        raise RefusedError(400, f"the request needs {name} as a whole number, got {value!r}")
    return value
