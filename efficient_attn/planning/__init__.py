"""What a run needs of chips that are not there."""

from efficient_attn.planning.chips import CHIPS, GIB, Chip, topology
from efficient_attn.planning.planner import Plan, TooLarge, plan, remedies
from efficient_attn.planning.programs import Planned, Step

__all__ = ["CHIPS", "GIB", "Chip", "Plan", "Planned", "Step", "TooLarge", "plan", "remedies", "topology"]
