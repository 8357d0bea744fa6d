"""Get a public data set by its name: fetched, checked, unpacked, and a study made of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from maskmatch_med.datasets import Dataset, Fetched, fetch, find_dataset
from maskmatch_med.progress import Progress
from maskmatch_med.study import ImportOptions, ImportSummary, import_scans


@dataclass(frozen=True)
class GetRequest:
    """What to get.

    Args:
        name: of the data set, see :data:`maskmatch_med.datasets.DATASETS`.
        place: the folder that gets the data, ``PLACE/TASK``, and the study, ``PLACE/NAME``.
        address: of a mirror: of the archive itself, or of the folder that holds it.
        labelled: how many scans of the study come with their label; all where not given.
        study: whether a study is made.
    """

    name: str
    place: Path = Path()
    address: str | None = None
    labelled: int | None = None
    study: bool = True


@dataclass(frozen=True)
class Got:
    """What is here now.

    Args:
        dataset: which it is.
        fetched: where the scans lie.
        summary: of the import; None where no study was asked for.
    """

    dataset: Dataset
    fetched: Fetched
    summary: ImportSummary | None


def get_dataset(request: GetRequest, progress: Progress | None = None) -> Got:
    """Bring a public data set here and import it; what is here already is left as it is.

    The scans of the study are links to the data where the disk allows it, so they take no room twice. The test part
    stays out of the study.

    Args:
        request: what to get.
        progress: called as ``progress(done, total, text)``.

    Raises:
        InputError: there is no such data set, it cannot be had or is damaged.
        StudyError: there is no room for it, or the study holds other scans of the same names.
    """
    dataset = find_dataset(request.name)
    fetched = fetch(dataset, Path(request.place), request.address, progress)
    if not request.study:
        return Got(dataset, fetched, None)
    options = ImportOptions(splits=fetched.splits, labelled=request.labelled, link=True)
    return Got(dataset, fetched, import_scans(fetched.folder, Path(request.place) / dataset.name, options, progress))
