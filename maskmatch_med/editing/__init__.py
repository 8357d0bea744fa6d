"""What a painter asks for on the voxels of one scan: growing from strokes, filling in between painted slices."""

from maskmatch_med.editing.growing import GrowOptions, box_around, grow
from maskmatch_med.editing.interpolation import interpolate

__all__ = ["GrowOptions", "box_around", "grow", "interpolate"]
