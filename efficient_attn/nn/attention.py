"""Self-attention over a pattern: projections around ``attend``."""

import abc
import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Int

from efficient_attn.kernels import RelativeBias, attend
from efficient_attn.nn.cache import AnyCache, Cache, empty_cache
from efficient_attn.nn.given import Given
from efficient_attn.nn.heads import join_heads, split_heads
from efficient_attn.nn.initializers import Initialization
from efficient_attn.ops.positions import rotate
from efficient_attn.ops.weights import weights_of
from efficient_attn.patterns.algebra import Full, Pattern
from efficient_attn.patterns.offsets import by_offset
from efficient_attn.precision import Precision
from efficient_attn.sharding import HEADS, fitting, on_mesh


class Attention(nnx.Module):
    """What a block asks of its attention: the whole sequence at once, and one token over a cache."""

    heads: int
    key_heads: int
    sizes: tuple[int, int]
    """Features of one key head and of one value head, as a cache keeps them; no keys: 0."""
    output: nnx.Linear

    @abc.abstractmethod
    def __call__(
        self, x: Float[Array, "B T D"], pattern: Pattern, key_mask: Bool[Array, "B T"] | None = None
    ) -> Float[Array, "B T D"]:
        """Attention among the tokens of ``x``; those that ``key_mask`` says False of are seen by none."""

    def recalled(
        self, x: Float[Array, "B T D"], pattern: Pattern, key: jax.Array | None, given: Given, memo: Any
    ) -> tuple[Float[Array, "B T D"], Any]:
        """``__call__``, and what it takes to repeat it exactly on an input that differs in the last bits.

        Args:
          x: the tokens.
          pattern: which of them may see which.
          key: randomness, for a mechanism that draws; None: as in evaluation.
          given: what is the same for all layers.
          memo: what an earlier call returned, to repeat it; None: a first call.
        """
        del key, memo
        return self(x, pattern, given.key_mask), None

    def empty_cache(self, batch: int, slots: int) -> AnyCache:
        """A cache without a token."""
        return empty_cache(slots, batch, self.key_heads, self.sizes, self.output.dtype)

    @abc.abstractmethod
    def step(
        self, x: Float[Array, "B 1 D"], pattern: Pattern, cache: Any, position: Int[Array, ""], slot: Int[Array, ""]
    ) -> tuple[Float[Array, "B 1 D"], AnyCache]:
        """One token at ``position`` over what the cache holds, itself included; equal to that row of ``__call__``."""

    def _back(self, mixed: Float[Array, "B T N H"]) -> Float[Array, "B T D"]:
        return self.output(join_heads(mixed))


def linear(precision: Precision, bias: bool, rngs: nnx.Rngs) -> functools.partial[nnx.Linear]:
    """What makes projections of these formats."""
    formats = {"dtype": jnp.dtype(precision.compute), "param_dtype": jnp.dtype(precision.parameters)}
    return functools.partial(nnx.Linear, use_bias=bias, rngs=rngs, **formats)


def lying(pattern: Pattern, given: Given) -> dict[str, Any]:
    """Where tokens lie, as ``attend`` takes it: their texts, and their positions where the pattern needs more than offsets."""
    where = {"segment_ids": given.segments}
    if given.positions is None or by_offset(pattern):
        return where
    return {**where, "query_positions": given.positions, "key_positions": given.positions}


def biased(bias: RelativeBias | None) -> dict[str, Any]:
    """A bias of the scores, as ``attend`` takes it, or none."""
    return {} if bias is None else {"bias": bias}


def dropping(rate: float, key: jax.Array | None) -> dict[str, Any]:
    """Dropout of attention weights, as ``attend`` takes it; ``key`` None is without."""
    return {} if key is None or rate == 0.0 else {"dropout_rate": rate, "dropout_key": key}


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Memory:
    """Keys and values of tokens that others ask, those of all heads in one axis, as in a ``Cache``."""

    key: Float[Array, "*layers B S KH"]
    value: Float[Array, "*layers B S KHv"]


