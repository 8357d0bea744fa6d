"""Trained network and scan in, segmentation on the scan's own grid out."""

from typing import TYPE_CHECKING

from maskmatch_med.lazy import lazy_names

if TYPE_CHECKING:
    from maskmatch_med.inference.engines import EagerEngine, Engine, choose_engine
    from maskmatch_med.inference.options import Prediction, PredictOptions
    from maskmatch_med.inference.postprocess import keep_largest_component
    from maskmatch_med.inference.predictor import Predictor

__all__ = [
    "EagerEngine",
    "Engine",
    "PredictOptions",
    "Prediction",
    "Predictor",
    "choose_engine",
    "keep_largest_component",
]

__getattr__ = lazy_names(__name__, __file__)
