"""How large the blocks of the TPU kernels are: the size whose live blocks cost least."""

import functools

from efficient_attn.patterns.algebra import Pattern
from efficient_attn.patterns.block_mask import build_block_mask

# Cycles of one block, forward, on v5e.
_CYCLES = {128: 400, 256: 700, 512: 1600}


@functools.lru_cache(maxsize=256)
def block_size(pattern: Pattern, q_len: int, k_len: int) -> int:
    """Queries, and keys, of a block: by counting the live blocks of each size."""
    cost = {block: build_block_mask(pattern, q_len, k_len, block).active_blocks * _CYCLES[block] for block in _CYCLES}
    return min(cost, key=lambda block: (cost[block], block))
