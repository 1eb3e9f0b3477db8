"""Linformer's relative for decoders: exact attention within a block, and to a few slots of each block before it.

The slots of a block are sums over its tokens, so that decoding adds to them token by token. ``ops.block_linformer`` has the
equation and what it costs.
"""

import dataclasses
from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from efficient_attn.kernels import attend
from efficient_attn.nn.attention import SelfAttention
from efficient_attn.nn.cache import BlockCache
from efficient_attn.nn.initializers import Initialization
from efficient_attn.ops.block_linformer import block_linformer_attention
from efficient_attn.ops.linformer import Projection
from efficient_attn.patterns.algebra import Full, Pattern, whole_number
from efficient_attn.patterns.local import Causal
from efficient_attn.precision import Precision
from efficient_attn.sharding import HEADS, fitting, refuse_sharded_sequence


@dataclasses.dataclass(frozen=True, kw_only=True)
class BlockLinformer:
    """Causal attention within blocks, and to compressed keys and values of earlier blocks. Not Linformer, which is not causal."""

    block: int = 128
    """Tokens in a block."""
    slots: int = 16
    """Keys and values that stand for a block before the query's own."""
    sharing: Literal["none", "headwise", "key_value"] = "headwise"
    """Who has a projection of its own: keys and values of each head; those of each layer; each layer."""

    def __post_init__(self):
        whole_number(self.block, "block", least=1)
        whole_number(self.slots, "slots", least=1)
        if self.slots > self.block:
            raise ValueError(f"slots must be at most block={self.block}, got {self.slots}")

    def parsed(self) -> tuple[Pattern, ...]:
        """The pattern of all layers: ``Causal()``, of which the mechanism says how it is approached."""
        return (Causal(),)

    @property
    def longest(self) -> None:
        """Any number of tokens will do."""
        return None


class BlockLinformerAttention(SelfAttention):
    """``SelfAttention`` that sees earlier blocks through their slots.

    Args:
      width: size of the residual stream.
      heads: query heads.
      key_heads: key and value heads, a divisor of ``heads``.
      qk_width: size of all query heads together.
      init: standard deviations; a projection's is that of ``block`` inputs.
      precision: formats.
      rule: blocks and slots.
      rngs: randomness of the initial parameters.
      options: further ones of ``SelfAttention``. Keys are rotated before they are compressed.
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
        rule: BlockLinformer,
        rngs: nnx.Rngs,
        **options: Any,
    ):
        super().__init__(width, heads, key_heads, qk_width, init, precision, rngs=rngs, **options)
        self.rule = rule
        shape = (*((key_heads,) if rule.sharing == "none" else ()), rule.slots, rule.block)
        draw = lambda: nnx.Param(  # noqa: E731
            init.weight(rule.block)(rngs.params(), shape, jnp.dtype(precision.parameters))
        )
        self.key_projection = draw()
        self.value_projection = None if rule.sharing == "key_value" else draw()

    def projections(self) -> tuple[Projection, Projection]:
        """Of keys and of values."""
        first = self.key_projection[...]
        return first, first if self.value_projection is None else self.value_projection[...]

    def empty_cache(self, batch: int, slots: int) -> BlockCache:
        """A cache without a token, for as many as ``slots``."""
        rule = self.rule
        compressed = -(-slots // rule.block) * rule.slots
        empty = lambda tokens, dtype: [jnp.zeros((batch, tokens, self.key_heads * n), dtype) for n in self.sizes]  # noqa: E731
        return BlockCache(*empty(rule.block, self.output.dtype), *empty(compressed, jnp.float32), self.key_heads)

    def step(
        self,
        x: Float[Array, "B 1 D"],
        pattern: Pattern,
        cache: BlockCache,
        position: Int[Array, ""],
        slot: Int[Array, ""],
    ) -> tuple[Float[Array, "B 1 D"], BlockCache]:
        """One token at ``position`` over its block so far and the slots before it; equal to that row of ``__call__``."""
        query, *token = self._project(x, position[None])
        block, slots = self.rule.block, self.rule.slots
        place = position % block
        parts = [
            jnp.einsum("p,bskh->bpkh" if column.ndim == 1 else "kp,bskh->bpkh", column, features.astype(jnp.float32))
            for column, features in zip((p[..., place] for p in self.projections()), token, strict=True)
        ]
        cache = cache.write(position, tuple(token), tuple(parts))
        seen = cache.seen()
        keys, values = (
            jnp.concatenate([near.astype(query.dtype), far.astype(query.dtype)], axis=1)
            for near, far in ((seen.key, seen.slot_key), (seen.value, seen.slot_value))
        )
        live = jnp.concatenate(
            [jnp.arange(block) <= place, jnp.arange(seen.slot_key.shape[1]) < position // block * slots]
        )
        mask = jnp.broadcast_to(live, (x.shape[0], live.shape[0]))
        # Left to the compiler, a loop over rows would gather the caches of all devices.
        spec = fitting(HEADS, query.shape)
        return self._back(attend(query, keys, values, Full(), key_mask=mask, scale=self.scale, query_spec=spec)), cache

    def _mix(self, query: jax.Array, key: jax.Array, value: jax.Array, pattern: Pattern, **tokens: Any) -> jax.Array:
        if not isinstance(pattern, Causal):
            raise ValueError(f"BlockLinformer attention is over Causal(), got {pattern}")
        if tokens.pop("segment_ids", None) is not None:
            raise ValueError("BlockLinformer attention has one text to a row, got segments")
        refuse_sharded_sequence("BlockLinformer attention")
        return block_linformer_attention(query, key, value, *self.projections(), **{"scale": self.scale} | tokens)
