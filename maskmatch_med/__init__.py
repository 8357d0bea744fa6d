"""Label-efficient segmentation of medical and custom-domain images.

The public names are listed in ``__all__`` and loaded when they are first asked for, so that a bare import stays quick.
"""

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

from maskmatch_med.version import __version__

if TYPE_CHECKING:
    from maskmatch_med.config import TrainConfig
    from maskmatch_med.errors import InputError, MaskMatchError, StudyError, TrainingError
    from maskmatch_med.evaluation import EvaluateOptions, Evaluation
    from maskmatch_med.io import read_volume, write_segmentation
    from maskmatch_med.nets import ModelFolder
    from maskmatch_med.phantom import PhantomOptions, write_phantom
    from maskmatch_med.planning import Plan
    from maskmatch_med.service import (
        PredictRequest,
        TrainRequest,
        check_study,
        evaluate,
        export_study,
        import_scans,
        info,
        plan_study,
        predict,
        train,
    )
    from maskmatch_med.study import Case, ImportOptions, Study
    from maskmatch_med.volume import Geometry, Volume

# Waiting OpenMP threads sleep instead of spinning: on a machine that does anything else besides, spinning makes a
# training step several times slower. Takes effect where torch is not loaded yet.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

_ROOMS = {
    "config": ("TrainConfig",),
    "errors": ("InputError", "MaskMatchError", "StudyError", "TrainingError"),
    "evaluation": ("EvaluateOptions", "Evaluation"),
    "io": ("read_volume", "write_segmentation"),
    "nets": ("ModelFolder",),
    "phantom": ("PhantomOptions", "write_phantom"),
    "planning": ("Plan",),
    "service": (
        "PredictRequest",
        "TrainRequest",
        "check_study",
        "evaluate",
        "export_study",
        "import_scans",
        "info",
        "plan_study",
        "predict",
        "train",
    ),
    "study": ("Case", "ImportOptions", "Study"),
    "volume": ("Geometry", "Volume"),
}
_ROOM_OF = {name: room for room, names in _ROOMS.items() for name in names}

__all__ = [
    "Case",
    "EvaluateOptions",
    "Evaluation",
    "Geometry",
    "ImportOptions",
    "InputError",
    "MaskMatchError",
    "ModelFolder",
    "PhantomOptions",
    "Plan",
    "PredictRequest",
    "Study",
    "StudyError",
    "TrainConfig",
    "TrainRequest",
    "TrainingError",
    "Volume",
    "__version__",
    "check_study",
    "evaluate",
    "export_study",
    "import_scans",
    "info",
    "plan_study",
    "predict",
    "read_volume",
    "train",
    "write_phantom",
    "write_segmentation",
]


def __getattr__(name: str) -> Any:
    if name not in _ROOM_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_ROOM_OF[name]}"), name)
