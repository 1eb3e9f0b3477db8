"""Halves of an encoder-decoder's blocks, for stacks in another order: attentions without a feed-forward, and one alone.

A target's attention to its source goes with its attention to itself, as in the paper: both are one half of a block.

Reference:
  Press, Smith, Levy, "Improving Transformer Models by Reordering their Sublayers", 2020, section 5 (translation).
"""

from typing import Any

import jax
from flax import nnx
from jaxtyping import Array, Float

from efficient_attn.nn.attention import SelfAttention
from efficient_attn.nn.block import AttentionBlock, FeedForwardBlock, NormPlace
from efficient_attn.nn.feedforward import FeedForward
from efficient_attn.nn.given import Given
from efficient_attn.nn.norm import NormKind, make_norm
from efficient_attn.nn.seq2seq_mechanisms import PackableAttention
from efficient_attn.nn.text_block import CrossBlock, Keys, Rates, TextBlock
from efficient_attn.patterns.algebra import Pattern


class TextAttentionBlock(TextBlock, AttentionBlock):
    """The first half of a ``TextBlock`` alone."""

    def _drop_and_feed(self, x: jax.Array, rates: Rates, keys: Keys) -> Float[Array, "B T D"]:
        return x


class CrossAttentionBlock(TextAttentionBlock, CrossBlock):
    """All of a ``CrossBlock`` but its feed-forward; arguments as there."""

    def __init__(
        self,
        attention: PackableAttention,
        cross: SelfAttention,
        norm: NormPlace,
        width: int,
        *,
        epsilon: float,
        norm_kind: NormKind = "layer",
        rngs: nnx.Rngs,
    ):
        AttentionBlock.__init__(self, attention, norm, width, epsilon=epsilon, norm_kind=norm_kind, rngs=rngs)
        self.cross = cross
        self.cross_norm = make_norm(norm_kind, width, epsilon, rngs)


class TextFeedForwardBlock(TextBlock, FeedForwardBlock):
    """The second half of a ``TextBlock`` or of a ``CrossBlock`` alone: neither texts nor a source mean anything to it."""

    feedforward: FeedForward

    def over(
        self, x: Float[Array, "B T D"], pattern: Pattern, given: Given, encoded: Any, segments: Any, *dropout: Any
    ) -> Float[Array, "B T D"]:
        """As ``__call__``, with the arguments of ``CrossBlock.over``."""
        return self(x, pattern, given, *dropout)

    def _among(self, x: jax.Array, pattern: Pattern, given: Given, rates: Rates, keys: Keys) -> Float[Array, "B T D"]:
        return x
