"""From the frames of one series to its stacks: one orientation, size and spacing each, one slice at each position."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from maskmatch_med.errors import InputError
from maskmatch_med.io.dicom import kinds, traits
from maskmatch_med.io.dicom.frames import Frame
from maskmatch_med.io.dicom.grid import TOLERANCE, check_directions, depth_mm
from maskmatch_med.io.dicom.pixels import fingerprint

_LEAST_COVERED = 0.5
"""Of the positions of a stack, that each part must have for a trait to split it."""


@dataclass(frozen=True)
class Stack:
    """Frames that make up one scan, as far as their headers tell.

    Args:
        frames: at most one at each position.
        suffix: what tells it apart within its series, such as ``"_echo2"``; empty where it is the only one.
        notes: what was done with it, one sentence each.
    """

    frames: tuple[Frame, ...]
    suffix: str = ""
    notes: tuple[str, ...] = ()


def split(frames: Sequence[Frame]) -> list[Stack | InputError]:
    """The stacks of one series; in the place of a stack that cannot be told apart, the reason.

    First by orientation, size and spacing; then, where several frames share a position, by the traits that tell them
    apart; at last copies are dropped.
    """
    ordered = sorted(frames, key=lambda frame: (frame.origin.instance, max(frame.index, 0), frame.file))
    placed = [f for f in ordered if f.plane.position is not None and f.plane.orientation is not None]
    flat = [f for f in ordered if f.plane.position is None or f.plane.orientation is None]
    parts = _grouped(placed, _shape_and_direction(placed))
    found: list[Stack | InputError] = []
    for number, part in enumerate(parts, start=1):
        suffix = f"_part{number}" if len(parts) + bool(flat) > 1 else ""
        note = ("its series holds several orientations, sizes or spacings, each of which is a scan of its own",)
        found += _tell_apart(Stack(tuple(part), suffix, note if suffix else ()))
    return found + _pictures(flat, alone=not placed)


def _pictures(frames: list[Frame], *, alone: bool) -> list[Stack | InputError]:
    """Images without a position: each is a scan of its own, unless their modality makes volumes of them."""
    if not frames:
        return []
    first = frames[0]
    if any(frame.index >= 0 for frame in frames):
        film = next(frame for frame in frames if frame.index >= 0)
        return [
            InputError(
                f"{film.file} holds frames without a position each, as films and SPECT do; export them as pictures, or "
                "convert them to NIfTI with a tool that knows the camera"
            )
        ]
    if first.origin.modality in kinds.CROSS_SECTIONAL and len(frames) > 1:
        return [
            InputError(
                f"{len(frames)} {first.origin.modality} slices have no position or orientation, such as {first.file}; "
                "export the series anew with them"
            )
        ]
    if len(frames) == 1 and alone:
        return [Stack((first,))]
    return [Stack((frame,), f"_image{number}") for number, frame in enumerate(frames, start=1)]


def _shape_and_direction(frames: Sequence[Frame]) -> Callable[[Frame], Hashable]:
    """A key that is the same for frames that can lie in one stack."""
    directions: list[np.ndarray[tuple[int, ...], np.dtype[np.float64]]] = []
    keys: dict[tuple[float, ...], int] = {}
    for frame in frames:
        orientation = frame.plane.orientation or ()
        if orientation not in keys:
            near = (i for i, known in enumerate(directions) if np.abs(known - orientation).max() <= TOLERANCE.cosine)
            keys[orientation] = next(near, len(directions))
            if keys[orientation] == len(directions):
                directions.append(np.array(orientation))

    def key(frame: Frame) -> Hashable:
        spacing = tuple(round(mm, 4) for mm in frame.plane.spacing or ())
        colours = frame.coding.samples, frame.coding.photometric
        return keys[frame.plane.orientation or ()], frame.plane.shape, spacing, colours

    return key


def _tell_apart(stack: Stack) -> list[Stack | InputError]:
    try:
        check_directions(stack.frames[0])
        single = _without_repeated_files(stack)
        found: list[Stack | InputError] = []
        for part in _by_traits(single, traits.NAMES):
            found += _without_copies(part)
        return found
    except InputError as error:
        return [error]


def _by_traits(stack: Stack, names: tuple[str, ...]) -> list[Stack]:
    """Split by the first trait that tells frames of one position apart, then each part by the traits after it."""
    positions = len(_positions(stack.frames))
    if positions == len(stack.frames):
        return [stack]
    for used, name in enumerate(names, start=1):
        parts = traits.parts(stack.frames, name)
        if len(parts) < 2 or min(len(_positions(part)) for part in parts) < _LEAST_COVERED * positions:
            continue
        note = f"its series holds {len(parts)} stacks told apart by {traits.spoken(name)}, each of which is a scan"
        found: list[Stack] = []
        for part, shown in zip(parts, traits.suffixes(parts, name), strict=True):
            child = Stack(tuple(part), stack.suffix + shown, (*stack.notes, note))
            found += _by_traits(child, names[used:])
        return found
    return [stack]


def _without_repeated_files(stack: Stack) -> Stack:
    """Without frames that carry the identifier of another; refused where their values differ."""
    kept: dict[tuple[object, ...], Frame] = {}
    repeated = 0
    for frame in stack.frames:
        image = frame.origin.image
        first = kept.setdefault((image, frame.index) if image else (frame.file, frame.index), frame)
        if first is frame:
            continue
        if fingerprint(first) != fingerprint(frame):
            raise InputError(
                f"{first.file} and {frame.file} carry the same identifier but different pixels; remove one of them"
            )
        repeated += 1
    return replace(stack, frames=tuple(kept.values()), notes=(*stack.notes, *_dropped(repeated)))


def _without_copies(stack: Stack) -> list[Stack | InputError]:
    """One frame at each position: copies dropped, repeated scans told apart by their order, all else refused."""
    positions = _positions(stack.frames)
    if len(positions) == len(stack.frames):
        return [stack]
    distinct = [list({fingerprint(f): f for f in reversed(part)}.values())[::-1] for part in positions]
    dropped = len(stack.frames) - sum(len(part) for part in distinct)
    stack = replace(stack, notes=(*stack.notes, *_dropped(dropped)))
    counts = Counter(len(part) for part in distinct)
    if len(counts) > 1 or (len(positions) == 1 and counts[1] == 0):
        first, second = next(part for part in distinct if len(part) > 1)[:2]
        return [
            InputError(
                f"{first.file} and {second.file} lie at the same position with different pixels, and nothing tells "
                "which belongs to the scan; keep one of them, or each stack in a folder of its own"
            )
        ]
    repeats = next(iter(counts))
    if repeats == 1:
        return [replace(stack, frames=tuple(part[0] for part in distinct))]
    note = f"its series holds every position {repeats} times, taken as repeats by the numbers of the images"
    return [
        Stack(tuple(part[turn] for part in distinct), f"{stack.suffix}_repeat{turn + 1}", (*stack.notes, note))
        for turn in range(repeats)
    ]


def _dropped(count: int) -> tuple[str, ...]:
    return (f"{count} identical cop{'y' if count == 1 else 'ies'} of its slices dropped",) if count else ()


def _positions(frames: Sequence[Frame]) -> list[list[Frame]]:
    """Frames by their place along the normal; the frames of one place lie within a fraction of a pixel."""
    reach = TOLERANCE.pixel_fraction * min(frames[0].plane.spacing or (1.0,))
    groups: list[list[Frame]] = []
    last = -math.inf
    for frame in sorted(frames, key=lambda frame: depth_mm(frame.plane)):
        depth = depth_mm(frame.plane)
        if depth - last > reach:
            groups.append([])
            last = depth
        groups[-1].append(frame)
    return [sorted(group, key=lambda f: (f.origin.instance, max(f.index, 0), f.file)) for group in groups]


def _grouped(frames: Sequence[Frame], key: Callable[[Frame], Hashable]) -> list[list[Frame]]:
    groups: dict[Hashable, list[Frame]] = {}
    for frame in frames:
        groups.setdefault(key(frame), []).append(frame)
    return list(groups.values())