class SelfAttention(Attention):
    """Queries, keys and values by projection, attention over a pattern, and a projection back.

    Args:
      width: size of the residual stream.
      heads: query heads.
      key_heads: key and value heads, a divisor of ``heads``.
      qk_width: size of all query heads together.
      init: standard deviations.
      precision: formats.
      rotary: base of rotary positions, or None.
      value_width: size of all value heads together, were there as many as query heads; None: ``width``.
      bias: whether the projections add one.
      scale: of the products; None: ``1 / sqrt(H)``.
      rngs: randomness of the initial parameters.
    """

    dropout: float = 0.0
    """Probability of dropping a weight, where ``recalled`` is given randomness."""

    def __init__(
        self,
        width: int,
        heads: int,
        key_heads: int,
        qk_width: int,
        init: Initialization,
        precision: Precision,
        *,
        rotary: float | None = None,
        value_width: int | None = None,
        bias: bool = True,
        scale: float | None = None,
        rngs: nnx.Rngs,
    ):
        self.heads, self.key_heads, self.rotary, self.scale = heads, key_heads, rotary, scale
        value_width = width if value_width is None else value_width
        self.sizes = (qk_width // heads, value_width // heads)
        project = linear(precision, bias, rngs)
        self.query = project(width, qk_width, kernel_init=init.query(width, self.sizes[0]))
        self.key = project(width, self.sizes[0] * key_heads, kernel_init=init.weight(width))
        self.value = project(width, self.sizes[1] * key_heads, kernel_init=init.weight(width))
        self.output = project(value_width, width, kernel_init=init.residual(value_width))

    def __call__(
        self, x: Float[Array, "B T D"], pattern: Pattern, key_mask: Bool[Array, "B T"] | None = None
    ) -> Float[Array, "B T D"]:
        """Attention among the tokens of ``x``; those that ``key_mask`` says False of are seen by none."""
        return self.among(x, pattern, Given(key_mask=key_mask))

    def recalled(
        self, x: Float[Array, "B T D"], pattern: Pattern, key: jax.Array | None, given: Given, memo: Any
    ) -> tuple[Float[Array, "B T D"], Any]:
        """``__call__`` with dropout of weights, which is a function of ``key`` alone."""
        if self.dropout == 0.0:
            return super().recalled(x, pattern, key, given, memo)
        return self.among(x, pattern, given, self.dropout, key), None

    def among(
        self,
        x: Float[Array, "B T D"],
        pattern: Pattern,
        given: Given,
        dropout: float = 0.0,
        key: jax.Array | None = None,
    ) -> Float[Array, "B T D"]:
        """Attention among the tokens of texts, which may lie side by side in a row.

        Args:
          x: the tokens.
          pattern: which tokens of a text may see which.
          given: their texts, and where they lie in them.
          dropout: probability of dropping an attention weight.
          key: randomness of the dropout; None is without.
        """
        # Products of rotated tokens depend on offsets only: slots do as well as positions.
        query, keys, value = self._project(x, jnp.arange(x.shape[1], dtype=jnp.int32))
        where = {"key_mask": given.key_mask, "query_spec": on_mesh(HEADS), **biased(given.bias)}
        return self._back(
            self._mix(query, keys, value, pattern, **where, **lying(pattern, given), **dropping(dropout, key))
        )

    def weights(self, x: Float[Array, "B T D"], pattern: Pattern) -> Float[Array, "B N T T"]:
        """The weight of each pair of tokens of ``x``, as in ``__call__``.

        Cost: O(B N T^2) memory, where ``__call__`` keeps none.
        """
        query, keys, _ = self._project(x, jnp.arange(x.shape[1], dtype=jnp.int32))
        return weights_of(lambda value: self._mix(query, keys, value, pattern), keys)

    def remembered(self, seen: Float[Array, "B S D"]) -> Memory:
        """Keys and values of other tokens, for ``recall``."""
        return Memory(self.key(seen), self.value(seen))

    def recall(
        self,
        x: Float[Array, "B T D"],
        memory: Memory,
        segments: tuple[Int[Array, "B T"], Int[Array, "B S"]],
        dropout: float = 0.0,
        key: jax.Array | None = None,
    ) -> Float[Array, "B T D"]:
        """Attention of tokens to all remembered ones with the same number in ``segments``, wherever they lie.

        Args:
          x: the tokens that ask.
          memory: those that are asked.
          segments: which text each token of either belongs to.
          dropout: probability of dropping an attention weight.
          key: randomness of the dropout; None is without.
        """
        query = split_heads(self.query(x), self.heads)
        keys, value = (split_heads(x.astype(query.dtype), self.key_heads) for x in (memory.key, memory.value))
        where = {"segment_ids": segments, "query_spec": on_mesh(HEADS)}
        return self._back(self._mix(query, keys, value, Full(), **where, **dropping(dropout, key)))

    def step(
        self,
        x: Float[Array, "B 1 D"],
        pattern: Pattern,
        cache: Cache,
        position: Int[Array, ""],
        slot: Int[Array, ""],
        bias: RelativeBias | None = None,
    ) -> tuple[Float[Array, "B 1 D"], Cache]:
        """One token at ``position`` over what the cache holds, itself included; equal to that row of ``among``."""
        query, key, value = self._project(x, position[None])
        cache = cache.write(slot, position, key, value)
        seen = cache.seen(slot)
        written = jnp.broadcast_to(seen.positions >= 0, (x.shape[0], seen.positions.shape[0]))
        mixed = self._mix(
            query,
            seen.key.astype(query.dtype),
            seen.value.astype(query.dtype),
            pattern,
            query_positions=position[None],
            key_positions=seen.positions,
            key_mask=written,
            # Left to the compiler, a loop over rows would gather the caches of all devices.
            query_spec=fitting(HEADS, query.shape),
            **biased(bias),
        )
        return self._back(mixed), cache

    def _mix(self, query: jax.Array, key: jax.Array, value: jax.Array, pattern: Pattern, **tokens: Any) -> jax.Array:
        """What the heads take from the keys; ``tokens`` says which keys there are and where they lie."""
        return attend(query, key, value, pattern, **{"scale": self.scale} | tokens)

    def _project(self, x: Float[Array, "B T D"], positions: Int[Array, " T"]):
        query = split_heads(self.query(x), self.heads)
        key, value = split_heads(self.key(x), self.key_heads), split_heads(self.value(x), self.key_heads)
        if self.rotary is not None:
            query, key = rotate(query, positions, self.rotary), rotate(key, positions, self.rotary)
        return query, key, value
