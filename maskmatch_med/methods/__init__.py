"""The learning methods, from tensors to losses: no files, no study."""

from maskmatch_med.methods.certainty import certain_mse, entropy, entropy_limit
from maskmatch_med.methods.consistency import confident_cross_entropy
from maskmatch_med.methods.copy_paste import pasted_dice_cross_entropy
from maskmatch_med.methods.entropy_weighting import entropy_weighted_mse
from maskmatch_med.methods.mean_teacher import probability_mse
from maskmatch_med.methods.objective import Batch, Objective, StepLosses
from maskmatch_med.methods.pseudo_labels import PseudoLabels, average_scales
from maskmatch_med.methods.recipes import RECIPES, Recipe, parse_recipe
from maskmatch_med.methods.reliability import ScaleReliability
from maskmatch_med.methods.schedule import sigmoid_ramp, warm_restart, warm_up_cosine
from maskmatch_med.methods.supervised import UNJUDGED, dice_cross_entropy
from maskmatch_med.methods.teacher import EMATeacher

__all__ = [
    "RECIPES",
    "UNJUDGED",
    "Batch",
    "EMATeacher",
    "Objective",
    "PseudoLabels",
    "Recipe",
    "ScaleReliability",
    "StepLosses",
    "average_scales",
    "certain_mse",
    "confident_cross_entropy",
    "dice_cross_entropy",
    "entropy",
    "entropy_limit",
    "entropy_weighted_mse",
    "parse_recipe",
    "pasted_dice_cross_entropy",
    "probability_mse",
    "sigmoid_ramp",
    "warm_restart",
    "warm_up_cosine",
]
