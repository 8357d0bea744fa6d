"""Label-efficient segmentation of medical and custom-domain images.

The public names are listed in ``__all__`` and loaded when they are first asked for, so that a bare import stays quick.
"""

import os
from typing import TYPE_CHECKING

from maskmatch_med.lazy import lazy_names
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

# Waiting threads sleep instead of spinning: OpenMP's, because on a machine that does anything else besides, spinning
# makes a training step several times slower; OpenBLAS's (of NumPy), because each product that resamples rows of a scan
# would keep a core from the network for the next 30 ms. Take effect where torch and NumPy are not loaded yet.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "4")  # 2^4 turns, the least; 2^26 is its own

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

__getattr__ = lazy_names(__name__, __file__)
