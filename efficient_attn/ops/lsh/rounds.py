"""One head of LSH attention: its tokens sorted in each round, attended to chunk by chunk, and the rounds weighed; and gradients.

The backward pass keeps of each round the order of the tokens and, of each token, its greatest score and the factor that makes
weights of ``exp(score - greatest)``. With these the weights of all rounds together are one softmax, so its products are five, the
scores again among them.
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

# Far below any score, and apart: a token that sees only itself and hidden tokens takes itself.
SELF, HIDDEN = -1e5, -1e9


@dataclasses.dataclass(frozen=True)
class Sight:
    """What a query sees: the static part of a call."""

    chunk: int
    look_back: int
    look_ahead: int
    causal: bool
    same_bucket: bool
    count_once: bool
    buckets: int | None
    """How many there are, with that of hidden tokens; None: not known."""

    @property
    def width(self) -> int:
        """Chunks that a query sees."""
        return self.look_back + 1 + self.look_ahead


class Kept(NamedTuple):
    """What the backward pass needs of the rounds of a head."""

    order: Int[Array, "R T"]
    """The tokens as sorted."""
    place: Int[Array, "R T"]
    """Where each token is then."""
    peak: Float[Array, "R T"]
    """The greatest score of each token as sorted."""
    scale: Float[Array, "R T"]
    """What makes weights of ``exp(score - peak)``, those of all rounds together."""


class _Round(NamedTuple):
    """Where the chunks of one round and those at its sides lie."""

    order: Int[Array, " T"]
    place: Int[Array, " T"]
    notes: dict[str, Array]
    """What visibility depends on, by chunk: ``[chunks + width - 1, m, ...]``."""


def attend_head(
    sight: Sight,
    query: Float[Array, "T H"],
    value: Float[Array, "T Hv"],
    mask: Bool[Array, " T"],
    buckets: Int[Array, "T R"],
) -> tuple[Float[Array, "T Hv"], Kept]:
    """The result of each token, and what the backward pass needs."""
    order = _sorted(sight, buckets.T)
    slots = jnp.arange(order.shape[1], dtype=order.dtype)
    place = jax.vmap(lambda o: jnp.zeros_like(o).at[o].set(slots, unique_indices=True))(order)
    key, rings = directions(query), _rings(sight, order, place, mask, buckets)

    def visit(_: None, index: jax.Array) -> tuple[None, tuple[jax.Array, ...]]:
        near = _round(sight, rings, order, place, index)
        scores, _ = _scores(sight, near, query[near.order], _seen(sight, near, key), order.size // sight.chunk)
        # Not exp(score - lse): near -1e5 the log-sum-exp is rounded to 1 / 128, which only the rounds' shares can bear.
        peak = scores.max(-1)
        weights = jnp.exp(scores - peak[..., None])
        total = weights.sum(-1)
        output = jnp.einsum(
            "cqk,ckh->cqh",
            weights.astype(value.dtype),
            _seen(sight, near, value),
            preferred_element_type=jnp.float32,
        )
        output = (output / total[..., None]).astype(value.dtype).reshape(value.shape)[near.place]
        lse = (peak + jnp.log(total)).reshape(-1)
        return None, (output, lse[near.place], peak.reshape(-1), total.reshape(-1))

    outputs, lses, peak, total = jax.lax.scan(visit, None, jnp.arange(order.shape[0]))[1]
    shares = jax.nn.softmax(lses, axis=0)
    mixed = jnp.einsum("rt,rth->th", shares, outputs.astype(jnp.float32)).astype(value.dtype)
    return mixed, Kept(order, place, peak, jnp.take_along_axis(shares, order, axis=1) / total)


def head_gradients(
    sight: Sight,
    query: Float[Array, "T H"],
    value: Float[Array, "T Hv"],
    mask: Bool[Array, " T"],
    buckets: Int[Array, "T R"],
    kept: Kept,
    mixed: Float[Array, "T Hv"],
    gradient: Float[Array, "T Hv"],
) -> tuple[Float[Array, "T H"], Float[Array, "T Hv"]]:
    """The gradients by queries and values, given that by the result."""
    key, to_query = jax.vjp(directions, query)
    rings = _rings(sight, kept.order, kept.place, mask, buckets)
    along = jnp.sum(gradient.astype(jnp.float32) * mixed.astype(jnp.float32), axis=-1)

    def visit(sums: tuple[jax.Array, ...], index: jax.Array) -> tuple[tuple[jax.Array, ...], None]:
        near = _round(sight, rings, kept.order, kept.place, index)
        own_query, own_gradient = query[near.order], gradient[near.order]
        seen_key, seen_value = (_seen(sight, near, x) for x in (key, value))
        scores, learned = _scores(sight, near, own_query, seen_key, kept.order.size // sight.chunk)
        chunked = lambda x: x.reshape(scores.shape[0], sight.chunk, *x.shape[1:])  # noqa: E731
        peak, scale = chunked(kept.peak[index]), chunked(kept.scale[index])
        weights = jnp.exp(scores - peak[..., None]) * scale[..., None]
        own_gradient, own_query, own_along = map(chunked, (own_gradient, own_query, along[near.order]))
        by_weights = jnp.einsum("cqh,ckh->cqk", own_gradient, seen_value, preferred_element_type=jnp.float32)
        by_scores = jnp.where(learned, weights * (by_weights - own_along[..., None]), 0).astype(query.dtype)
        by_query = jnp.einsum("cqk,ckh->cqh", by_scores, seen_key, preferred_element_type=jnp.float32)
        by_key = jnp.einsum("cqk,cqh->ckh", by_scores, own_query, preferred_element_type=jnp.float32)
        by_value = jnp.einsum(
            "cqk,cqh->ckh", weights.astype(value.dtype), own_gradient, preferred_element_type=jnp.float32
        )
        return (
            sums[0] + by_query.reshape(query.shape)[near.place],
            _add_seen(sight, near, sums[1], by_key),
            _add_seen(sight, near, sums[2], by_value),
        ), None

    zeros = tuple(jnp.zeros(x.shape, jnp.float32) for x in (query, key, value))
    (by_query, by_key, by_value), _ = jax.lax.scan(visit, zeros, jnp.arange(kept.order.shape[0]))
    return by_query.astype(query.dtype) + to_query(by_key.astype(key.dtype))[0], by_value.astype(value.dtype)


def _sorted(sight: Sight, buckets: Int[Array, "R T"]) -> Int[Array, "R T"]:
    """The tokens of each round by bucket, and those of one bucket as they come."""
    tokens = buckets.shape[1]
    if sight.buckets is None or sight.buckets * tokens >= 2**31:
        return jnp.argsort(buckets, axis=1, stable=True)
    # Numbers alone are sorted several times as fast as pairs of them.
    return jnp.sort(buckets * tokens + jnp.arange(tokens, dtype=jnp.int32), axis=1) % tokens


def directions(x: Float[Array, "*T H"]) -> Float[Array, "*T H"]:
    """Keys: each vector over its root mean square, then over the root of its size."""
    wide = x.astype(jnp.float32)
    size = jax.lax.rsqrt(jnp.mean(wide * wide, axis=-1, keepdims=True) + 1e-6)
    return (wide * size * x.shape[-1] ** -0.5).astype(x.dtype)


def _rings(
    sight: Sight, order: jax.Array, place: jax.Array, mask: jax.Array, buckets: jax.Array
) -> dict[str, jax.Array]:
    """What visibility depends on, of the chunks of all rounds one behind the other, those at either end repeated at the other."""
    rounds, tokens = order.shape
    notes = {"position": order, "visible": mask[order]}
    numbers = jnp.arange(rounds)[:, None]
    if sight.same_bucket:
        sorted_buckets = jnp.take_along_axis(jnp.where(mask[:, None], buckets, -1).T, order, 1)
        # Numbered apart in each round: a chunk seen across the end of a round has none in common.
        notes["bucket"] = sorted_buckets * rounds + numbers
    if sight.count_once:
        notes["chunks"] = (place // sight.chunk + tokens // sight.chunk * numbers).T[order]
    return {name: _ring(sight, x) for name, x in notes.items()}


def _ring(sight: Sight, x: jax.Array) -> jax.Array:
    chunks = x.reshape(-1, sight.chunk, *x.shape[2:])
    count = chunks.shape[0]
    return chunks[jnp.arange(-sight.look_back, count + sight.look_ahead) % count]


def _round(sight: Sight, rings: dict[str, jax.Array], order: jax.Array, place: jax.Array, index: jax.Array) -> _Round:
    """One of the rounds."""
    count = order.shape[1] // sight.chunk
    cut = lambda x: jax.lax.dynamic_slice_in_dim(x, index * count, count + sight.width - 1)  # noqa: E731
    return _Round(order[index], place[index], {name: cut(x) for name, x in rings.items()})


def _side_by_side(sight: Sight, x: jax.Array) -> jax.Array:
    """What each chunk sees, of a round's chunks and those at its sides: ``[chunks, width * m, ...]``."""
    count = x.shape[0] - sight.width + 1
    return jnp.concatenate([x[w : w + count] for w in range(sight.width)], axis=1)


