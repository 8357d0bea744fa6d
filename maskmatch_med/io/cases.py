"""Find the scans among files, folders and archives."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from maskmatch_med.errors import InputError
from maskmatch_med.io import rasters
from maskmatch_med.io.channels import by_modality
from maskmatch_med.io.formats import READABLE, ReadOptions, format_of, is_readable, strip_extension, without_data_files
from maskmatch_med.io.refusals import Refused, refuse
from maskmatch_med.io.volumes import read_volume
from maskmatch_med.volume import Volume

if TYPE_CHECKING:
    from maskmatch_med.io.dicom import DicomFolder, DicomSeries

IMAGE_FOLDERS = ("imagesTr", "images", "imgs")
LABEL_FOLDERS = ("labelsTr", "masks", "mask", "labels", "annotations")
_LABEL_ENDING = re.compile(
    r"(_mask|_masks|_label|_labels|_seg|_segmentation|_dseg|[.]seg)(-[a-z0-9]+)?$", re.IGNORECASE
)
"""Behind the scan's name: ``a_seg``, ``a_mask``, BIDS's ``a_dseg`` and ``a_seg-manual``, Slicer's ``a.seg``."""
_BARE_LABEL = re.compile(r"(mask|masks|label|labels|seg|segmentation|dseg)", re.IGNORECASE)
"""The whole name of a label beside the only scan of a folder, as in one folder a patient."""
_MAPS_ENDING = "_uncertainty"
_MOST_CHANNELS = 8
"""Where nothing tells the number of channels, more numbers than these are taken for slices or frames."""
_PLAIN = ReadOptions()
_CHANNEL = re.compile(r"^(?P<name>.+)_(?P<channel>\d{4})$")


@dataclass(frozen=True)
class CaseFiles:
    """The files of one scan.

    Args:
        name: the source's name without extension and without the channel ending ``_0000``.
        channels: one file a channel, or one coloured picture; for DICOM the folder, archive or file that was given.
        is_raster: whether it is a 2D picture.
        series: the series of a DICOM source that it is.
    """

    name: str
    channels: tuple[Path, ...]
    is_raster: bool
    series: DicomSeries | None = field(default=None, compare=False)

    def read(self, *, channels: int | None = None, options: ReadOptions = _PLAIN) -> Volume:
        """Read the scan; the arguments are those of :func:`read_volume`.

        Raises:
            InputError: a file cannot be used.
        """
        return self.series.read() if self.series else read_volume(self.channels, channels=channels, options=options)


@dataclass(frozen=True)
class FoundScans:
    """What files and folders hold.

    Args:
        cases: the scans in order of their names.
        channel_names: of the channels, where endings such as ``_t1`` and ``_flair`` name them; else empty.
        labels: files beside the scans that are named as labels, and DICOM segmentations.
        notes: what was passed over or taken in a way that must be known, in sentences.
    """

    cases: tuple[CaseFiles, ...]
    channel_names: tuple[str, ...] = ()
    labels: tuple[Path, ...] = ()
    notes: tuple[str, ...] = ()


def files_in(folder: Path) -> list[Path]:
    """The readable files of a folder in order of their names; hidden files are left out."""
    files = sorted(p for p in folder.iterdir() if not p.name.startswith(".") and p.is_file() and is_readable(p))
    return without_data_files(files)


def image_folder(folder: Path) -> Path:
    """Where the scans of a data set lie: its ``imagesTr`` or ``images`` folder, else the folder itself."""
    for name in IMAGE_FOLDERS:
        if (folder / name).is_dir():
            return folder / name
    return folder


def without_label_ending(name: str) -> str:
    """The name of the scan that a file of this name is the label of: ``a_seg`` gives ``a``; others as they are."""
    match = _LABEL_ENDING.search(name)
    return name[: match.start()] if match and match.start() else name


def is_named_as_label(path: Path) -> bool:
    """Whether a file's name ends as that of a label does."""
    name = strip_extension(path)
    return without_label_ending(name) != name


def is_bare_label(path: Path) -> bool:
    """Whether a file is called ``mask``, ``seg`` or alike and nothing else."""
    return _BARE_LABEL.fullmatch(strip_extension(path)) is not None


def find_cases(paths: Sequence[Path], *, channels: int | Sequence[str] | None = None) -> list[CaseFiles]:
    """The scans that :func:`find_scans` finds."""
    return list(find_scans(paths, channels=channels).cases)


