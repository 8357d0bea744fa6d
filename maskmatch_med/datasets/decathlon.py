"""The ten tasks of the Medical Segmentation Decathlon: names, addresses, sums and licence.

Counts are those of each task's own dataset.json (``numTraining``), sums those that MONAI publishes. How large an
archive is, its server says; here stands the order of magnitude alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from maskmatch_med.errors import InputError

BUCKET = "https://msd-for-monai.s3-us-west-2.amazonaws.com"
"""The open-data bucket that the tasks are served from, a tar file each."""
LICENCE = "CC BY-SA 4.0"
LICENCE_ADDRESS = "https://creativecommons.org/licenses/by-sa/4.0/"
CITATION = (
    "Simpson, A. L., Antonelli, M., Bakas, S., et al. A large annotated medical image dataset for the development and "
    "evaluation of segmentation algorithms. https://arxiv.org/abs/1902.09063 (2019), and "
    "Antonelli, M., Reinke, A., Bakas, S., et al. The Medical Segmentation Decathlon. "
    "Nature Communications 13, 4128 (2022). https://doi.org/10.1038/s41467-022-30695-9"
)
Size = Literal["tens of MB", "hundreds of MB", "some GB", "more than 10 GB"]


@dataclass(frozen=True)
class Dataset:
    """One public data set, which is one tar file.

    Args:
        name: what people call it by.
        task: the folder in the archive, and the archive's name without ``.tar``.
        content: what the scans show, and what is labelled in them.
        scans: how many of them have a label.
        size: of the archive, by order of magnitude.
        md5: of the archive, in hexadecimal digits.
    """

    name: str
    task: str
    content: str
    scans: int
    size: Size
    md5: str

    @property
    def address(self) -> str:
        """Where the archive lies."""
        return f"{BUCKET}/{self.task}.tar"

    def origin(self, address: str) -> str:
        """What is kept beside the data: source, licence and whom to cite.

        Args:
            address: where this copy came from.
        """
        return (
            f"{self.task} of the Medical Segmentation Decathlon, http://medicaldecathlon.com\n"
            f"From: {address}\n"
            f"md5 of the archive: {self.md5}\n"
            f"Licence: {LICENCE}, {LICENCE_ADDRESS}\n"
            "Who passes these scans or labels on, changed or not, names the source and keeps the licence.\n"
            f"To cite: {CITATION}\n"
            "splits.json was added by maskmatch and is no part of the Decathlon.\n"
        )


_TASKS = (
    Dataset(
        "brain-tumour",
        "Task01_BrainTumour",
        "MR in four channels, parts of gliomas",
        484,
        "some GB",
        "240a19d752f0d9e9101544901065d872",
    ),
    Dataset("heart", "Task02_Heart", "MR, left atrium", 20, "hundreds of MB", "06ee59366e1e5124267b774dbd654057"),
    Dataset(
        "liver", "Task03_Liver", "CT, liver and tumours", 131, "more than 10 GB", "a90ec6c4aa7f6a3d087205e23d4e6397"
    ),
    Dataset(
        "hippocampus",
        "Task04_Hippocampus",
        "MR, anterior and posterior hippocampus",
        260,
        "tens of MB",
        "9d24dba78a72977dbd1d2e110310f31b",
    ),
    Dataset(
        "prostate",
        "Task05_Prostate",
        "MR in two channels, zones of the prostate",
        32,
        "hundreds of MB",
        "35138f08b1efaef89d7424d2bcc928db",
    ),
    Dataset("lung", "Task06_Lung", "CT, tumours of the lung", 63, "some GB", "8afd997733c7fc0432f71255ba4e52dc"),
    Dataset(
        "pancreas",
        "Task07_Pancreas",
        "CT, pancreas and tumours",
        281,
        "more than 10 GB",
        "4f7080cfca169fa8066d17ce6eb061e4",
    ),
    Dataset(
        "hepatic-vessel",
        "Task08_HepaticVessel",
        "CT, vessels and tumours of the liver",
        303,
        "some GB",
        "641d79e80ec66453921d997fbf12a29c",
    ),
    Dataset("spleen", "Task09_Spleen", "CT, spleen", 41, "some GB", "410d4a301da4e5b2f6f86ec3ddba524e"),
    Dataset("colon", "Task10_Colon", "CT, cancer of the colon", 126, "some GB", "bad7a188931dc2f6acf72b08eb6202d0"),
)
DATASETS = {one.name: one for one in _TASKS}
"""All of them by name."""


def find_dataset(name: str) -> Dataset:
    """The data set of a name, or of its task such as ``Task09_Spleen``; upper and lower case are the same.

    Raises:
        InputError: there is none.
    """
    wanted = name.strip().casefold().replace("_", "-").replace(" ", "-")
    for one in DATASETS.values():
        if wanted in {one.name, one.task.casefold().replace("_", "-")}:
            return one
    raise InputError(f"there is no data set {name!r}; there are {', '.join(DATASETS)}")