def _seen(sight: Sight, near: _Round, x: jax.Array) -> jax.Array:
    """The keys or values ``[T, H]`` that each chunk sees."""
    return x[_side_by_side(sight, near.notes["position"])]


def _add_seen(sight: Sight, near: _Round, total: Float[Array, "T H"], by_seen: jax.Array) -> Float[Array, "T H"]:
    """``total`` and the gradients of what each chunk saw, where they belong."""
    count, back = by_seen.shape[0], sight.look_back
    parts = by_seen.reshape(count, sight.width, sight.chunk, -1)
    chunks = jnp.zeros((count + sight.width - 1, *parts.shape[2:]), parts.dtype)
    for w in range(sight.width):
        chunks = chunks.at[w : w + count].add(parts[:, w])
    total += chunks[back : back + count].reshape(total.shape)[near.place]
    for side in (slice(0, back), slice(back + count, None)):
        total = total.at[near.notes["position"][side]].add(chunks[side])
    return total


def _scores(
    sight: Sight, near: _Round, query: jax.Array, key: jax.Array, chunks: int
) -> tuple[Float[Array, "chunks m seen"], Bool[Array, "chunks m seen"]]:
    """What each token of a chunk makes of each it sees, and which of that depends on the two."""
    count, back = key.shape[0], sight.look_back
    own = {name: x[back : back + count] for name, x in near.notes.items()}
    seen = {name: _side_by_side(sight, x) for name, x in near.notes.items()}
    query = query.reshape(count, sight.chunk, -1)
    scores = jnp.einsum("cqh,ckh->cqk", query, key, preferred_element_type=jnp.float32)
    i, j = own["position"][:, :, None], seen["position"][:, None, :]
    visible = seen["visible"][:, None, :]
    if sight.causal:
        visible &= j <= i
    if sight.same_bucket:
        visible &= own["bucket"][:, :, None] == seen["bucket"][:, None, :]
    if sight.count_once:
        scores -= jnp.log(_times_seen(sight, own["chunks"], seen["chunks"], chunks))
    return jnp.where(i == j, SELF, jnp.where(visible, scores, HIDDEN)), visible & (i != j)


def _times_seen(sight: Sight, own: jax.Array, seen: jax.Array, chunks: int) -> jax.Array:
    """How often each pair meets over all rounds, at least 1: ``[chunks, m, width * m]``."""
    count = 0
    for mine in range(own.shape[-1]):
        for theirs in range(seen.shape[-1]):
            apart = (own[:, :, None, mine] - seen[:, None, :, theirs]) % chunks
            for offset in range(-sight.look_ahead, sight.look_back + 1):
                count += (apart == offset % chunks).astype(jnp.float32)
    return jnp.maximum(count, 1)
