"""How large the blocks of the TPU kernels are: the size whose live blocks cost least."""

import functools

from efficient_attn.patterns.algebra import Pattern
from efficient_attn.patterns.block_mask import build_block_mask

# Instruction bundles of one full block of each size, forward and both backward passes together, with the turn of the loop around
# it: read from what the compiler makes of them for v5e, head size 128, bfloat16. A step of 128 is mostly turn.
_BUNDLES = {128: 1265, 256: 2121, 512: 4985}


@functools.lru_cache(maxsize=256)
def block_size(pattern: Pattern, q_len: int, k_len: int) -> int:
    """Queries, and keys, of a block: by counting the live blocks of each size."""
    cost = {block: build_block_mask(pattern, q_len, k_len, block).active_blocks * _BUNDLES[block] for block in _BUNDLES}
    return min(cost, key=lambda block: (cost[block], block))
