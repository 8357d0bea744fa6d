"""A generated study: scans of invented patients that look like low-resolution abdominal MR, with exact labels.

It serves the demo and the tests where no real data may be had. Every scan is drawn from ``(seed, index)`` alone:

1. *Grid*: number of voxels, spacing, flips, tilt and origin differ from scan to scan.
2. *Patient*: a torso of skin, fat and muscle with spine, lungs, bowel, stomach, pancreas, gallbladder and a vein, and
   the four labelled structures: liver, spleen, kidneys (one class) and aorta. Pose, size, place and outline of each
   vary, and the whole is bent by a smooth deformation. Intensities of labelled and unlabelled organs overlap, each has
   a texture of its own, so that neither intensity nor place alone tells them apart.
3. *Truth*: the labels are drawn here, on the ideal patient. A voxel belongs to the structure that fills most of it.
4. *Scanner*: partial volume at edges, contrast curve, blur, bias field, Rician noise, arbitrary gain.

Nothing in it is measured from people; scores on it say that the program works, not how well it would do in a clinic.
"""

from maskmatch_med.phantom.anatomy import LABEL_NAMES
from maskmatch_med.phantom.dataset import write_phantom
from maskmatch_med.phantom.scan import PhantomOptions, case_name, make_phantom

__all__ = ["LABEL_NAMES", "PhantomOptions", "case_name", "make_phantom", "write_phantom"]
