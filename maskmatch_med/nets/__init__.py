"""Networks built from a plan, their weights, and the folder a model lives in."""

from typing import TYPE_CHECKING

from maskmatch_med.lazy import lazy_names

if TYPE_CHECKING:
    from maskmatch_med.nets.dropout import dropped_channels
    from maskmatch_med.nets.folder import ModelFolder
    from maskmatch_med.nets.layout import lay_out_weights
    from maskmatch_med.nets.pair import Pair, kept_network
    from maskmatch_med.nets.unet import build_network, heads, load_weights, save_weights

__all__ = [
    "ModelFolder",
    "Pair",
    "build_network",
    "dropped_channels",
    "heads",
    "kept_network",
    "lay_out_weights",
    "load_weights",
    "save_weights",
]

__getattr__ = lazy_names(__name__, __file__)
