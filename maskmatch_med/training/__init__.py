"""The loop: budget, checkpoints, validation, logging, and the run that ties them to a study."""

from maskmatch_med.training.log import Report, read_log
from maskmatch_med.training.presets import PRESETS
from maskmatch_med.training.run import RunOptions, run_training

__all__ = ["PRESETS", "Report", "RunOptions", "read_log", "run_training"]
