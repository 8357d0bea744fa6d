"""Weak and strong views of whole batches, on the device: drawn once, applied to all that belongs together."""

from maskmatch_med.views.intensity import LABELLED, STRONG, IntensityDraw, apply_intensity, draw_intensity
from maskmatch_med.views.masking import apply_patch_mask, default_patch_mm, draw_patch_mask, mask_patch_vox
from maskmatch_med.views.mixing import CutMixDraw, apply_cutmix, draw_boxes, draw_copy_paste, draw_cutmix
from maskmatch_med.views.noise import standard_normal
from maskmatch_med.views.spatial import SpatialDraw, apply_spatial, draw_spatial, source_shape

__all__ = [
    "LABELLED",
    "STRONG",
    "CutMixDraw",
    "IntensityDraw",
    "SpatialDraw",
    "apply_cutmix",
    "apply_intensity",
    "apply_patch_mask",
    "apply_spatial",
    "default_patch_mm",
    "draw_boxes",
    "draw_copy_paste",
    "draw_cutmix",
    "draw_intensity",
    "draw_patch_mask",
    "draw_spatial",
    "mask_patch_vox",
    "source_shape",
    "standard_normal",
]
