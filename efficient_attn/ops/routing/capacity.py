"""How many tokens of a group an expert takes: the paper's rule and those of released code, which differ.

``paper``: ``ceil(f S / E)`` with f = 2, the load of even top-2 routing. ``lingvo``: ``int(f S / E)``, f = 2, 4 if that is
0, rounded up to a multiple of 4. ``switch`` (Mesh TensorFlow): ``max(4, min(S, int(f S / E)))``, f = 1.25. ``vmoe``:
``ceil(f k S / E)`` rounded up to a multiple of 4, f = 1.05: the only one whose factor does not contain the number of choices.
"""

import math
from typing import Literal, get_args

Rule = Literal["paper", "lingvo", "switch", "vmoe"]

_FACTORS = {"paper": 2.0, "lingvo": 2.0, "switch": 1.25, "vmoe": 1.05}


def capacity(rule: str, tokens: int, experts: int, choices: int, factor: float | None = None) -> int:
    """Places that an expert has for a group.

    Args:
      rule: whose formula, a ``Rule``.
      tokens: ``S``, tokens of a group.
      experts: ``E``.
      choices: ``k``, experts that a token asks for.
      factor: ``f``; None: that of the rule.

    Raises:
      ValueError: if the rule is none of these, or a number is not positive.
    """
    if rule not in get_args(Rule):
        raise ValueError(f"a capacity rule is one of {get_args(Rule)}, got {rule!r}")
    f = _FACTORS[rule] if factor is None else factor
    if min(tokens, experts, choices) < 1 or f <= 0:
        raise ValueError(
            "tokens, experts, choices and factor must be positive, got "
            f"tokens={tokens}, experts={experts}, choices={choices}, factor={f}"
        )
    if rule == "paper":
        return math.ceil(f * tokens / experts)
    if rule == "lingvo":
        return _fours(max(1, int(f * tokens / experts)))
    if rule == "switch":
        return max(4, min(tokens, int(f * tokens / experts)))
    return _fours(math.ceil(f * choices * tokens / experts))


def _fours(places: int) -> int:
    """The next multiple of 4."""
    return -(-places // 4) * 4
