"""Residual blocks of an encoder-decoder whose feed-forward network is a mixture of experts."""

from typing import Any

import jax
from jaxtyping import Array, Bool, Float

from efficient_attn.nn.dropout import drop
from efficient_attn.nn.given import Given
from efficient_attn.nn.moe import MoE, Routed
from efficient_attn.nn.routed_block import added
from efficient_attn.nn.text_block import CrossBlock, Keys, Rates, Segments, TextBlock, keys_of
from efficient_attn.nn.text_halves import TextFeedForwardBlock
from efficient_attn.patterns.algebra import Pattern

Seen = tuple[Float[Array, "B T D"], Routed]
"""The residual stream after a mixture, and what was seen of its routing."""
Sums = tuple[Float[Array, "B T D"], Routed | None]
"""The residual stream, and what all mixtures before saw of their routing; None: there are no experts."""


class RoutedTextBlock(TextBlock):
    """``TextBlock`` around a ``MoE``; in decoding each token is a group by itself, of which nothing is ever dropped."""

    feedforward: MoE

    def routed(
        self, x: Float[Array, "B T D"], pattern: Pattern, given: Given, rates: Rates, key: jax.Array | None
    ) -> Seen:
        """``__call__``, and what was seen of routing; padding, of segment 0, is not routed. Second choices are drawn by ``key``."""
        keys = keys_of(key, 4)
        x = self._among(x, pattern, given, rates, keys[:2])
        return self._route(x, _known(given), rates, keys[2:])

    def _drop_and_feed(self, x: jax.Array, rates: Rates, keys: Keys) -> Float[Array, "B T D"]:
        return self._route(x, None, rates, keys)[0]

    def _route(self, x: jax.Array, valid: Bool[Array, "B T"] | None, rates: Rates, keys: Keys) -> Seen:
        hidden, seen = self.feedforward.routed(self._enter(x, self.feedforward_norm), valid, keys[0])
        return self._leave(x, drop(hidden, rates.features, keys[1]), self.feedforward_norm), seen


class RoutedCrossBlock(CrossBlock, RoutedTextBlock):
    """``CrossBlock`` around a ``MoE``."""

    def routed_over(
        self,
        x: Float[Array, "B T D"],
        pattern: Pattern,
        given: Given,
        encoded: Float[Array, "B S D"],
        segments: Segments,
        rates: Rates,
        key: jax.Array | None,
    ) -> Seen:
        """``over``, and what was seen of routing, as in ``routed``."""
        keys = keys_of(key, 6)
        x = self._attentions(x, pattern, given, encoded, segments, rates, keys[:4])
        return self._route(x, _known(given), rates, keys[4:])


def add_among(state: Sums, block: TextBlock, *arguments: Any) -> Sums:
    """The stream and the sums of routing after a block of either kind; arguments as of ``routed`` after the stream."""
    x, sums = state
    if not isinstance(block, RoutedTextBlock):
        return block(x, *arguments), sums
    return added(sums, *block.routed(x, *arguments))


def add_over(state: Sums, block: CrossBlock | TextFeedForwardBlock, *arguments: Any) -> Sums:
    """As ``add_among``, of blocks with a source to look at; arguments as of ``routed_over``."""
    x, sums = state
    if not isinstance(block, RoutedCrossBlock):
        return block.over(x, *arguments), sums
    return added(sums, *block.routed_over(x, *arguments))


def _known(given: Given) -> Bool[Array, "B T"] | None:
    return None if given.segments is None else given.segments > 0
