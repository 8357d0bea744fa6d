"""From the fingerprint of a study to its plan."""

from maskmatch_med.planning.edit import describe, override
from maskmatch_med.planning.fingerprint import Fingerprint, fingerprint
from maskmatch_med.planning.heuristics import make_plan
from maskmatch_med.planning.plan import ChannelNormalisation, NetworkPlan, Plan

__all__ = [
    "ChannelNormalisation",
    "Fingerprint",
    "NetworkPlan",
    "Plan",
    "describe",
    "fingerprint",
    "make_plan",
    "override",
]
