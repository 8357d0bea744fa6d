"""Which scan to label next, and what of a segmentation needs eyes: pure functions over numbers and small arrays."""

from maskmatch_med.ranking.doubts import Doubt, LabelNorm, Observed, doubts_of, total
from maskmatch_med.ranking.features import scan_features, uncertainty_near
from maskmatch_med.ranking.shapes import StructureShape, agreement, structure_shapes
from maskmatch_med.ranking.strategies import STRATEGIES, Candidate, Ranked, Strategy, rank

__all__ = [
    "STRATEGIES",
    "Candidate",
    "Doubt",
    "LabelNorm",
    "Observed",
    "Ranked",
    "Strategy",
    "StructureShape",
    "agreement",
    "doubts_of",
    "rank",
    "scan_features",
    "structure_shapes",
    "total",
    "uncertainty_near",
]
