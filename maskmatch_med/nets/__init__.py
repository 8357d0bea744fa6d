"""Networks built from a plan, their weights, and the folder a model lives in."""

from maskmatch_med.nets.folder import ModelFolder
from maskmatch_med.nets.unet import build_network, heads, load_weights, save_weights

__all__ = ["ModelFolder", "build_network", "heads", "load_weights", "save_weights"]
