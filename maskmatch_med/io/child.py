"""What runs in the child process of :mod:`maskmatch_med.io.guard`: read a request, do it within its limits, reply."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import warnings
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import psutil

ARRAY_NAME = "values.npy"
"""The file in the request's folder that brings the values back."""


def serve() -> None:
    """Answer requests, one a line of standard input, until it ends; print nothing else."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends this process
    warnings.simplefilter("ignore")
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    os.dup2(silence, 2)
    replies.write("ready\n")
    replies.flush()
    for line in sys.stdin:
        replies.write(json.dumps(_answer(json.loads(line))) + "\n")
        replies.flush()


def _answer(request: dict[str, Any]) -> dict[str, Any]:
    module, function = request["task"].split(":")
    task = getattr(import_module(module), function)
    _limit_memory(int(request["memory_bytes"]))
    try:
        facts, array = task(Path(request["path"]), request["arguments"])
        if array is not None:
            np.save(Path(request["folder"]) / ARRAY_NAME, array, allow_pickle=False)
    except MemoryError:
        return {"error": "it does not fit into the memory that a file of its size may take"}
    except Exception as error:  # whatever a library raises for a damaged file is told to the parent
        return {"error": _in_short(error)}
    return {"facts": facts}


def _limit_memory(more_bytes: int) -> None:
    """Let the system refuse memory beyond what the process has now and ``more_bytes``, where it can do so."""
    if sys.platform == "win32":
        return  # the parent watches
    import resource  # noqa: PLC0415 - POSIX only

    most = psutil.Process().memory_info().vms + more_bytes
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_AS, (most, resource.getrlimit(resource.RLIMIT_AS)[1]))


def _in_short(error: Exception) -> str:
    """The last thing that an error says: ITK tells its own source files before it."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    told = next((line for line in reversed(lines) if "ERROR: " in line), lines[0])
    return told.rpartition("ERROR: ")[2].rpartition("): ")[2][:200]
