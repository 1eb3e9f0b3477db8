"""A residual block of a bidirectional encoder: norms after the sums, dropout, and masks of tokens."""

from collections.abc import Callable

import jax
from jaxtyping import Array, Bool, Float

from efficient_attn.kernels import RelativeBias
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
        bias: RelativeBias | None = None,
    ) -> Float[Array, "B T D"]:
        """The residual stream after the block.

        Args:
          x: the stream before.
          dropout: probability of dropping a feature of a sublayer's output.
          key: randomness of dropout; None is without.
          key_mask: False hides a token from all.
          global_mask: True of global tokens, for a mechanism that has them.
          bias: of the attention scores, for a mechanism that takes one.
        """
        biased = {} if bias is None else {"bias": bias}
        attention = lambda x, key: self.attention(x, key_mask, global_mask, key, **biased)  # noqa: E731
        return self.around(attention, x, dropout, key)

    def around(
        self, attention: Callable[..., jax.Array], x: Float[Array, "B T D"], dropout: float, key: jax.Array | None
    ) -> Float[Array, "B T D"]:
        """The residual stream after the block, whose attention is a function of the stream and of the randomness of dropout."""
        keys = (None, None, None) if key is None else jax.random.split(key, 3)
        mixed = attention(self._enter(x, self.attention_norm), keys[0])
        x = self._leave(x, drop(mixed, dropout, keys[1]), self.attention_norm)
        return self._feed(x, dropout, keys[2])
