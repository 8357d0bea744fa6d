"""What is wrong with a scan as the others tell: duplicates, outliers, mirrored scans, classes nobody has painted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from maskmatch_med.study.checking import sides
from maskmatch_med.study.checking.finding import Finding, Kind
from maskmatch_med.study.checking.measures import Measures
from maskmatch_med.study.checking.outliers import amount, outliers

AIR_HU = (-9000.0, -200.0)
"""Air, and what scanners write outside of their field of view, in Hounsfield units; fat is above."""
SPACING_FACTOR, SIZE_FACTOR, INTENSITY_FACTOR, VOLUME_FACTOR = 1.5, 1.5, 10.0, 4.0
_AXES = ("right to left", "front to back", "head to foot")


def cohort_findings(measured: Sequence[Measures], channels: Sequence[str], labels: Mapping[str, int]) -> list[Finding]:
    """Hold every scan against the others.

    Args:
        measured: all scans that could be read.
        channels: names of the channels.
        labels: class name to value.
    """
    found = [*_duplicates(measured), *_same_labels(measured), *_same_channels(measured, channels)]
    solid = [m for m in measured if not m.is_raster]
    found += _grid_outliers(solid)
    found += _intensity_outliers(measured, channels)
    found += _mixed_units(measured, channels)
    found += _volume_outliers(measured, labels)
    found += _mirrored(solid)
    found += _unused_classes(measured, labels)
    return found


def _duplicates(measured: Sequence[Measures]) -> Iterator[Finding]:
    first: dict[tuple[bytes, ...], Measures] = {}
    for scan in measured:
        twin = first.setdefault(scan.digests, scan)
        if twin is scan:
            continue
        message = f"{scan.name} holds the very voxels of {twin.name}"
        labels = (scan.label_digest, twin.label_digest)
        if None not in labels and labels[0] != labels[1]:
            todo = "their labels differ: keep the right one and remove the other case"
            yield Finding("error", scan.name, message, todo, "duplicate")
        elif scan.group is not None and scan.group == twin.group:
            todo = f"nothing must be done: both belong to {scan.group} and stay together; one of them is enough"
            yield Finding("note", scan.name, message, todo, "duplicate")
        else:
            todo = "remove one of them: with one in training and one in validation, the score is too good"
            yield Finding("warning", scan.name, message, todo, "duplicate")


def _same_labels(measured: Sequence[Measures]) -> Iterator[Finding]:
    first: dict[bytes, Measures] = {}
    for scan in measured:
        if scan.label_digest is None or scan.label_is_trivial:
            continue
        twin = first.setdefault(scan.label_digest, scan)
        if twin is scan or twin.digests == scan.digests:
            continue
        message = f"the label of {scan.name} is that of {twin.name}, voxel for voxel, but their scans differ"
        if scan.group is not None and scan.group == twin.group:
            todo = f"nothing must be done if both show {scan.group} on one grid; otherwise replace the wrong one"
            yield Finding("note", scan.name, message, todo, "labels")
        else:
            yield Finding("error", scan.name, message, "see which scan it belongs to and replace the other", "labels")


def _same_channels(measured: Sequence[Measures], channels: Sequence[str]) -> Iterator[Finding]:
    for scan in measured:
        if scan.is_raster or len(set(scan.digests)) == len(scan.digests):
            continue
        second = next(i for i, digest in enumerate(scan.digests) if digest in scan.digests[:i])
        names = f"{channels[scan.digests.index(scan.digests[second])]} and {channels[second]}"
        todo = "give each channel its own file and import the scan again"
        yield Finding("warning", scan.name, f"the channels {names} of {scan.name} are the same", todo, "duplicate")


def _grid_outliers(measured: Sequence[Measures]) -> Iterator[Finding]:
    for axis, along in enumerate(_AXES):
        for name, odd in outliers({m.name: m.spacing_mm[axis] for m in measured}, SPACING_FACTOR).items():
            message = (
                f"{name} has voxels of {amount(odd.value)} mm {along}, the median of the set is {amount(odd.median)} mm"
            )
            todo = "see if the header is right; if it is, nothing: scans are resampled to the plan's spacing"
            yield Finding("warning", name, message, todo, "spacing")
        for name, odd in outliers({m.name: m.extent_mm[axis] for m in measured}, SIZE_FACTOR).items():
            message = f"{name} spans {amount(odd.value)} mm {along}, the median of the set is {amount(odd.median)} mm"
            todo = "see if it shows the same part of the body; crop it or remove it if it does not"
            yield Finding("warning", name, message, todo, "size")


def _intensity_outliers(measured: Sequence[Measures], channels: Sequence[str]) -> Iterator[Finding]:
    for channel, called in enumerate(channels):
        found = outliers({m.name: m.bright[channel] for m in measured}, INTENSITY_FACTOR)
        for name, odd in found.items():
            message = f"{name} has intensities {odd.times} the median of the set ({called}: 99th percentile "
            message += f"{amount(odd.value)} against {amount(odd.median)})"
            todo = "z-score normalisation takes this away; with a plan that keeps units (CT), rescale the scan first"
            yield Finding("warning", name, message, todo, "intensity")


def _mixed_units(measured: Sequence[Measures], channels: Sequence[str]) -> Iterator[Finding]:
    """Scans that show air as CT does, far below 0, beside scans that hardly go below 0."""
    for channel, called in enumerate(channels):
        varied = [m for m in measured if m.bright[channel] > 0]
        air = [m for m in varied if AIR_HU[0] < m.dark[channel] < AIR_HU[1]]
        positive = [m for m in varied if m.dark[channel] >= 0]
        few, many = sorted((air, positive), key=len)
        for scan in few:
            message = (
                f"{scan.name} and {many[0].name} are not in one unit ({called}: 1st percentile "
                f"{amount(scan.dark[channel])} against {amount(many[0].dark[channel])}); {len(air)} scans show air "
                f"as CT does in Hounsfield units, {len(positive)} have hardly a value below 0"
            )
            todo = (
                "a study holds scans of one kind: give CT and MR a study each, and a CT that lost its offset its units"
            )
            yield Finding("warning", scan.name, message, todo, "intensity")


def _volume_outliers(measured: Sequence[Measures], labels: Mapping[str, int]) -> Iterator[Finding]:
    for structure in labels:
        volumes = {m.name: m.volumes_ml[structure] for m in measured if structure in m.volumes_ml and not m.is_raster}
        for name, odd in outliers(volumes, VOLUME_FACTOR).items():
            message = (
                f"the label of {name} gives {structure} {amount(odd.value)} ml, the median is {amount(odd.median)} ml"
            )
            yield Finding("warning", name, message, "look at the label: unfinished, or two classes mixed up?", _VOLUME)


def _mirrored(measured: Sequence[Measures]) -> Iterator[Finding]:
    scans = sides.compare({m.name: m.side for m in measured if m.side is not None})
    labels = sides.compare({m.name: m.label_side for m in measured if m.label_side is not None}, of_labels=True)
    yield from _not_judged(measured)
    for name in (m.name for m in measured):
        image, label = scans.mirrored(name), labels.mirrored(name)
        if image is False and label:
            message = f"the label of {name} looks mirrored, its scan does not{_evidence(labels, name)}"
            todo = "its left and right are swapped against the scan: export it anew on the scan's grid"
            yield Finding("error", name, message, todo, _SIDE)
        elif image and label is False:
            message = f"the scan of {name} looks mirrored, its label does not{_evidence(scans, name)}"
            todo = "left and right of the scan are swapped against the label: export the scan anew"
            yield Finding("error", name, message, todo, _SIDE)
        elif image or label:
            what = f"{name} and its label look" if image and label else f"{name} looks" if image else ""
            what = what or f"the label of {name} looks"
            message = f"{what} mirrored left to right{_evidence(scans if image else labels, name)}"
            todo = "compare it with its source: a flip in the file or its header; correct it and import it again"
            yield Finding("warning", name, message, todo, _SIDE)


def _not_judged(measured: Sequence[Measures]) -> Iterator[Finding]:
    """What is left out because there is too little to compare."""
    scans = sum(m.side is not None for m in measured)
    labels = sum(m.label_side is not None for m in measured)
    what, count = ("scans", scans) if scans < sides.ENOUGH else ("labels", labels)
    if 0 < count < sides.ENOUGH:
        whose = " of labels" if what == "labels" else ""
        message = f"left and right{whose} were not judged: fewer than {sides.ENOUGH} {what} ({count})"
        todo = "see for yourself that left and right are as in the source"
        yield Finding("note", None, message, todo, _SIDE)


def _evidence(found: sides.Sides, name: str) -> str:
    low, high = found.typical
    return (
        f" (agreement with the {len(found.agreement) - 1} others {found.agreement[name]:+.2f}, theirs {low:+.2f} "
        f"to {high:+.2f})"
    )


def _unused_classes(measured: Sequence[Measures], labels: Mapping[str, int]) -> Iterator[Finding]:
    shown = {value for m in measured for value in m.values}
    if not any(m.label_digest for m in measured):
        return
    for name, value in labels.items():
        if value and value not in shown:
            message = f"no label shows {name} ({value})"
            todo = "label it in some scans, or take it out of dataset.json: nothing can be learnt of it"
            yield Finding("warning", None, message, todo, "labels")


_VOLUME: Kind = "label volume"
_SIDE: Kind = "left/right"
