"""A residual block whose feed-forward network is a mixture of experts, which tells what it saw of its routing."""

import jax
from jaxtyping import Array, Bool, Float

from efficient_attn.nn.block import Block
from efficient_attn.nn.dropout import drop
from efficient_attn.nn.moe import MoE, Routed
from efficient_attn.patterns.algebra import Pattern


class RoutedBlock(Block):
    """``Block`` around a ``MoE``; one token at a time, nothing is ever dropped."""

    feedforward: MoE

    def routed(
        self,
        x: Float[Array, "B T D"],
        valid: Bool[Array, "B T"] | None,
        pattern: Pattern,
        dropout: float,
        key: jax.Array | None,
    ) -> tuple[Float[Array, "B T D"], Routed]:
        """The block on a whole sequence, and what was seen of its routing.

        Args:
          x: the residual stream before.
          valid: False of padding, which is not routed.
          pattern: which tokens see which.
          dropout: probability of dropping a feature of a sublayer's output.
          key: randomness of dropout and of second choices; None drops nothing.
        """
        keys = (None, None, None) if key is None else jax.random.split(key, 3)
        x = self._attend(x, pattern, dropout, keys[0])
        hidden, seen = self.feedforward.routed(self._enter(x, self.feedforward_norm), valid, keys[2])
        return self._leave(x, drop(hidden, dropout, keys[1]), self.feedforward_norm), seen


def add_routed(
    state: tuple[jax.Array, Routed], block: Block, valid: jax.Array | None, pattern: Pattern, dropout: float, key
) -> tuple[jax.Array, Routed]:
    """The residual stream and the sums of routing after a block of either kind; arguments as of ``RoutedBlock.routed``."""
    x, sums = state
    if not isinstance(block, RoutedBlock):
        return block(x, pattern, dropout, key), sums
    return added(sums, *block.routed(x, valid, pattern, dropout, key))


def added(sums: Routed | None, x: jax.Array, seen: Routed) -> tuple[jax.Array, Routed]:
    """The residual stream after a mixture, and the sums of routing, if any, with what was seen there."""
    return x, seen if sums is None else jax.tree.map(jax.numpy.add, sums, seen)