def find_scans(
    paths: Sequence[Path], *, channels: int | Sequence[str] | None = None, refused: Refused | None = None
) -> FoundScans:
    """Find the scans among files, folders and archives.

    Of a folder its readable files are taken, or those of its ``imagesTr`` or ``images`` folder; masks, labels
    (``*_mask``, ``*_seg``, …), uncertainty maps and hidden files in it are passed over, zip archives of DICOM files
    taken. Where it has no scan itself, the DICOM series within it are taken, however deep they lie, else the files of
    its folders, one folder a scan as in BraTS.

    Files of volumes are the channels of one scan where names end in ``_0000``, ``_0001``, …, or in names of modalities
    (``_t1``, ``_flair``, see :data:`~maskmatch_med.io.channels.MODALITIES`). So are pictures where all of a folder
    carry a number, of several scans, each with the same 2 to 8 numbers from ``_0000`` on. Other numbered pictures,
    such as the frames of a film or the slices of a volume, are a scan each; the ending ``_0000`` is cut off where no
    other number occurs.

    Scans of several folders that share a name are told apart by their folders: ``p1/t1`` and ``p2/t1`` are ``p1`` and
    ``p2`` where each folder has one scan, else ``p1_t1``, ``p1_t2``, …

    Args:
        paths: files, folders, or zip archives of DICOM files.
        channels: how many channels a scan has, or their names, where that is known. Pictures with just that many
            numbers are grouped, also those of a single scan. Modalities are grouped when the names are such, in the
            order of the names, or when nothing is known.
        refused: takes what would be an error of one scan, so that the others are found.

    Raises:
        InputError: nothing was found, a file is of an unknown format, a channel is missing, two scans share a name, or
            a label may be that of several scans.
    """
    files: list[Path] = []
    folders: list[DicomFolder] = []
    slices: set[Path] = set()
    for path in dict.fromkeys(paths):
        for found in _gather(path) if path not in slices else ():
            if isinstance(found, Path):
                files.append(found)
            else:
                folders.append(found)
                slices |= {file.path for series in found.series for file in series.files}
    unique = without_data_files(dict.fromkeys(files))
    labels = [f for f in unique if is_named_as_label(f) and f not in paths]
    bare = _bare_labels([f for f in unique if f not in set(labels) and f not in paths])
    scans = [f for f in unique if f not in {*labels, *bare}]
    cases, names, notes = _group_volumes([f for f in scans if not rasters.is_raster(f)], channels, refused)
    count = len(channels) if isinstance(channels, Sequence) else channels
    for folder in dict.fromkeys(f.parent for f in scans):
        cases += _group_rasters([f for f in scans if rasters.is_raster(f) and f.parent == folder], count, refused)
    labels += _of_one_scan(bare, cases, refused)
    for dicom in folders:
        cases += [CaseFiles(series.name, (dicom.path,), False, series) for series in dicom.series]
        labels += [file.path for file in dicom.segmentations if not file.member]
        notes += dicom.notes
    if not cases:
        raise InputError(_nothing(paths, notes))
    notes += [note for path in paths for note in _unsearched(path, scans)]
    cases = _without_duplicates(_told_apart(cases, paths), refused)
    return FoundScans(tuple(sorted(cases, key=lambda case: case.name)), names, tuple(labels), tuple(notes))


def _unsearched(folder: Path, scans: Sequence[Path]) -> list[str]:
    """That folders in a folder of scans, and archives of scans in any, are not looked into."""
    packed = [f"the archive {path} was not looked into; import it by itself" for path in _packed(folder)[:1]]
    if not any(path.parent == folder for path in scans):
        return packed
    known = {*IMAGE_FOLDERS, *LABEL_FOLDERS}
    inner = sorted(f.name for f in folder.iterdir() if f.is_dir() and f.name[0] != "." and f.name not in known)
    told = f"{folder} has scans itself, so its folder {inner[0]} was not searched; import it by itself" if inner else ""
    return [*([told] if told else []), *packed]


def _packed(folder: Path) -> list[Path]:
    """The zip archives of a folder that hold scans of other formats than DICOM."""
    from maskmatch_med.io.archives import holds_scans  # noqa: PLC0415  (which asks this module)

    return [path for path in sorted(folder.glob("[!.]*")) if holds_scans(path)] if folder.is_dir() else []


