"""Trained network and scan in, segmentation on the scan's own grid out."""

from maskmatch_med.inference.postprocess import keep_largest_component
from maskmatch_med.inference.predictor import Prediction, PredictOptions, Predictor

__all__ = ["PredictOptions", "Prediction", "Predictor", "keep_largest_component"]
