"""While the server runs: what nobody has painted on for some minutes becomes a version."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from starlette.concurrency import run_in_threadpool

from maskmatch_app.shelf import Shelf
from maskmatch_med import service
from maskmatch_med.errors import MaskMatchError, ReadOnlyError

EVERY_S = 60.0
_log = logging.getLogger("maskmatch")


@asynccontextmanager
async def versions_of_idle_drafts(_app: object, every_s: float = EVERY_S) -> AsyncIterator[None]:
    """Look after the drafts of the shelf for as long as the block lasts.

    Args:
        _app: the server, whose life this is.
        every_s: seconds from one look to the next.
    """
    task = asyncio.create_task(_look_again(every_s))
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def _look_again(every_s: float) -> None:
    while True:
        await asyncio.sleep(every_s)
        await run_in_threadpool(save_all_idle)


def save_all_idle(minutes: float = 5.0) -> None:
    """Make versions of the idle drafts of every study; one that fails keeps no other from it."""
    for root in _roots():
        try:
            for version in service.save_idle_labels(root, minutes):
                _log.info("made version %s of %s in %s, as nobody painted on", version.version, version.case, root)
        except ReadOnlyError:
            continue
        except (MaskMatchError, OSError, ValueError) as error:
            _log.warning("idle drafts of %s became no version: %s", root, error)


def _roots() -> list[Path]:
    try:
        return [root for root in Shelf.from_environment().studies().values() if service.is_study(root)]
    except (MaskMatchError, OSError) as error:
        _log.warning("the folder of studies cannot be looked through: %s", error)
        return []
