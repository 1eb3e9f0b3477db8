"""Residual blocks of an encoder-decoder: over texts side by side in a row, and with a source to look at."""

import dataclasses

import jax
from flax import nnx
from jaxtyping import Array, Float, Int

from efficient_attn.kernels import RelativeBias
from efficient_attn.nn.attention import Memory, SelfAttention
from efficient_attn.nn.block import Block, NormPlace
from efficient_attn.nn.cache import Cache
from efficient_attn.nn.dropout import drop
from efficient_attn.nn.feedforward import FeedForward
from efficient_attn.nn.given import Given
from efficient_attn.nn.moe import MoE
from efficient_attn.nn.norm import NormKind, make_norm
from efficient_attn.nn.seq2seq_mechanisms import PackableAttention
from efficient_attn.patterns.algebra import Pattern

Segments = tuple[Int[Array, "B T"], Int[Array, "B S"]]
Keys = jax.Array | tuple[None, ...]
"""Randomness of parts of a block, one each; None: they drop nothing."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rates:
    """Probabilities of dropout."""

    features: float = 0.0
    """Of a sublayer's output."""
    weights: float = 0.0
    """Of attention."""
    hidden: float = 0.0
    """Of the features of the feed-forward's hidden layer."""


def keys_of(key: jax.Array | None, parts: int) -> Keys:
    """The keys of all parts of a block, by one split: each is a hash that the compiler unrolls."""
    return (None,) * parts if key is None else jax.random.split(key, parts)


class TextBlock(Block):
    """Attention among the tokens of each text, and a feed-forward; decoded as a ``Block`` is."""

    attention: PackableAttention
    feedforward: FeedForward

    def __call__(
        self, x: Float[Array, "B T D"], pattern: Pattern, given: Given, rates: Rates, key: jax.Array | None
    ) -> Float[Array, "B T D"]:
        """The residual stream after the block.

        Args:
          x: the stream before.
          pattern: which tokens of a text may see which.
          given: the texts of a row.
          rates: of dropout.
          key: randomness of dropout; None is without.
        """
        keys = keys_of(key, 4)
        return self._drop_and_feed(self._among(x, pattern, given, rates, keys[:2]), rates, keys[2:])

    def _among(self, x: jax.Array, pattern: Pattern, given: Given, rates: Rates, keys: Keys) -> Float[Array, "B T D"]:
        mixed = self.attention.among(self._enter(x, self.attention_norm), pattern, given, rates.weights, keys[0])
        return self._leave(x, drop(mixed, rates.features, keys[1]), self.attention_norm)

    def _drop_and_feed(self, x: jax.Array, rates: Rates, keys: Keys) -> Float[Array, "B T D"]:
        hidden = self.feedforward(self._enter(x, self.feedforward_norm), rates.hidden, keys[0])
        return self._leave(x, drop(hidden, rates.features, keys[1]), self.feedforward_norm)


class CrossBlock(TextBlock):
    """A ``TextBlock`` whose tokens look at a source between the two sublayers.

    Args:
      attention: among the tokens of a target.
      cross: of these to the tokens of the source.
      feedforward: the last sublayer.
      norm: before the sublayers, or after the sums.
      width: size of the residual stream.
      epsilon: of the norms.
      norm_kind: what the norms are.
      rngs: randomness of the initial parameters.
    """

    def __init__(
        self,
        attention: PackableAttention,
        cross: SelfAttention,
        feedforward: FeedForward | MoE,
        norm: NormPlace,
        width: int,
        *,
        epsilon: float,
        norm_kind: NormKind = "layer",
        rngs: nnx.Rngs,
    ):
        super().__init__(attention, feedforward, norm, width, epsilon=epsilon, norm_kind=norm_kind, rngs=rngs)
        self.cross = cross
        self.cross_norm = make_norm(norm_kind, width, epsilon, rngs)

    def over(
        self,
        x: Float[Array, "B T D"],
        pattern: Pattern,
        given: Given,
        encoded: Float[Array, "B S D"],
        segments: Segments,
        rates: Rates,
        key: jax.Array | None,
    ) -> Float[Array, "B T D"]:
        """The residual stream after the block; arguments as in ``__call__``, with the source and whose text each token is of."""
        keys = keys_of(key, 6)
        x = self._attentions(x, pattern, given, encoded, segments, rates, keys[:4])
        return self._drop_and_feed(x, rates, keys[4:])

    def _attentions(
        self,
        x: Float[Array, "B T D"],
        pattern: Pattern,
        given: Given,
        encoded: Float[Array, "B S D"],
        segments: Segments,
        rates: Rates,
        keys: Keys,
    ) -> Float[Array, "B T D"]:
        """The residual stream after all but the feed-forward."""
        x = self._among(x, pattern, given, rates, keys[:2])
        return self._look(x, self.cross.remembered(encoded), segments, rates, keys[2:])

    def step_over(
        self,
        x: Float[Array, "B 1 D"],
        pattern: Pattern,
        cache: Cache,
        position: Int[Array, ""],
        slot: Int[Array, ""],
        memory: Memory,
        segments: tuple[Int[Array, "sources T"], Int[Array, "sources S"]],
        bias: RelativeBias | None = None,
    ) -> tuple[Float[Array, "B 1 D"], Cache]:
        """The block on one token of each text, over the cache and over the memory of its source.

        Texts of the same source follow each other: they are queries of one row, so that the memory is never repeated.
        """
        mixed, cache = self.attention.step(self._enter(x, self.attention_norm), pattern, cache, position, slot, bias)
        x = self._leave(x, mixed, self.attention_norm)
        rows = self._look(x.reshape(memory.key.shape[0], -1, x.shape[2]), memory, segments, Rates(), keys_of(None, 2))
        return self._drop_and_feed(rows.reshape(x.shape), Rates(), keys_of(None, 2)), cache

    def _look(
        self, x: jax.Array, memory: Memory, segments: Segments, rates: Rates, keys: Keys
    ) -> Float[Array, "B T D"]:
        seen = self.cross.recall(self._enter(x, self.cross_norm), memory, segments, rates.weights, keys[0])
        return self._leave(x, drop(seen, rates.features, keys[1]), self.cross_norm)
