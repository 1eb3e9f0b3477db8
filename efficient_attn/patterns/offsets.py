"""Which patterns depend on the distance of two tokens alone, so that texts may lie anywhere in a row."""

from efficient_attn.patterns.algebra import And, Full, Not, OffsetStrip, Or, Pattern, PerHead
from efficient_attn.patterns.factorized import Strided
from efficient_attn.patterns.local import Dilated


def by_offset(pattern: Pattern) -> bool:
    """Whether moving query and key together is known to change nothing; False of a pattern that is not known."""
    match pattern:
        case And() | Or():
            return all(map(by_offset, pattern.parts))
        case Not():
            return by_offset(pattern.part)
        case PerHead():
            return all(map(by_offset, pattern.patterns))
    return isinstance(pattern, Full | OffsetStrip | Dilated | Strided)