def _nothing(paths: Sequence[Path], notes: Sequence[str]) -> str:
    if not paths:
        return "no scan was given"
    if packed := _packed(paths[0]):
        return f"no scan found in the folder {paths[0]} but in archives such as {packed[0].name}; give that by itself"
    what = f"no scan found in the folder {paths[0]}" if paths[0].is_dir() else f"no scan found in {paths[0]}"
    return f"{what}: {notes[0]}" if notes else f"{what}: expected {READABLE}"


def _gather(path: Path) -> Iterable[Path | DicomFolder]:
    """The files of a path, labels among them, and its DICOM series."""
    if path.is_dir():
        return _gather_folder(image_folder(path))
    if not path.is_file():
        raise InputError(f"there is no file or folder {path}")
    if _is_dicom(path) or _is_zip(path):
        return _dicom(path)
    if not is_readable(path):
        raise InputError(f"cannot read {path}: expected {READABLE}")
    return [path]


def _gather_folder(folder: Path) -> list[Path | DicomFolder]:
    found = _directly_in(folder)
    if any(not (isinstance(one, Path) and is_named_as_label(one)) for one in found):
        return found
    series = _dicom(folder, asked=False)
    if series:
        return [*found, *series]
    inner = sorted(f for f in folder.iterdir() if f.is_dir() and f.name[0] != "." and f.name not in LABEL_FOLDERS)
    return [*found, *(one for place in inner for one in _directly_in(place))]


def _directly_in(folder: Path) -> list[Path | DicomFolder]:
    """The files of a folder, the DICOM series that begin in it, and those of its zip archives."""
    files = [path for path in files_in(folder) if not _is_zip(path)]
    found: list[Path | DicomFolder] = [path for path in files if not _is_dicom(path) and not _is_map(path)]
    if any(_is_dicom(path) for path in files):
        found += _dicom(folder)
    archives = sorted(path for path in folder.glob("[!.]*") if _is_zip(path))
    return [*found, *(one for path in archives for one in _dicom(path, asked=False))]


def _dicom(path: Path, *, asked: bool = True) -> list[DicomFolder]:
    """The DICOM series of a path; nothing where it holds no DICOM file, unless just this path was asked for."""
    from maskmatch_med.io.dicom import find_series, is_dicom  # noqa: PLC0415  (slow to import)

    return [find_series(path)] if asked or is_dicom(path) else []


def _is_dicom(path: Path) -> bool:
    row = format_of(path)
    return row is not None and row.name == "DICOM"


def _is_zip(path: Path) -> bool:
    return path.suffix.lower() == ".zip"


def _is_map(path: Path) -> bool:
    return strip_extension(path).lower().endswith(_MAPS_ENDING)


def _group_volumes(
    files: Sequence[Path], channels: int | Sequence[str] | None, refused: Refused | None
) -> tuple[list[CaseFiles], tuple[str, ...], list[str]]:
    """The scans of these files, the names of their channels where endings name them, and a note that says so."""
    if isinstance(channels, int):
        return group_channels(files, refused), (), []
    groups = by_modality(files, channels, refused)
    cases = [CaseFiles(name, paths, False) for (_, name), paths in groups.cases.items()]
    note = (
        f"files ending in {', '.join(groups.names)} were taken as the channels of one scan; if they are scans of "
        "their own, give --channels with one name"
    )
    return cases + group_channels(groups.rest, refused), groups.names, [note] if cases and channels is None else []


def group_channels(files: Sequence[Path], refused: Refused | None = None) -> list[CaseFiles]:
    """Gather files into scans: ``NAME_0000``, ``NAME_0001``, … are the channels of NAME.

    Where no file ends in ``_0000``, such numbers are no channels and each file is a scan.

    Args:
        files: the candidates.
        refused: takes what would be an error; scans of the most usual number of channels are found then.

    Raises:
        InputError: a scan lacks a channel that others have, or two files are the same channel.
    """
    matches = [(_CHANNEL.match(strip_extension(f)), f) for f in files]
    if not any(m and int(m["channel"]) == 0 for m, _ in matches):
        return [CaseFiles(strip_extension(f), (f,), rasters.is_raster(f)) for f in files]
    groups: dict[tuple[Path, str], dict[int, Path]] = {}
    cases = [CaseFiles(strip_extension(f), (f,), rasters.is_raster(f)) for m, f in matches if m is None]
    for match, file in matches:
        if match is None:
            continue
        channels = groups.setdefault((file.parent, match["name"]), {})
        twin = channels.setdefault(int(match["channel"]), file)
        if twin is not file:
            refuse(refused, file, f"{file} and {twin} are the same channel; remove one of them")
    counts = Counter(len(channels) for channels in groups.values())
    count = max(counts) if refused is None else max(counts, key=lambda n: (counts[n], n))
    for (_, name), channels in groups.items():
        lost = next((c for c in range(count) if c not in channels), None)
        first = next(iter(channels.values()))
        if lost is not None:
            refuse(refused, first, f"the scan {name} has no channel {name}_{lost:04d} beside {first}")
        elif len(channels) > count:
            refuse(refused, first, f"the scan {name} has {len(channels)} channels, most others {count}")
        else:
            ordered = tuple(channels[c] for c in range(count))
            cases.append(CaseFiles(name, ordered, rasters.is_raster(ordered[0])))
    return cases


