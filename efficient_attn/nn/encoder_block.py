"""A residual block of a bidirectional encoder: norms after the sums, dropout, and masks of tokens."""

from collections.abc import Callable
from typing import Any

import jax
from jaxtyping import Array, Bool, Float

from efficient_attn.nn.block import Residual
from efficient_attn.nn.dropout import drop


class EncoderBlock(Residual):
    """A block whose attention keeps to the contract of ``EncoderAttention``."""

    def __call__(
        self,
        x: Float[Array, "B T D"],
        dropout: float,
        key: jax.Array | None,
        key_mask: Bool[Array, "B T"] | None = None,
        global_mask: Bool[Array, "B T"] | None = None,
        **common: Any,
    ) -> Float[Array, "B T D"]:
        """The residual stream after the block.

        Args:
          x: the stream before.
          dropout: probability of dropping a feature of a sublayer's output.
          key: randomness of dropout; None is without.
          key_mask: False hides a token from all.
          global_mask: True of global tokens, for a mechanism that has them.
          common: what all layers share, as their attention takes it: a bias of scores, or a projection.
        """
        attention = lambda x, key: self.attention(x, key_mask, global_mask, key, **common)  # noqa: E731
        return self.around(attention, x, dropout, key)

    def around(
        self, attention: Callable[..., jax.Array], x: Float[Array, "B T D"], dropout: float, key: jax.Array | None
    ) -> Float[Array, "B T D"]:
        """The residual stream after the block, whose attention is a function of the stream and of the randomness of dropout."""
        keys = (None, None, None) if key is None else jax.random.split(key, 3)
        mixed = attention(self._enter(x, self.attention_norm), keys[0])
        x = self._leave(x, drop(mixed, dropout, keys[1]), self.attention_norm)
        return self._feed(x, dropout, keys[2])
