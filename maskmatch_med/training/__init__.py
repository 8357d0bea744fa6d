"""The loop: budget, checkpoints, validation, logging, and the run that ties them to a study."""

from typing import TYPE_CHECKING

from maskmatch_med.lazy import lazy_names

if TYPE_CHECKING:
    from maskmatch_med.training.log import Report, read_log
    from maskmatch_med.training.microscope import Snapshot, read_snapshots, read_stack
    from maskmatch_med.training.presets import PRESETS, PresetDefaults
    from maskmatch_med.training.run import RunOptions, run_training

__all__ = [
    "PRESETS",
    "PresetDefaults",
    "Report",
    "RunOptions",
    "Snapshot",
    "read_log",
    "read_snapshots",
    "read_stack",
    "run_training",
]

__getattr__ = lazy_names(__name__, __file__)
