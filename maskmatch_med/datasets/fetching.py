"""From a name to a folder of scans: fetch, check, unpack, split; each step leaves something whole or nothing."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from maskmatch_med.datasets.decathlon import Dataset
from maskmatch_med.datasets.download import WAITS_S, Remote, download, md5_of
from maskmatch_med.datasets.parts import write_splits
from maskmatch_med.datasets.unpack import unpack
from maskmatch_med.errors import DiskFullError, InputError
from maskmatch_med.io.atomic import write_text
from maskmatch_med.progress import Progress
from maskmatch_med.study import FolderLock

ORIGIN = "ORIGIN.txt"
"""The file with source, licence and citation."""
_SPARE_BYTES = 1 << 28


@dataclass(frozen=True)
class Fetched:
    """A data set that lies here.

    Args:
        folder: of its scans.
        splits: which of them to learn from, and which to score on.
        new: whether it came now; False where it lay here already.
    """

    folder: Path
    splits: Path
    new: bool


def fetch(
    dataset: Dataset,
    place: Path,
    address: str | None = None,
    progress: Progress | None = None,
    waits_s: Sequence[float] = WAITS_S,
) -> Fetched:
    """Bring a data set to ``PLACE/TASK``. Where it lies there, nothing is asked of anybody.

    An archive ``PLACE/TASK.tar`` that somebody has put there is taken instead of fetched, and stays.

    Args:
        dataset: which.
        place: the folder that gets it; it is made.
        address: of a mirror: of the archive itself, or of the folder that holds it.
        progress: told how far each step is, in bytes.
        waits_s: seconds before each further try where the connection breaks.

    Raises:
        InputError: it cannot be had, is damaged, or its place is taken by something else.
        DiskFullError: there is no room for it.
        BusyError: another process fetches it.
    """
    folder = place / dataset.task
    place.mkdir(parents=True, exist_ok=True)
    with FolderLock(place / f".{dataset.task}.lock", f"fetching {dataset.task}").held():
        new = not (folder / "dataset.json").is_file()
        if new:
            if folder.exists():
                raise InputError(f"{folder} is there and holds no dataset.json; move it away, or name another place")
            _bring(dataset, folder, _mirror(dataset, address), progress, waits_s)
        return Fetched(folder, write_splits(folder), new)


def _bring(dataset: Dataset, folder: Path, address: str, progress: Progress | None, waits_s: Sequence[float]) -> None:
    archive, unpacked = folder.with_name(f"{dataset.task}.tar"), folder.with_name(f".{dataset.task}.unpacking")
    own = archive.is_file()
    if own and (found := md5_of(archive, progress)) != dataset.md5:
        raise InputError(
            f"{archive} has the md5 sum {found}, expected {dataset.md5}; remove it, and it is fetched anew"
        )
    if not own:
        remote = Remote(address, dataset.md5)
        download(remote, archive, room=_Room(folder.parent), progress=progress, waits_s=waits_s)
    shutil.rmtree(unpacked, ignore_errors=True)
    unpacked.mkdir()
    try:
        unpack(archive, unpacked, dataset.task, progress)
        write_text(unpacked / ORIGIN, dataset.origin(str(archive) if own else address))
        write_splits(unpacked)
        unpacked.replace(folder)
    finally:
        shutil.rmtree(unpacked, ignore_errors=True)
    if not own:
        archive.unlink()


@dataclass(frozen=True)
class _Room:
    """Asks for room for what is still to come and, beside the whole archive, its content."""

    place: Path

    def __call__(self, total: int, missing: int) -> None:
        need, free = missing + total + _SPARE_BYTES, shutil.disk_usage(self.place).free
        if need > free:
            raise DiskFullError(
                f"{self.place} has {free / 1e9:.2f} GB free, and archive and scans side by side need "
                f"{need / 1e9:.2f} GB more; free some space, or name another place by --to"
            )


def _mirror(dataset: Dataset, address: str | None) -> str:
    """The address of the archive; a mirror may be named by its folder."""
    if address is None:
        return dataset.address
    return address if address.partition("?")[0].endswith(".tar") else f"{address.rstrip('/')}/{dataset.task}.tar"
