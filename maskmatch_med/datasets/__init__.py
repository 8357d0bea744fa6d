"""Public data sets by name: where they lie, under which licence, and how they come here whole."""

from maskmatch_med.datasets.decathlon import DATASETS, Dataset, find_dataset
from maskmatch_med.datasets.fetching import Fetched, fetch

__all__ = ["DATASETS", "Dataset", "Fetched", "fetch", "find_dataset"]
