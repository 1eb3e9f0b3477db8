"""LSH attention: tokens are sorted by a hash of their query, and attend within chunks of the sorted order.

    h(x) = argmax [x R; -x R],   s_ij = q_i . q_j / |q_j|  (keys are the queries' directions),   R drawn afresh for each layer
    per round: sort by h (stable), cut into chunks of m; each token sees its chunk, ``look_back`` before, ``look_ahead`` after
    o_i = sum_r w_r o_i^(r),   w = softmax of the rounds' log-sum-exps

The rounds lie one behind the other and the chunks form a ring, so the first chunk of a round looks back to the last of the
round before. A token attends to itself only if it sees nothing else: its own score is -1e5, hidden ones are -1e9. Time
O(rounds * T m) per head; extra memory O(rounds * T) plus the scores of one round, also in the backward pass, which makes them
again. On a CPU these are the scores of one head, elsewhere of all.

Which tokens share a chunk depends on all tokens, so the result is causal in the values only: a later token's query can change
which earlier tokens an earlier token sees. What it reads is always earlier. Decoding token by token equals the last row
of the parallel form over the tokens so far, not that of a longer text.

Where we differ from released code: lengths that are not a multiple of the chunk are filled up with hidden tokens; what a
hidden token holds changes nothing. Keys are scaled as in trax and Hugging Face (root mean square with 1e-6, then H^-0.5),
and the own score replaces a mask's, as in Hugging Face.

References:
  Kitaev, Kaiser and Levskaya, "Reformer: The Efficient Transformer", 2020, section 2 and appendix A.
  Andoni et al., "Practical and Optimal LSH for Angular Distance", 2015 (the hash).
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from efficient_attn.kernels.arguments import hide
from efficient_attn.kernels.problem import pad_end
from efficient_attn.ops.lsh.hashing import Rotations, count_buckets, hash_vectors
from efficient_attn.ops.lsh.rounds import Kept, Sight, attend_head, head_gradients


def lsh_attention(
    query_key: Float[Array, "B T K H"],
    value: Float[Array, "B T K Hv"],
    *,
    rotations: Rotations | None,
    chunk: int,
    look_back: int = 1,
    look_ahead: int = 0,
    causal: bool,
    key_mask: Bool[Array, "B T"] | None = None,
    same_bucket: bool = False,
    count_once: bool = False,
    buckets: Int[Array, "B T K rounds"] | None = None,
    bucket_count: int | None = None,
) -> Float[Array, "B T K Hv"]:
    """Attention among tokens whose queries fall into the same or neighbouring buckets.

    Args:
      query_key: queries, whose directions are the keys.
      value: values.
      rotations: as for ``hash_vectors``; their third axis is the number of rounds; None where ``buckets`` are given.
      chunk: tokens per chunk ``m``; the paper has ``2 T / buckets``.
      look_back: chunks seen before the own one.
      look_ahead: chunks seen after it.
      causal: whether later tokens are hidden.
      key_mask: False hides a token from all others; hidden tokens have a bucket of their own, the last.
      same_bucket: also hide tokens of other buckets (equations 4 to 6 of the paper; its code does not).
      count_once: weigh a token seen in several rounds as one (appendix A; the released code does not). Costs
        O(rounds^2) comparisons per score.
      buckets: of each token, from an earlier call to ``hash_vectors``, instead of hashing again.
      bucket_count: a number that all of them are below; None: not known, and sorting takes longer.

    Returns:
      The result of each token; 0 in batch rows whose tokens are all hidden.

    Raises:
      ValueError: if ``chunk`` is below 1, a ``look`` below 0, the rotations do not fit, or there are neither they nor
        buckets.

    Cost: O(B K rounds T m (look_back + 1 + look_ahead) H) time; memory as in the module's text.
    """
    if chunk < 1 or look_back < 0 or look_ahead < 0:
        raise ValueError(
            f"chunk must be at least 1 and looks at least 0, got chunk {chunk}, look_back {look_back}, look_ahead {look_ahead}"
        )
    if rotations is None and buckets is None:
        raise ValueError("LSH attention needs rotations or buckets, got neither")
    tokens = query_key.shape[1]
    mask = jnp.ones(query_key.shape[:2], bool) if key_mask is None else key_mask
    query_key, value = (hide(x, key_mask) for x in (query_key, value))
    if buckets is None:
        buckets, bucket_count = hash_vectors(jax.lax.stop_gradient(query_key), rotations), count_buckets(rotations)
    # Hidden tokens come after all others.
    last = jnp.iinfo(jnp.int32).max if bucket_count is None else bucket_count
    buckets = jnp.where(mask[:, :, None, None], buckets, last)
    missing = -tokens % chunk
    query_key, value, mask = (pad_end(x, 1, missing) for x in (query_key, value, mask))
    buckets = jnp.pad(buckets, ((0, 0), (0, missing), (0, 0), (0, 0)), constant_values=last)
    known = None if bucket_count is None else bucket_count + 1
    sight = Sight(chunk, look_back, look_ahead, causal, same_bucket, count_once, known)
    return _attend_all(sight, query_key, value, mask, buckets)[:, :tokens]


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _attend_all(sight: Sight, query_key: jax.Array, value: jax.Array, mask: jax.Array, buckets: jax.Array) -> jax.Array:
    return _forward(sight, query_key, value, mask, buckets)[0]


@functools.partial(jax.jit, static_argnums=0)
def _forward(
    sight: Sight, query_key: jax.Array, value: jax.Array, mask: jax.Array, buckets: jax.Array
) -> tuple[jax.Array, tuple[jax.Array | Kept, ...]]:
    given = _by_head(query_key), _by_head(value), _for_heads(mask, query_key.shape[2]), _by_head(buckets)
    mixed, kept = _each(functools.partial(attend_head, sight), *given)
    return _by_token(mixed, query_key.shape), (query_key, value, mask, buckets, kept, mixed)


@functools.partial(jax.jit, static_argnums=0)
def _backward(sight: Sight, kept: tuple[jax.Array | Kept, ...], gradient: jax.Array):
    query_key, value, mask, buckets, rounds, mixed = kept
    given = _by_head(query_key), _by_head(value), _for_heads(mask, query_key.shape[2]), _by_head(buckets)
    gradients = _each(functools.partial(head_gradients, sight), *given, rounds, mixed, _by_head(gradient))
    return *(_by_token(x, query_key.shape) for x in gradients), None, None


_attend_all.defvjp(_forward, _backward)


def _each(function: Callable[..., Any], *arrays: Any) -> Any:
    """``function`` of each head.

    On a CPU of one at a time, whose scores then stay in its cache; elsewhere of all at once, as suits a matrix unit.
    """
    one_by_one = lambda *given: jax.lax.map(lambda x: function(*x), given)  # noqa: E731
    return jax.lax.platform_dependent(*arrays, cpu=one_by_one, default=jax.vmap(function))


def _by_head(x: jax.Array) -> jax.Array:
    """``[B, T, K, ...]`` as ``[B K, T, ...]``."""
    x = jnp.swapaxes(x, 1, 2)
    return x.reshape(-1, *x.shape[2:])


def _for_heads(mask: Bool[Array, "B T"], heads: int) -> Bool[Array, "BK T"]:
    return jnp.repeat(mask, heads, axis=0)


def _by_token(x: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """``[B K, T, ...]`` as ``[B, T, K, ...]``, which begins with ``shape``."""
    batch, tokens, heads = shape[:3]
    return jnp.swapaxes(x.reshape(batch, heads, tokens, *x.shape[2:]), 1, 2)
