"""LSH attention: tokens are sorted by a hash of their query, and attend within chunks of the sorted order.

    h(x) = argmax [x R; -x R],   s_ij = q_i . q_j / |q_j|  (keys are the queries' directions),   R drawn afresh for each layer
    per round: sort by h (stable), cut into chunks of m; each token sees its chunk, ``look_back`` before, ``look_ahead`` after
    o_i = sum_r w_r o_i^(r),   w = softmax of the rounds' log-sum-exps

The rounds lie one behind the other and the chunks form a ring, so the first chunk of a round looks back to the last of the
round before. A token attends to itself only if it sees nothing else: its own score is -1e5, hidden ones are -1e9. Time
O(rounds * T m) per head; extra memory O(rounds * T) plus the scores of one round, also in the backward pass, which keeps
the order of the tokens.

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

import dataclasses
import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from efficient_attn.kernels.arguments import hide
from efficient_attn.kernels.problem import pad_end
from efficient_attn.ops.lsh.hashing import Rotations, hash_vectors

# Far below any score, and apart: a token that sees only itself and hidden tokens takes itself.
SELF, HIDDEN = -1e5, -1e9


@dataclasses.dataclass(frozen=True)
class _Sight:
    """What a query sees: the static part of a call."""

    chunk: int
    look_back: int
    look_ahead: int
    causal: bool
    same_bucket: bool
    count_once: bool

    @property
    def width(self) -> int:
        """Chunks that a query sees."""
        return self.look_back + 1 + self.look_ahead


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
    buckets = hash_vectors(jax.lax.stop_gradient(query_key), rotations) if buckets is None else buckets
    # Above every bucket of the rotations, whether or not they were hashed with these.
    buckets = jnp.where(mask[:, :, None, None], buckets, jnp.iinfo(jnp.int32).max)
    missing = -tokens % chunk
    query_key, value, mask = (pad_end(x, 1, missing) for x in (query_key, value, mask))
    buckets = jnp.pad(buckets, ((0, 0), (0, missing), (0, 0), (0, 0)), constant_values=jnp.iinfo(jnp.int32).max)
    sight = _Sight(chunk, look_back, look_ahead, causal, same_bucket, count_once)
    return _attend_all(sight, query_key, value, mask, buckets)[:, :tokens]


@functools.partial(jax.jit, static_argnums=0)
def _attend_all(
    sight: _Sight, query_key: jax.Array, value: jax.Array, mask: jax.Array, buckets: jax.Array
) -> jax.Array:
    heads = jax.vmap(functools.partial(_attend_head, sight), in_axes=(1, 1, None, 1), out_axes=1)
    return jax.vmap(heads)(query_key, value, mask, buckets)


def _attend_head(sight: _Sight, query: jax.Array, value: jax.Array, mask: jax.Array, buckets: jax.Array) -> jax.Array:
    """One head of one batch row: ``[T, H]``, ``[T, Hv]``, ``[T]`` and ``[T, rounds]`` to ``[T, Hv]``."""
    order = jnp.argsort(buckets, axis=0, stable=True).T
    slots = jnp.arange(order.shape[1], dtype=order.dtype)
    place = jax.vmap(lambda o: jnp.zeros_like(o).at[o].set(slots, unique_indices=True))(order)
    rings = {name: _ring(sight, x) for name, x in _notes(sight, order, place, mask, buckets).items()}
    features = {"query": query, "key": directions(query), "value": value}

    # One round at a time: the backward pass sorts and scores it again.
    @jax.checkpoint
    def one_round(_: None, index: jax.Array) -> tuple[None, tuple[jax.Array, jax.Array]]:
        return None, _attend_round(sight, features, rings, order[index], place[index], index)

    outputs, lses = jax.lax.scan(one_round, None, jnp.arange(order.shape[0]))[1]
    weights = jax.nn.softmax(lses, axis=0)
    return jnp.einsum("rt,rth->th", weights, outputs.astype(jnp.float32)).astype(value.dtype)


def _notes(
    sight: _Sight, order: jax.Array, place: jax.Array, mask: jax.Array, buckets: jax.Array
) -> dict[str, jax.Array]:
    """What visibility depends on, of each token in the sorted order of each round: ``[rounds, T, ...]``."""
    rounds, tokens = order.shape
    notes = {"position": order, "visible": mask[order]}
    numbers = jnp.arange(rounds)[:, None]
    if sight.same_bucket:
        sorted_buckets = jnp.take_along_axis(jnp.where(mask[:, None], buckets, -1).T, order, 1)
        # Numbered apart in each round: a chunk seen across the end of a round has none in common.
        notes["bucket"] = sorted_buckets * rounds + numbers
    if sight.count_once:
        notes["chunks"] = (place // sight.chunk + tokens // sight.chunk * numbers).T[order]
    return notes


def _attend_round(
    sight: _Sight,
    features: dict[str, jax.Array],
    rings: dict[str, jax.Array],
    order: jax.Array,
    place: jax.Array,
    index: jax.Array,
) -> tuple[jax.Array, jax.Array]:
    """Output and log-sum-exp of one round, in the order of the tokens."""
    count, back = order.shape[0] // sight.chunk, sight.look_back
    near = {name: jax.lax.dynamic_slice_in_dim(x, index * count, count + sight.width - 1) for name, x in rings.items()}
    own = {name: x[back : back + count] for name, x in near.items()}
    middle = {name: _permute(x, order, place).reshape(count, sight.chunk, -1) for name, x in features.items()}
    before, after = near["position"][:back], near["position"][back + count :]
    for name in ("key", "value"):
        near[name] = jnp.concatenate([features[name][before], middle[name], features[name][after]])
    # What each chunk sees, from the round's chunks and those at its sides: [chunks, width * m, ...].
    seen = {name: jnp.concatenate([x[w : w + count] for w in range(sight.width)], axis=1) for name, x in near.items()}
    output, lse = _attend_chunks(
        sight, own | {"query": middle["query"]}, seen, rings["position"].shape[0] - sight.width + 1
    )
    return _permute(output, place, order), _permute(lse, place, order)


def directions(x: jax.Array) -> jax.Array:
    """Keys: each vector over its root mean square, then over the root of its size."""
    wide = x.astype(jnp.float32)
    size = jax.lax.rsqrt(jnp.mean(wide * wide, axis=-1, keepdims=True) + 1e-6)
    return (wide * size * x.shape[-1] ** -0.5).astype(x.dtype)


def _ring(sight: _Sight, x: jax.Array) -> jax.Array:
    """``[rounds, T, ...]`` as chunks one behind the other, with those before the first and after the last repeated."""
    chunks = x.reshape(-1, sight.chunk, *x.shape[2:])
    count = chunks.shape[0]
    return chunks[jnp.arange(-sight.look_back, count + sight.look_ahead) % count]


def _attend_chunks(
    sight: _Sight, own: dict[str, jax.Array], seen: dict[str, jax.Array], chunks: int
) -> tuple[jax.Array, jax.Array]:
    """Output ``[T, Hv]`` and log-sum-exp ``[T]`` of one round, in sorted order."""
    scores = jnp.einsum("cqh,ckh->cqk", own["query"], seen["key"], preferred_element_type=jnp.float32)
    i, j = own["position"][:, :, None], seen["position"][:, None, :]
    visible = seen["visible"][:, None, :]
    if sight.causal:
        visible &= j <= i
    if sight.same_bucket:
        visible &= own["bucket"][:, :, None] == seen["bucket"][:, None, :]
    if sight.count_once:
        scores -= jnp.log(_times_seen(sight, own["chunks"], seen["chunks"], chunks))
    scores = jnp.where(i == j, SELF, jnp.where(visible, scores, HIDDEN))
    # Not exp(score - lse): near -1e5 the log-sum-exp is rounded to 1 / 128, which only the rounds' shares can bear.
    peak = jax.lax.stop_gradient(scores.max(-1, keepdims=True))
    weights = jnp.exp(scores - peak)
    total = weights.sum(-1)
    output = jnp.einsum(
        "cqk,ckh->cqh", weights.astype(seen["value"].dtype), seen["value"], preferred_element_type=jnp.float32
    )
    output = (output / total[..., None]).astype(seen["value"].dtype)
    return output.reshape(-1, output.shape[-1]), (peak[..., 0] + jnp.log(total)).reshape(-1)


def _times_seen(sight: _Sight, own: jax.Array, seen: jax.Array, chunks: int) -> jax.Array:
    """How often each pair meets over all rounds, at least 1: ``[chunks, m, width * m]``."""
    count = 0
    for mine in range(own.shape[-1]):
        for theirs in range(seen.shape[-1]):
            apart = (own[:, :, None, mine] - seen[:, None, :, theirs]) % chunks
            for offset in range(-sight.look_ahead, sight.look_back + 1):
                count += (apart == offset % chunks).astype(jnp.float32)
    return jnp.maximum(count, 1)


@jax.custom_vjp
def _permute(x: jax.Array, order: jax.Array, place: jax.Array) -> jax.Array:
    """``x[order]``; its gradient is gathered by the inverse ``place`` where JAX would scatter."""
    return x[order]


def _permute_forward(x: jax.Array, order: jax.Array, place: jax.Array) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return x[order], (order, place)


def _permute_backward(kept: tuple[jax.Array, jax.Array], g: jax.Array) -> tuple[jax.Array, None, None]:
    order, place = kept
    return _permute(g, place, order), None, None


_permute.defvjp(_permute_forward, _permute_backward)
