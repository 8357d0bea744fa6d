"""What was dropped in zip archives, and what of it belongs together."""

from __future__ import annotations

import shutil
from collections.abc import Container, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from maskmatch_med.io.archives import unpacked
from maskmatch_med.io.atomic import copy_file
from maskmatch_med.io.cases import IMAGE_FOLDERS, LABEL_FOLDERS, files_in
from maskmatch_med.io.refusals import Refused
from maskmatch_med.progress import Progress

_KNOWN = {name.casefold(): name for name in (*IMAGE_FOLDERS, *LABEL_FOLDERS)}


@contextmanager
def sources_in(
    source: Path, archives: Sequence[Path], root: Path, progress: Progress, refused: Refused
) -> Iterator[list[tuple[str, Path]]]:
    """The sources that a drop with archives is, each with what to call it, for a while.

    An archive that is a data set, or holds images and labels in folders of their own, is a source by itself. One that
    is called ``labels``, ``masks``, ``images`` or alike, or holds one folder of that name, belongs to the loose files.
    The others are a source together, one folder an archive, as of one patient each. A folder that is made has the name
    of the study, which a new one takes from it.

    Args:
        source: the folder that was dropped, or the one archive.
        archives: those of its files that are archives of scans.
        root: the study, beside which they are unpacked.
        progress: told how far it is.
        refused: takes the archives that cannot be unpacked.

    Raises:
        DiskFullError: the disk has no room for what they hold.
    """
    with unpacked(archives, root.parent, progress, refused) as places:
        loose = [path for path in source.glob("[!.]*") if path not in archives] if source.is_dir() else []
        if not places:
            yield [(source.name, source)] if loose else []
            return
        scratch = next(iter(places.values())).parents[1]
        taken = {path.name.casefold() for path in loose}
        if source.is_dir() and files_in(source):
            taken |= {name.casefold() for name in IMAGE_FOLDERS}  # beside which loose scans would be passed over
        parts, own, others = _sorted(places, taken)
        if not loose and len(places) == 1 and not own:
            parts, others = {}, places
        if parts and len(others) == 1 and not loose and not set(IMAGE_FOLDERS) & set(parts):
            parts["images"] = others.popitem()[1]
        found: list[tuple[str, Path]] = []
        if parts or loose:
            found.append((source.name, _joined(scratch / "together" / root.name, loose, parts)))
        single = {**own, **(others if len(others) == 1 else {})}
        found += [(archive.name, _called(root.name, folder)) for archive, folder in single.items()]
        if len(others) > 1:
            folders = {f"{folder.parent.name}_{folder.name}": folder for folder in others.values()}
            if len({folder.name.casefold() for folder in others.values()}) == len(others):
                folders = {folder.name: folder for folder in others.values()}
            found.append(("the archives", _joined(scratch / "others" / root.name, [], folders)))
        yield found


def _sorted(
    places: dict[Path, Path], taken: Container[str]
) -> tuple[dict[str, Path], dict[Path, Path], dict[Path, Path]]:
    """Folders of images or of labels by their name, where that is not taken, sources of their own, and others."""
    parts: dict[str, Path] = {}
    own: dict[Path, Path] = {}
    others: dict[Path, Path] = {}
    for archive, folder in places.items():
        inner = sorted(path for path in folder.iterdir() if path.is_dir() and path.name.casefold() in _KNOWN)
        name = inner[0].name if inner else folder.name
        known = None if name.casefold() in taken else _KNOWN.get(name.casefold())
        if (folder / "dataset.json").is_file() or len(inner) > 1 or (inner and files_in(folder)):
            own[archive] = folder
        elif known is not None and known not in parts:
            parts[known] = inner[0] if inner else folder
        else:
            others[archive] = folder
    return parts, own, others


def _called(name: str, folder: Path) -> Path:
    parent = folder.parent / f"{folder.name}_"
    parent.mkdir()
    return Path(shutil.move(folder, parent / name))


def _joined(target: Path, loose: Sequence[Path], folders: dict[str, Path]) -> Path:
    """A folder with links to loose files and with these folders."""
    target.mkdir(parents=True)
    for path in loose:
        try:
            (target / path.name).symlink_to(path.absolute(), target_is_directory=path.is_dir())
        except OSError:  # links are not for everybody on Windows
            (shutil.copytree if path.is_dir() else copy_file)(path, target / path.name)
    for name, folder in folders.items():
        shutil.move(folder, target / name)
    return target
