"""Networks built from a plan, and their weights."""

from maskmatch_med.nets.unet import build_network, heads, load_weights, save_weights

__all__ = ["build_network", "heads", "load_weights", "save_weights"]
