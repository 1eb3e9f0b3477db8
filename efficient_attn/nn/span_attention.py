"""Self-attention whose heads learn how far back they look, over a segment of tokens and a memory of those before it.

The memory of a layer holds its earlier inputs; as many as it holds, so far back the layer looks. Cut to ``limits`` it changes
nothing, since a mask is 0 beyond its span and ramp.

Reference:
  Sukhbaatar et al., "Adaptive Attention Span in Transformers", 2019, sections 2 and 3, and released code.
"""

import dataclasses
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int

from efficient_attn.nn.attention import linear
from efficient_attn.nn.cache import Cache
from efficient_attn.nn.heads import join_heads, split_heads
from efficient_attn.nn.initializers import Initialization
from efficient_attn.ops.adaptive_span import adaptive_span_attention, span_limit
from efficient_attn.patterns.algebra import Pattern
from efficient_attn.patterns.local import Window
from efficient_attn.precision import Precision
from efficient_attn.sharding import HEADS, on_mesh, refuse_sharded_sequence

# The published initial bias of dynamic spans: 2 % of the limit.
_DYNAMIC_BIAS = -4.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class AdaptiveSpan:
    """Attention over learned spans, with a memory from segment to segment and relative positions of its own (Sukhbaatar 2019)."""

    limit: int = 8192
    """Earlier tokens that a head may learn to see."""
    ramp: float = 32.0
    """Length of a span's soft edge, in tokens."""
    spans: Literal["heads", "tokens", "fixed"] = "heads"
    """One learned by each head; computed by each head from each token ("dynamic"); or ``limit`` for all, which is the baseline."""
    coefficient: float = 5e-7
    """Of the penalty on spans; 2e-6 where ``limit`` is at most 4,096."""
    trim: int = 64
    """Computation and memory are cut to the spans, in steps of so many tokens; each new length is compiled once."""
    dropout: float = 0.0
    """Probability of dropping an attention weight, and a hidden feature of the feed-forward."""

    def __post_init__(self):
        for name in ("limit", "ramp", "trim"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.coefficient < 0:
            raise ValueError(f"coefficient must be at least 0, got {self.coefficient}")
        if not 0.0 <= self.dropout < 1.0:
            raise ValueError(f"dropout must be in [0, 1), got {self.dropout}")

    @property
    def longest(self) -> int | None:
        """None: texts of any length can be read."""
        return None

    def parsed(self) -> tuple[Pattern, ...]:
        """The earlier tokens that a head may learn to see, its own not among them."""
        return (Window(left=self.limit) & ~Window(left=0),)

    def limit_of(self, shares: Float[np.ndarray, " N"] | None) -> int:
        """Tokens that a layer's memory must hold.

        Args:
          shares: learned spans of its heads, as shares of ``limit``; None if it has none, whose memory is never cut.
        """
        if self.spans != "heads" or shares is None:
            return self.limit
        return span_limit(shares * self.limit, longest=self.limit, ramp=self.ramp, step=self.trim)


class SpanAttention(nnx.Module):
    """Attention over learned spans.

    Args:
      width: size of the residual stream.
      heads: query heads.
      key_heads: key and value heads, a divisor of ``heads``.
      qk_width: size of all query heads together.
      init: standard deviations.
      precision: formats.
      mechanism: which spans.
      bias: whether the projections add one.
      rngs: randomness of the initial parameters.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        key_heads: int,
        qk_width: int,
        init: Initialization,
        precision: Precision,
        *,
        mechanism: AdaptiveSpan,
        bias: bool = True,
        rngs: nnx.Rngs,
    ):
        self.heads, self.key_heads, self.mechanism = heads, key_heads, mechanism
        self.sizes = (qk_width // heads, width // heads)
        project = linear(precision, bias, rngs)
        self.query = project(width, qk_width, kernel_init=init.weight(width))
        self.key = project(width, self.sizes[0] * key_heads, kernel_init=init.weight(width))
        self.value = project(width, self.sizes[1] * key_heads, kernel_init=init.weight(width))
        self.output = project(width, width, kernel_init=init.residual(width))
        # A share of the limit, so that one learning rate suits any limit.
        self.span = nnx.Param(jnp.zeros(heads, jnp.float32)) if mechanism.spans == "heads" else None
        # Every token starts with the same span, that of the bias.
        self.gate = (
            nnx.Linear(
                width,
                heads,
                kernel_init=nnx.initializers.zeros,
                bias_init=nnx.initializers.constant(_DYNAMIC_BIAS),
                rngs=rngs,
            )
            if mechanism.spans == "tokens"
            else None
        )

    def spans(self, x: Float[Array, "B T D"]) -> Float[Array, " N"] | Float[Array, "B T N"]:
        """How far back each head looks, in tokens; for each token of ``x`` if they are dynamic."""
        if self.span is not None:
            return self.mechanism.limit * self.span[...]
        if self.gate is not None:
            return self.mechanism.limit * jax.nn.sigmoid(self.gate(x))
        return jnp.full(self.heads, self.mechanism.limit, jnp.float32)

    def __call__(
        self,
        x: Float[Array, "B T D"],
        memory: Float[Array, "B M D"],
        known: Int[Array, " B"],
        position_keys: Float[Array, "H L"],
        key: jax.Array | None,
    ) -> Float[Array, "B T D"]:
        """Attention of each token to the ``M`` before it.

        Args:
          x: the segment.
          memory: the tokens before it, oldest first.
          known: how many of them there are, the newest; the slots before them are empty.
          position_keys: a key for each distance, from 1 on.
          key: randomness of the dropout; None is without.
        """
        refuse_sharded_sequence("adaptive-span attention")
        held, length = memory.shape[1], x.shape[1]
        context = jnp.concatenate([memory.astype(x.dtype), x], axis=1)
        mixed = adaptive_span_attention(
            split_heads(self.query(x), self.heads),
            split_heads(self.key(context), self.key_heads),
            split_heads(self.value(context), self.key_heads),
            self.spans(x),
            limit=held,
            ramp=self.mechanism.ramp,
            position_keys=position_keys.astype(self.query.dtype),
            query_positions=np.arange(held, held + length),
            key_mask=jnp.arange(held + length) >= held - known[:, None],
            query_spec=on_mesh(HEADS),
            **_dropout(self.mechanism.dropout, key),
        )
        return self.output(join_heads(mixed))

    def step(
        self,
        x: Float[Array, "B 1 D"],
        cache: Cache,
        position: Int[Array, ""],
        slot: Int[Array, ""],
        position_keys: Float[Array, "H L"],
    ) -> tuple[Float[Array, "B 1 D"], Cache]:
        """One token at ``position`` over what the cache holds; equal to that row of ``__call__``.

        Args:
          x: the token.
          cache: of the tokens that the limit, the number of ``position_keys``, still lets be seen.
          position: where the token lies.
          slot: where the cache keeps it.
          position_keys: a key for each distance, from 1 to the limit.
        """
        key, value = split_heads(self.key(x), self.key_heads), split_heads(self.value(x), self.key_heads)
        cache = cache.write(slot, position, key, value)
        seen = cache.seen(slot)
        mixed = adaptive_span_attention(
            split_heads(self.query(x), self.heads),
            seen.key.astype(key.dtype),
            seen.value.astype(value.dtype),
            self.spans(x),
            limit=position_keys.shape[1],
            ramp=self.mechanism.ramp,
            position_keys=position_keys.astype(self.query.dtype),
            query_positions=position[None],
            key_positions=seen.positions,
            key_mask=jnp.broadcast_to(seen.positions >= 0, (x.shape[0], seen.positions.shape[0])),
        )
        return self.output(join_heads(mixed)), cache


def _dropout(rate: float, key: jax.Array | None) -> dict[str, float | jax.Array]:
    return {} if key is None or rate == 0.0 else {"dropout_rate": rate, "dropout_key": key}