def _group_rasters(files: Sequence[Path], channels: int | None, refused: Refused | None) -> list[CaseFiles]:
    stems = [strip_extension(f) for f in files]
    matches = [_CHANNEL.match(s) for s in stems]
    if _are_channels(matches, channels):
        return group_channels(files, refused)
    cut = all(m is None or int(m["channel"]) == 0 for m in matches)
    names = [m["name"] if m and cut else s for m, s in zip(matches, stems, strict=True)]
    return [CaseFiles(name, (file,), True) for name, file in zip(names, files, strict=True)]


def _are_channels(matches: Sequence[re.Match[str] | None], channels: int | None) -> bool:
    """Whether the numbers of these pictures count the channels of scans, not frames or slices."""
    numbers: dict[str, set[int]] = {}
    for match in matches:
        if match is None:
            return False
        numbers.setdefault(match["name"], set()).add(int(match["channel"]))
    found = {frozenset(of_scan) for of_scan in numbers.values()}
    if channels is not None and channels > 1 and frozenset(range(channels)) in found:
        return True
    count = max((len(of_scan) for of_scan in found), default=0)
    return len(numbers) > 1 and 1 < count <= _MOST_CHANNELS and found == {frozenset(range(count))}


def _bare_labels(files: Sequence[Path]) -> list[Path]:
    """The files called ``mask`` or alike that lie beside others."""
    beside = {f.parent for f in files if not is_bare_label(f)}
    return [f for f in files if is_bare_label(f) and f.parent in beside]


def _of_one_scan(labels: Sequence[Path], cases: Sequence[CaseFiles], refused: Refused | None) -> list[Path]:
    """Those of the labels without a name of their own that lie beside one scan."""
    found = []
    for label in labels:
        beside = [case.name for case in cases if case.channels[0].parent == label.parent]
        if len(beside) > 1:
            told = f"{label} may be the label of {beside[0]} or of {beside[1]}; call it {beside[0]}_seg, or move it"
            refuse(refused, label, told)
        else:
            found.append(label)
    return found


def _folder(case: CaseFiles) -> Path:
    """What tells a scan from one of the same name: its folder, of DICOM files the folder or archive itself."""
    return case.channels[0] if case.series else case.channels[0].parent


def _told_apart(cases: Sequence[CaseFiles], paths: Sequence[Path]) -> list[CaseFiles]:
    """Name scans by their folders too where some of several folders share a name."""
    folders: dict[str, set[Path]] = {}
    for case in cases:
        folders.setdefault(case.name.casefold(), set()).add(_folder(case))
    if all(len(shared) == 1 for shared in folders.values()):
        return list(cases)
    tops = {*paths, *(image_folder(path) for path in paths if path.is_dir())}
    held = Counter(_folder(case) for case in cases)
    named = []
    for case in cases:
        folder = _folder(case)
        name = strip_extension(folder) if case.series else folder.name
        if folder not in tops and case.name != name:
            case = replace(case, name=name if held[folder] == 1 else f"{name}_{case.name}")  # noqa: PLW2901
        named.append(case)
    return named


def _without_duplicates(cases: Iterable[CaseFiles], refused: Refused | None) -> list[CaseFiles]:
    """The scans with names of their own, whatever the case of their letters."""
    seen: dict[str, CaseFiles] = {}
    for case in cases:
        twin = seen.setdefault(case.name.casefold(), case)
        if twin is not case:
            told = f"{twin.channels[0]} and {case.channels[0]} share the name {case.name}; rename one"
            refuse(refused, case.channels[0], told)
    return list(seen.values())
