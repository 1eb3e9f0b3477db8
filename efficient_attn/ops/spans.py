"""Spans of a text, by their first token and their width: means of their tokens, and which of them to keep.

All spans of up to ``W`` tokens are a table ``[T, W]``, whose entry ``t, w`` is that of tokens ``t`` to ``t + w``, the last one too.
Two spans cross if they have tokens in common and neither holds the other.

Reference:
  Lee, He, Lewis, Zettlemoyer, "End-to-end Neural Coreference Resolution", 2017, sections 3 and 4.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

# Of the distances between mentions, from which on there is one bucket for each doubling.
_LOGARITHMIC, _BUCKETS = 5, 10
_NONE = -1


def head_means(x: Float[Array, "T D"], scores: Float[Array, " T"], widths: int) -> Float[Array, "widths T D"]:
    """The mean of each span's tokens, weighted by the softmax of their scores within it.

    ``mean(t, w) = mean(t, w-1) + s (x[t+w] - mean(t, w-1))`` with ``s = sigmoid(score[t+w] - logsumexp(score[t:t+w]))``.

    Args:
      x: the tokens.
      scores: of each.
      widths: as many are asked for, from one token on. A span that would leave the text goes on at its beginning.

    Cost: O(W T D) time and memory.
    """

    def longer(carry: tuple[jax.Array, jax.Array], width: jax.Array):
        mean, total = carry
        token, score = jnp.roll(x, -width, axis=0), jnp.roll(scores, -width)
        mean = mean + jax.nn.sigmoid(score - total)[:, None].astype(x.dtype) * (token - mean)
        return (mean, jnp.logaddexp(total, score)), mean

    _, means = jax.lax.scan(longer, (x, scores), jnp.arange(1, widths))
    return jnp.concatenate([x[None], means])


def kept_spans(
    scores: Float[Array, "T widths"], allowed: Bool[Array, "T widths"], count: Int[Array, ""], room: int
) -> tuple[Int[Array, " room"], Bool[Array, " room"]]:
    """The best spans of which no two cross, in the order of the text: first tokens first, and of the same first the shortest.

    Args:
      scores: of each span; no gradient goes through the choice.
      allowed: False of what is no span.
      count: the most that are kept.
      room: places for them.

    Returns:
      For each place the entry in the table, laid out row by row, and whether there is one; empty places come last.

    Cost: that of ``uncrossed``, and a sort of the table.
    """
    scores = jax.lax.stop_gradient(scores)
    best, entry = jax.lax.top_k(jnp.where(uncrossed(scores, allowed), scores, -jnp.inf).ravel(), room)
    held = (best > -jnp.inf) & (jnp.arange(room) < count)
    entry = jnp.sort(jnp.where(held, entry, scores.size))
    return jnp.where(entry < scores.size, entry, 0), entry < scores.size


def uncrossed(scores: Float[Array, "T widths"], allowed: Bool[Array, "T widths"]) -> Bool[Array, "T widths"]:
    """The spans that are taken if one after the other is, from the best on, unless it crosses one that is taken already.

    All those that no better one crosses are taken at once, what they cross is dropped, and so on with what is left: the same spans,
    in few rounds.

    Args:
      scores: finite; of equal ones the first in the table is the better.
      allowed: False of what is no span.

    Cost: O(T W) time a round and memory; at most as many rounds as spans are taken, about the logarithm of it as a rule.
    """
    order = jnp.argsort(jnp.where(allowed, -scores, jnp.inf).ravel())
    priority = jnp.zeros(scores.size, jnp.int32).at[order].set(jnp.arange(scores.size, 0, -1)).reshape(scores.shape)

    def settle(state: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        taken, left = state
        won = left & (priority > crossing(jnp.where(left, priority, _NONE)))
        dropped = crossing(jnp.where(won, priority, _NONE)) > _NONE
        return taken | won, left & ~won & ~dropped

    taken, _ = jax.lax.while_loop(lambda state: state[1].any(), settle, (jnp.zeros_like(allowed), allowed))
    return taken


def crossing(values: Int[Array, "T widths"]) -> Int[Array, "T widths"]:
    """The greatest of the values of all spans that cross a span; -1 where there is none, as of a value that is not there."""
    # Those that begin within it, after its first token, and end after it; and those that end within it and begin before it.
    return jnp.maximum(_slanted(_reaching(values, -1), 1), _reaching(_slanted(values, -1), 1))


def _reaching(values: Int[Array, "T widths"], direction: int) -> Int[Array, "T widths"]:
    """At ``t, w`` the greatest ``values[t + direction * j, v]`` with ``j < w`` and ``v > j``."""
    width = values.shape[1]
    beyond = jax.lax.cummax(jnp.pad(values, ((0, 0), (0, 1)), constant_values=_NONE), axis=1, reverse=True)[:, 1:]
    best = jax.lax.cummax(_slanted(beyond, direction), axis=1)
    return jnp.pad(best, ((0, 0), (1, 0)), constant_values=_NONE)[:, :width]


def _slanted(values: Int[Array, "T widths"], direction: int) -> Int[Array, "T widths"]:
    """``values[t + direction * w, w]`` at ``t, w``: from rows of last tokens to rows of first ones, or, with -1, back."""
    tokens, widths = values.shape
    row = jnp.arange(tokens)[:, None] + direction * jnp.arange(widths)
    found = jnp.take_along_axis(values, jnp.clip(row, 0, tokens - 1), axis=0)
    return jnp.where((row >= 0) & (row < tokens), found, _NONE)


def distance_bucket(distance: Int[Array, "*shape"]) -> Int[Array, "*shape"]:
    """One of ten: 0, 1, 2, 3, 4, 5 to 7, 8 to 15, 16 to 31, 32 to 63, and 64 or more."""
    # The number of bits of a distance is that of its doublings and one.
    bits = 32 - jax.lax.clz(jnp.maximum(distance, 1).astype(jnp.int32))
    return jnp.where(distance < _LOGARITHMIC, jnp.maximum(distance, 0), jnp.minimum(bits + 2, _BUCKETS - 1))
