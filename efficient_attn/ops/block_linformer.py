"""Linformer's relative in causal order: the tokens of a block exactly, and a few slots of every block before it.

    o_t = softmax over {s <= t in the block of t} of q_t . k_s  and  {slots p of the blocks b before it} of q_t . (E K_b)_p,
          of v_s and (F V_b)_p,   E, F: k x C,   b a block of C tokens

A slot mixes the tokens of one block and is seen from later blocks only, so that no token reaches one before it. That is another
mechanism than Linformer, not a mask over it: there each slot mixes all tokens, and no mask hides the future. One softmax runs over
both kinds of keys, merged by log-sum-exp. All blocks share the projections, so that texts may have any length.

Time grows as n (C + n k / C): with blocks of sqrt(k n) tokens as the power 1.5 of the length, and no less. Memory is linear.

References:
  Wang et al., "Linformer: Self-Attention with Linear Complexity", 2020, equation 7: the projections.
  Zhu et al., "Long-Short Transformer: Efficient Transformers for Language and Vision", 2021, section 3: segments compressed one by
  one for a causal order, beside a window. There what compresses is computed from the tokens; here it is learned, as in Linformer,
  and the window is the block.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from efficient_attn.kernels import attend, merge
from efficient_attn.ops.linformer import Projection, compress, slot_mask
from efficient_attn.patterns.algebra import Pattern
from efficient_attn.patterns.block_mask import best_block
from efficient_attn.patterns.box import Box, Flags, Positions
from efficient_attn.patterns.local import Causal, Chunk


@dataclasses.dataclass(frozen=True)
class EarlierBlocks(Pattern):
    """Query ``i`` sees slot ``j`` of a block before its own: ``j // slots < i // block``.

    Args:
      block: tokens in a block.
      slots: slots that each block has.
    """

    block: int
    slots: int

    def allows(self, i: Positions, j: Positions) -> Flags:
        return j // self.slots < i // self.block

    def bounds(self, box: Box) -> tuple[Flags, Flags]:
        (first, last), (lowest, highest) = box.queries(), box.keys()
        may = lowest // self.slots < last // self.block
        return may & box.occupied(), (highest // self.slots < first // self.block) & box.occupied()


def block_linformer_attention(
    query: Float[Array, "B T N H"],
    key: Float[Array, "B T K H"],
    value: Float[Array, "B T K Hv"],
    key_projection: Projection,
    value_projection: Projection,
    *,
    key_mask: Bool[Array, "B T"] | None = None,
    **options: Any,
) -> Float[Array, "B T N Hv"]:
    """Causal attention over the own block, and over the slots of every block before it.

    Args:
      query: queries; ``N`` is a multiple of ``K``.
      key: keys.
      value: values.
      key_projection: ``E``, for all heads ``[k, C]`` or per key head ``[K, k, C]``. ``C`` is the length of a block; the last block
        of a text may be shorter.
      value_projection: ``F``, of as many slots and as long a block; the same array for the key-value sharing of Linformer.
      key_mask: False hides a token, whatever it holds; slots of which all tokens are hidden are seen by none.
      options: ``scale``, ``query_spec`` and ``implementation`` of ``attend``.

    Returns:
      The result of each query; 0 for one that sees no key.

    Raises:
      ValueError: if the projections differ in slots or in the length of a block, or are not for ``K`` heads.

    Cost: O(B N T (C + T k / C) H) time, O(B (T + T k / C) (N + K) H) extra memory.
    """
    slots, block = key_projection.shape[-2:]
    if value_projection.shape[-2:] != (slots, block):
        raise ValueError(
            "key_projection and value_projection must have the same slots and the same tokens in a block, got "
            f"{(slots, block)} and {value_projection.shape[-2:]}"
        )
    within = Causal() & Chunk(block)
    near = attend(query, key, value, within, key_mask=key_mask, return_lse=True, **options)
    # The slots of the last block are seen by none.
    blocks = (query.shape[1] - 1) // block
    if not blocks:
        return near[0]
    seen = None if key_mask is None else key_mask[:, : blocks * block]
    short_key, short_value = (
        compress_blocks(x[:, : blocks * block], projection, seen)
        for x, projection in ((key, key_projection), (value, value_projection))
    )
    earlier, lengths = EarlierBlocks(block, slots), (query.shape[1], blocks * slots)
    mask = earlier.block_mask(*lengths, block=best_block(earlier, *lengths))
    live = None if seen is None else jnp.repeat(slot_mask(seen, block), slots, axis=1)
    far = attend(query, short_key, short_value, mask, key_mask=live, return_lse=True, **options)
    return merge([near, far])[0]


def compress_blocks(
    x: Float[Array, "B T K H"], projection: Projection, key_mask: Bool[Array, "B T"] | None = None
) -> Float[Array, "B slots K H"]:
    """Projects the tokens of each block to ``k`` slots, those of the first block before those of the next.

    Args:
      x: keys or values of whole blocks.
      projection: ``[k, C]`` for all heads or ``[K, k, C]``.
      key_mask: False keeps a token out of every slot, whatever it holds.

    Raises:
      ValueError: if the projection is not for ``K`` heads.

    Cost: O(B T K k H) time.
    """
    split = lambda a: None if a is None else a.reshape(a.shape[0], -1, projection.shape[-1], *a.shape[2:])  # noqa: E731
    short = jax.vmap(compress, in_axes=(1, None, 1), out_axes=1)(split(x), projection, split(key_mask))
    return short.reshape(x.shape[0], -1, *x.shape[2:])
