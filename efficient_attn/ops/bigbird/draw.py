"""Which random blocks BigBird's query blocks see: the two ways in which released code draws them, from the same stream.

Both give int32 ``[heads, blocks - 2, count]``: a row for each query block but the first and the last, which see everything. The
stream is numpy's old one, whose numbers are fixed for good, so that a seed gives the blocks that a released model was trained on.

Reference:
  Zaheer et al., "Big Bird: Transformers for Longer Sequences", 2020, appendix D and released code.
"""

import functools

import numpy as np

# Tokens at the start, among which the models of the paper draw: chosen by the authors because it worked better.
_EARLY = 1024


@functools.lru_cache(maxsize=64)
def draw_blocks(blocks: int, heads: int, count: int, seed: int) -> np.ndarray:
    """Random blocks among the first ``2 * count + 5``, those that a row sees anyhow left out.

    Args:
      blocks: blocks of the sequence, more than ``2 * count + 5``.
      heads: heads, each of which has its own.
      count: random blocks of each query block.
      seed: of the draw; released code has the number of the layer.

    Raises:
      ValueError: if the sequence is too short to draw for: it is attended to densely.
    """
    among = 2 * count + 5
    if blocks <= among:
        raise ValueError(f"{count} random blocks are drawn for sequences of more than {among} blocks, got {blocks}")
    stream = np.random.RandomState(seed)
    table = np.zeros((heads, blocks - 2, count), np.int32)
    for row in range(1, blocks - 1):
        taken = {row - 1, row, row + 1, 0, among - 1}
        # Second rows at either end keep away from each other's column.
        taken |= ({among - 2} if row == 1 else set()) | ({1} if row == among - 2 else set())
        for head in range(heads):
            order = stream.permutation(np.arange(among, dtype=np.int32))
            table[head, row - 1] = [block for block in order if block not in taken][:count]
    return table


@functools.lru_cache(maxsize=64)
def draw_early_blocks(
    blocks: int, heads: int, count: int, seed: int, *, block: int = 64, longest: int = 4096
) -> np.ndarray:
    """Random blocks among those of the first 1,024 tokens, as in the models of the paper.

    Drawn for the longest sequence and cut. As in released code the last two rows may draw blocks that they see anyhow, and in
    a sequence of 1,024 tokens every row may draw the last block.

    Args:
      blocks: blocks of the sequence.
      heads: heads, each of which has its own.
      count: random blocks of each query block.
      seed: of the draw; released code has the number of the layer.
      block: tokens in a block.
      longest: tokens in the longest sequence of the model.

    Raises:
      ValueError: if the sequence is longer than ``longest``.
    """
    total = longest // block
    if blocks > total:
        raise ValueError(f"blocks are drawn for {longest} tokens, {total} blocks, but the sequence has {blocks}")
    stream = np.random.RandomState(seed)
    last = _EARLY // block - 1 if 2 * block < _EARLY else total - 1
    table = np.zeros((heads, total - 2, count), np.int32)
    for head in range(heads):
        for row in range(1, total - 1):
            table[head, row - 1] = stream.permutation(_candidates(row, total, last))[:count]
    return table[:, : blocks - 2]


def _candidates(row: int, total: int, last: int) -> np.ndarray:
    """The key blocks that a row may draw."""
    inner = np.arange(1, total - 1, dtype=np.int32)
    if row <= 2:
        return inner[row + 1 : last]
    if row >= total - 3:
        return inner[:last]
    if row - 2 > last:
        return inner[:last]
    if row + 1 == last:
        return inner[: row - 2]
    return np.concatenate((inner[: row - 2], inner[row + 1 : last]))
