"""What an import is asked to do, and what it did."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from maskmatch_med.errors import InputError
from maskmatch_med.study.layouts import Found
from maskmatch_med.study.pairing import Channels


@dataclass(frozen=True)
class ImportOptions:
    """How scans are imported.

    Args:
        labels_dir: folder of the labels, when not found by itself; or the label file of the only scan.
        label_names: names of the classes 1, 2, …, or for each name its values in the label maps, such as
            ``{"left": (17,), "white matter": (2, 41)}``, all others but that of "not judged" being background; as
            declared or numbered where not given.
        channels: names of the channels, or for each name the pattern of its files, such as
            ``{"t1": "*_t1.nii.gz", "flair": "*_flair.nii.gz"}``; as declared, as file names end, or numbered where not
            given.
        splits: a ``splits.json`` with ``label_order`` and ``test``.
        labelled: only the first so many of ``label_order`` come in with their label; all where not given.
        group: regular expression found in the case name; its first group, or else the whole match, names the patient.
        link: let images that can serve as they are be the same files, instead of copies.
        resample: bring labels on another grid of the same space to their scan's by nearest neighbour.
        frames: which entries of a fourth axis become channels, counted from 0; ``all`` takes every one.
        magnitude: read complex values as their magnitude.
        only: the names of the scans that come in; all where not given.
        skip_broken: leave out scans that cannot be used, and say which; otherwise they stop the import.
    """

    labels_dir: Path | None = None
    label_names: tuple[str, ...] | Mapping[str, tuple[int, ...]] | None = None
    channels: Channels = None
    splits: Path | None = None
    labelled: int | None = None
    group: str | None = None
    link: bool = False
    resample: bool = False
    frames: tuple[int, ...] | Literal["all"] | None = None
    magnitude: bool = False
    only: frozenset[str] | None = None
    skip_broken: bool = False

    @property
    def chosen_values(self) -> dict[int, int]:
        """The class of each value that was said for it; empty where names alone were given.

        Raises:
            InputError: one value has two names, or background is among them.
        """
        if not isinstance(self.label_names, Mapping):
            return {}
        pairs = [(one, rank) for rank, values in enumerate(self.label_names.values(), start=1) for one in values]
        if len(dict(pairs)) < len(pairs) or 0 in dict(pairs) or "background" in self.label_names:
            raise InputError("each value of a label needs one name, and 0 is the background")
        return dict(pairs)

    @property
    def channel_names(self) -> tuple[str, ...] | None:
        """The names of the channels, where they were given."""
        return tuple(self.channels) if self.channels else None


def frame_numbers(text: str) -> tuple[int, ...]:
    """The entries of a fourth axis that somebody has named: ``0, 2``.

    Raises:
        InputError: these are no numbers.
    """
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError as error:
        raise InputError(f"{text!r} names no frames; expected numbers from 0 such as 0,2, or all") from error


@dataclass(frozen=True)
class ImportSummary:
    """What an import did.

    Args:
        study: the study's folder.
        layout: how the source was recognised: ``nnU-Net``, ``MSD`` or ``folder``.
        added: cases that are new.
        unchanged: cases that were there with the same bytes.
        labelled: cases that got a label now.
        left_out: scans that stay out: the test part, or not named in the splits.
        notes: what the user should know, in sentences.
        refused: DICOM series that cannot be decoded, and with ``skip_broken`` all scans that cannot be used, each with
            the reason.
    """

    study: Path
    layout: str
    added: tuple[str, ...]
    unchanged: tuple[str, ...]
    labelled: tuple[str, ...]
    left_out: tuple[str, ...]
    notes: tuple[str, ...]
    refused: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Splits:
    """A ``splits.json``: the order in which cases are labelled, and the test part.

    Args:
        label_order: case names, the first to be labelled first.
        test: case names that must never be trained on.
    """

    label_order: tuple[str, ...]
    test: tuple[str, ...]

    @classmethod
    def load(cls, path: Path) -> Splits:
        """Read the file.

        Raises:
            InputError: missing, damaged, or a name stands in it twice.
        """
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            order, test = content["label_order"], content.get("test", [])
        except OSError as error:
            raise InputError(f"cannot read {path}: {error.strerror}") from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(
                f'cannot use {path}: expected JSON with "label_order" and "test", lists of names'
            ) from error
        if not all(isinstance(part, list) and all(isinstance(n, str) for n in part) for part in (order, test)):
            raise InputError(f'{path}: "label_order" and "test" must be lists of case names')
        both = [*order, *test]
        if len(set(both)) != len(both):
            raise InputError(f"{path} names {next(n for n in both if both.count(n) > 1)} more than once")
        return cls(tuple(order), tuple(test))


@dataclass(frozen=True)
class Selection:
    """Which cases come in, which of them with their label.

    Args:
        found: the source, with only the cases that come in; all of them still with their label files.
        with_label: names of those whose label comes in.
        left_out: names of those that stay out.
    """

    found: Found
    with_label: frozenset[str]
    left_out: tuple[str, ...]


def select(found: Found, options: ImportOptions) -> Selection:
    """Apply ``only``, ``splits`` and ``labelled``.

    Raises:
        InputError: the splits name what the source lacks, or ask for more labels than there are.
    """
    if options.only is not None:
        found = replace(found, cases=tuple(case for case in found.cases if case.name in options.only))
    names = [case.name for case in found.cases]
    if options.splits is None:
        if options.labelled is not None:
            raise InputError("--labelled needs --splits, which tells whose labels come first")
        return Selection(found, frozenset(case.name for case in found.cases if case.label), ())
    splits = Splits.load(options.splits)
    count = len(splits.label_order) if options.labelled is None else options.labelled
    if not 0 <= count <= len(splits.label_order):
        raise InputError(f"--labelled {count} is not between 0 and the {len(splits.label_order)} of {options.splits}")
    lost = sorted(set(splits.label_order) - set(names))
    if lost:
        raise InputError(f"{options.splits} names {lost[0]} ({len(lost)} such), which is not among the scans")
    with_label = splits.label_order[:count]
    labels = {case.name for case in found.cases if case.label}
    bare = [name for name in with_label if name not in labels]
    if bare and options.labelled is not None:
        raise InputError(f"{bare[0]} is among the first {count} of {options.splits} but has no label file")
    wanted = set(splits.label_order)
    kept = replace(found, cases=tuple(case for case in found.cases if case.name in wanted))
    return Selection(kept, frozenset(set(with_label) & labels), tuple(n for n in names if n not in wanted))


def group_of(name: str, pattern: str | None) -> str | None:
    """The patient group of a case by the regular expression ``pattern``; None where it does not match.

    Raises:
        InputError: the pattern is no regular expression.
    """
    if pattern is None:
        return None
    try:
        match = re.search(pattern, name)
    except re.error as error:
        raise InputError(f"--group {pattern!r} is not a regular expression: {error}") from error
    if match is None:
        return None
    return match.group(1) if match.re.groups else match.group(0)
