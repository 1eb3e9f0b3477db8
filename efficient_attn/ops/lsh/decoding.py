"""One token of LSH attention over a cache: what ``lsh_attention`` gives the last of the tokens so far.

The cached tokens are sorted again by the buckets that they were hashed to, so nothing but queries, values and buckets is kept.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from efficient_attn.ops.lsh.rounds import SELF, directions


def attend_last(
    query_key: Float[Array, "B S K H"],
    value: Float[Array, "B S K Hv"],
    buckets: Int[Array, "B S K rounds"],
    position: Int[Array, ""],
    *,
    chunk: int,
    look_back: int = 1,
    look_ahead: int = 0,
) -> Float[Array, "B 1 K Hv"]:
    """The row of token ``position`` of causal LSH attention among the tokens up to it.

    Args:
      query_key: queries of the tokens by position; those after ``position`` are not read.
      value: values, likewise.
      buckets: from ``hash_vectors``, likewise.
      position: the last token.
      chunk: tokens per chunk.
      look_back: chunks seen before the own one.
      look_ahead: chunks seen after it.

    Cost: O(B K S (H + rounds^2 + rounds log S)) time, O(B K S rounds^2) memory.
    """

    def head(query_key, value, buckets):
        times = _times_seen(buckets, position, chunk, look_back, look_ahead)
        here = jnp.arange(query_key.shape[0]) == position
        scores = directions(query_key).astype(jnp.float32) @ query_key[position].astype(jnp.float32)
        scores = jnp.where(here, SELF, scores)[:, None] + jnp.log(times)
        weights = jax.nn.softmax(scores, axis=0) * jax.nn.softmax(jax.nn.logsumexp(scores, axis=0))
        return (weights.sum(1) @ value.astype(jnp.float32)).astype(value.dtype)[None]

    return jax.vmap(jax.vmap(head, in_axes=1, out_axes=1))(query_key, value, buckets)


def _times_seen(
    buckets: Int[Array, "S rounds"], position: jax.Array, chunk: int, look_back: int, look_ahead: int
) -> Float[Array, "S rounds"]:
    """How often each token lies in what the last one sees in each round; 0 for tokens that are not there yet."""
    tokens, rounds = buckets.shape
    there = (jnp.arange(tokens) <= position)[:, None]
    # Those to come sort behind all others, as the hidden tokens that fill the last chunk do in the parallel form.
    order = jnp.argsort(jnp.where(there, buckets, jnp.iinfo(jnp.int32).max), axis=0, stable=True)
    place = jnp.argsort(order, axis=0)
    per_round = position // chunk + 1
    chunks = place // chunk + per_round * jnp.arange(rounds)
    apart = (chunks[position][None, :, None] - chunks[:, None, :]) % (per_round * rounds)
    seen = sum((apart == offset % (per_round * rounds)) for offset in range(-look_ahead, look_back + 1))
    return jnp.where(there, seen.sum(-1), 0).astype(jnp.float32)
