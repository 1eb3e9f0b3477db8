"""What a run needs of chips that are not there."""

from efficient_attn.planning.chips import CHIPS, GIB, Chip, topology
from efficient_attn.planning.planner import Plan, Planned, TooLarge, plan, remedies

__all__ = ["CHIPS", "GIB", "Chip", "Plan", "Planned", "TooLarge", "plan", "remedies", "topology"]
