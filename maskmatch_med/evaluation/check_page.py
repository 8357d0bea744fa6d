"""The page of a check: what was found, and a small picture of every scan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from maskmatch_med.evaluation.page import jpeg_uri, render, times
from maskmatch_med.evaluation.pictures import PALETTE
from maskmatch_med.evaluation.thumbnails import thumbnail
from maskmatch_med.io import LabelMap
from maskmatch_med.study.case import Case
from maskmatch_med.study.checking import Finding
from maskmatch_med.volume import Volume

_SEVERITIES = ("error", "warning", "note")
_STATES = {"complete": "labelled", "partial": "labelled in part", "none": "no label"}
_BUDGET = 8_000_000
"""Bytes of pictures on one page."""


@dataclass(frozen=True)
class Shown:
    """One scan on the page."""

    name: str
    state: str
    grid: str
    picture: bytes


@dataclass(frozen=True)
class Gallery:
    """Collects the pictures while a check goes through the scans; some 8 kB stay of each.

    Args:
        classes: name to value, for the outlines.
        scans: those seen so far.
    """

    classes: Mapping[str, int]
    scans: dict[str, Shown] = field(default_factory=dict)

    def look(self, case: Case, scan: Volume, label: LabelMap | None) -> None:
        """Draw one scan."""
        geometry = scan.geometry
        size = " × ".join(str(n) for n in geometry.shape)
        grid = f"{size} pixels" if case.is_raster else f"{size} voxels of {times(geometry.spacing_mm, 3)} mm, "
        grid = grid if case.is_raster else grid + geometry.axis_codes
        picture = thumbnail(scan, label, self.classes)
        self.scans[case.name] = Shown(case.name, _STATES[case.judged], grid, picture)


def check_page(title: str, findings: Sequence[Finding], gallery: Gallery) -> str:
    """The page as text: one HTML file that holds everything it shows.

    Args:
        title: heading of the page.
        findings: errors first.
        gallery: the scans that could be read.
    """
    about: dict[str, list[Finding]] = {}
    for finding in findings:
        about.setdefault(finding.case or "", []).append(finding)
    ranked = sorted(gallery.scans.values(), key=lambda scan: (_rank(about.get(scan.name, [])), scan.name))
    spent, cards = 0, []
    for scan in ranked:
        spent += len(scan.picture) * 4 // 3
        uri = jpeg_uri(scan.picture) if spent <= _BUDGET else ""
        cards.append({"scan": scan, "uri": uri, "findings": about.get(scan.name, [])})
    return render(
        "check.html",
        title=title,
        subtitle="",
        counts={severity: sum(f.severity == severity for f in findings) for severity in _SEVERITIES},
        groups=_groups(findings),
        cards=cards,
        without_picture=sum(not card["uri"] for card in cards),
        key=[
            (name, PALETTE[rank % len(PALETTE)]) for rank, name in enumerate(n for n, v in gallery.classes.items() if v)
        ],
    )


def _rank(findings: Sequence[Finding]) -> int:
    return min((_SEVERITIES.index(f.severity) for f in findings), default=len(_SEVERITIES))


def _groups(findings: Sequence[Finding]) -> list[tuple[str, str, str, list[Finding]]]:
    """Findings with the same severity, kind and remedy together."""
    found: dict[tuple[str, str, str], list[Finding]] = {}
    for finding in findings:
        found.setdefault((finding.severity, finding.kind, finding.todo), []).append(finding)
    return [(*key, group) for key, group in found.items()]
