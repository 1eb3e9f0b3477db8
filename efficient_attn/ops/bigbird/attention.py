"""BigBird's attention: each block of queries sees its neighbours, both ends, and some random blocks; the ends see everything.

    block i sees blocks {0, i - 1, i, i + 1, n - 1} and R_i;   blocks 0 and n - 1 see all and are seen by all

This is the paper's internal construction: the global tokens are tokens of the text. Linear in the length: the neighbours and ends
are one block-sparse pattern for all heads; random blocks, which differ from head to head, are gathered; the two softmaxes are
merged by their log-sum-exp. Gradients recompute the scores.

Released code lists the blocks one behind the other, so that a random block that is seen anyhow, or twice among ``R_i``, counts for
each time that it is listed. Here a key counts once, and ``count_repeats`` restores the other.

Reference:
  Zaheer et al., "Big Bird: Transformers for Longer Sequences", 2020, section 2, appendix D and released code.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int32

from efficient_attn.kernels import attend, merge
from efficient_attn.kernels.arguments import hide
from efficient_attn.kernels.problem import pad_end
from efficient_attn.patterns.algebra import Pattern, PerHead
from efficient_attn.patterns.local import NearChunks
from efficient_attn.patterns.scattered import GivenBlocks, Global


def bigbird_pattern(length: int, block: int, random: Int32[np.ndarray, "N rows count"]) -> PerHead:
    """Who sees whom, as a pattern: what ``bigbird_attention`` computes where repeats count once.

    Args:
      length: tokens in the sequence.
      block: tokens in a block; the last may be shorter.
      random: random blocks of each head, as ``draw_blocks`` gives them.
    """
    heads = [((), *map(tuple, rows), ()) for rows in random.tolist()]
    return PerHead([_near(length, block) | GivenBlocks(block, lists, length) for lists in heads])


def _near(length: int, block: int) -> Pattern:
    """Neighbouring blocks, and the first and the last."""
    last = (length - 1) // block * block
    return NearChunks(block, 1, 1) | Global((*range(min(block, length)), *range(last, length)))


def bigbird_attention(
    query: Float[Any, "B T N H"],
    key: Float[Any, "B T K H"],
    value: Float[Any, "B T K Hv"],
    *,
    block: int,
    random: Int32[np.ndarray, "N rows count"],
    key_mask: Bool[Any, "B T"] | None = None,
    count_repeats: bool = False,
    scale: float | None = None,
    **options: Any,
) -> Float[Array, "B T N Hv"]:
    """Attention over neighbouring, first, last and random blocks.

    Args:
      query: queries.
      key: keys.
      value: values.
      block: tokens in a block; the last may be shorter.
      random: random blocks of each head and of each query block but the first and last: on the host, static.
      key_mask: False hides a token from every query; its own result is 0, and what it holds changes nothing.
      count_repeats: whether a key that is listed several times counts as often, as in released code.
      scale: factor of the products; default ``H ** -0.5``.
      options: ``query_spec`` and ``implementation`` of ``attend``. There is no dropout of weights, as in released code.

    Returns:
      The result of each token, in the format of ``value``.

    Raises:
      ValueError: if the table does not fit the heads and blocks.

    Cost: O(B N T block (5 + count) (H + Hv)) time; O(B N T block count) extra memory.
    """
    tokens, heads = query.shape[1], query.shape[2]
    blocks = -(-tokens // block)
    if random.shape[:2] != (heads, max(blocks - 2, 0)):
        raise ValueError(
            f"random must list blocks for {heads} heads and {max(blocks - 2, 0)} blocks of queries ({tokens} tokens, blocks of "
            f"{block}), got shape {random.shape}"
        )
    query, key, value = (jnp.asarray(x) for x in (query, key, value))
    scale = query.shape[-1] ** -0.5 if scale is None else scale
    parts = [
        attend(query, key, value, _near(tokens, block), key_mask=key_mask, scale=scale, return_lse=True, **options)
    ]
    if random.size:
        counted = np.ones(random.shape, bool) if count_repeats else _new(random, blocks)
        run = functools.partial(_of_random_blocks, block, random, counted, scale)
        parts.append(jax.checkpoint(run)(query, key, value, key_mask))
    output, _ = merge(parts)
    if key_mask is None:
        return output
    return jnp.where(jnp.asarray(key_mask)[:, :, None, None], output, jnp.zeros((), output.dtype))


def _new(random: np.ndarray, blocks: int) -> np.ndarray:
    """Which listed blocks are seen for the first time: bool of the table's shape."""
    row = np.arange(1, blocks - 1)[:, None]
    seen = (random == 0) | (random == blocks - 1) | (abs(random - row) <= 1)
    earlier = np.tril(np.ones((random.shape[2],) * 2, bool), -1)
    repeated = ((random[..., :, None] == random[..., None, :]) & earlier).any(-1)
    return ~(seen | repeated)


def _of_random_blocks(
    block: int,
    random: np.ndarray,
    counted: np.ndarray,
    scale: float,
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    key_mask: jax.Array | None,
) -> tuple[Float[Array, "B T N Hv"], Float[Array, "B T N"]]:
    """What queries take from the random blocks, and its log-sum-exp; 0 and -inf where they list none."""
    (batch, tokens, heads), missing = query.shape[:3], -query.shape[1] % block
    group = heads // key.shape[2]
    mask = jnp.ones((batch, tokens), bool) if key_mask is None else jnp.asarray(key_mask)
    mask = pad_end(mask, 1, missing).reshape(batch, -1, block)[:, random] & counted[..., None]
    mask = mask.reshape(batch, heads, random.shape[1], 1, -1)

    def gather(x: jax.Array) -> jax.Array:
        """The listed blocks: ``[B, N, rows, count * block, H]``."""
        parts = pad_end(hide(x, key_mask), 1, missing).reshape(batch, -1, block, *x.shape[2:])
        parts = jnp.moveaxis(parts, 3, 1)[:, np.arange(heads)[:, None, None] // group, random]
        return parts.reshape(batch, heads, random.shape[1], -1, x.shape[-1])

    own = pad_end(query, 1, missing).reshape(batch, -1, block, heads, query.shape[-1])[:, 1:-1]
    product = functools.partial(jnp.einsum, preferred_element_type=jnp.float32)
    scores = jnp.where(mask, product("brqnh,bnrsh->bnrqs", own, gather(key)) * scale, -jnp.inf)
    some = mask.any(-1, keepdims=True)
    lse = jax.nn.logsumexp(jnp.where(some, scores, 0.0), axis=-1, keepdims=True)
    weights = jnp.where(mask, jnp.exp(jnp.where(mask, scores, 0.0) - lse), 0.0)
    output = product("bnrqs,bnrsh->brqnh", weights.astype(value.dtype), gather(value)).astype(value.dtype)
    lse = jnp.moveaxis(jnp.where(some, lse, -jnp.inf)[..., 0], 1, 3)
    return _with_ends(output, block, tokens, 0.0), _with_ends(lse, block, tokens, -jnp.inf)


def _with_ends(x: jax.Array, block: int, tokens: int, fill: float) -> jax.Array:
    """``[B, rows, block, N, ...]`` as ``[B, T, N, ...]``, with ``fill`` for the first and last block."""
    widths = [(0, 0), (block, block)] + [(0, 0)] * (x.ndim - 3)
    return jnp.pad(x.reshape(x.shape[0], -1, *x.shape[3:]), widths, constant_values=fill)[:, :tokens]
