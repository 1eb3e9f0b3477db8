"""Self-attention with synthesized scores, alone or mixed with dot products.

Only what a kind of scores needs exists: without dot products there is neither a query nor a key projection, and a cache
holds values alone.

Reference:
  Tay et al., "Synthesizer: Rethinking Self-Attention in Transformer Models", 2020, section 3.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Int

from efficient_attn.kernels import RelativeBias, attend
from efficient_attn.nn.attention import Attention, biased, dropping, linear, lying
from efficient_attn.nn.cache import Cache
from efficient_attn.nn.given import Given
from efficient_attn.nn.heads import split_heads
from efficient_attn.nn.initializers import Initialization
from efficient_attn.nn.sparse import Sparse
from efficient_attn.nn.synthesizer_scores import (
    DenseScores,
    FactorizedDenseScores,
    FactorizedRandomScores,
    FixedRandomScores,
    RandomScores,
    Scores,
    ScoreSizes,
)
from efficient_attn.ops.positions import rotate
from efficient_attn.ops.synthesizer import synthesized_attention
from efficient_attn.patterns.algebra import Pattern
from efficient_attn.precision import Precision
from efficient_attn.sharding import HEADS, on_mesh, refuse_sharded_sequence

Kind = Literal["dot_product", "random", "fixed_random", "factorized_random", "dense", "factorized_dense"]
Mix = Literal["softmax", "sum", "sigmoid"]

_SYNTHESIZED: Mapping[str, Callable[[ScoreSizes, nnx.Rngs], Scores]] = MappingProxyType(
    {
        "random": RandomScores,
        "fixed_random": FixedRandomScores,
        "factorized_random": FactorizedRandomScores,
        "dense": DenseScores,
        "factorized_dense": FactorizedDenseScores,
    }
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Synthesizer(Sparse):
    """Attention with synthesized scores over the same kind of patterns (Tay et al. 2020).

    Two kinds are a mixture: ``("random", "dot_product")`` is the paper's R+V. ``("dot_product",)`` alone is the Transformer.
    """

    scores: tuple[Kind, ...] = ("random",)
    length: int = 1024
    """Positions that have scores; longer input is an error."""
    mix: Mix = "softmax"
    """softmax: weights of sum 1 per head and layer, as in the paper. Of the released code: sum, without weights; sigmoid, one
    weight per layer for two kinds."""
    rank: int = 8
    """Of the factorized random table."""
    factors: tuple[int, int] | None = None
    """Lengths of the two factors of factorized dense scores; None: about the root of ``length`` each."""
    deviation: float | None = None
    """Standard deviation of random scores at first; None: ``1 / sqrt(length)``, that of Glorot's initialisation."""

    def __post_init__(self):
        super().__post_init__()
        if not self.scores or len(set(self.scores)) < len(self.scores):
            raise ValueError(f"scores must be one or more different kinds of {get_args(Kind)}, got {self.scores}")
        if self.mix == "sigmoid" and len(self.scores) != 2:
            raise ValueError(f"mix='sigmoid' weighs two kinds of scores, got {self.scores}")
        for name in ("length", "rank"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if min(self.both_factors) < 1 or math.prod(self.both_factors) < self.length:
            raise ValueError(f"the product of factors must be at least length={self.length}, got {self.factors}")
        if self.deviation is not None and self.deviation < 0:
            raise ValueError(f"deviation must be at least 0, got {self.deviation}")

    @property
    def longest(self) -> int:
        """``length``."""
        return self.length

    @property
    def both_factors(self) -> tuple[int, int]:
        """``factors``, or their default."""
        if self.factors is not None:
            return self.factors
        first = math.isqrt(self.length - 1) + 1
        return first, -(-self.length // first)


class SynthesizerAttention(Attention):
    """Values by projection, mixed by the softmax of synthesized scores, and a projection back.

    Args:
      width: size of the residual stream.
      heads: heads of scores.
      key_heads: value heads, a divisor of ``heads``; and key heads, where there are dot products.
      qk_width: size of all query heads together, where there are dot products.
      init: standard deviations.
      precision: formats.
      mechanism: which scores.
      rotary: base of rotary positions of the dot products, or None.
      value_width: size of all value heads together, were there as many as query heads; None: ``width``.
      bias: whether the projections add one.
      scale: of the dot products; None: ``1 / sqrt(H)``.
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
        mechanism: Synthesizer,
        rotary: float | None = None,
        value_width: int | None = None,
        bias: bool = True,
        scale: float | None = None,
        rngs: nnx.Rngs,
    ):
        self.heads, self.key_heads, self.rotary, self.scale = heads, key_heads, rotary, scale
        self.mechanism, self.dtype = mechanism, jnp.dtype(precision.compute)
        products = "dot_product" in mechanism.scores
        value_width = width if value_width is None else value_width
        self.sizes = (qk_width // heads if products else 0, value_width // heads)
        project, weight = linear(precision, bias, rngs), init.weight(width)
        query = init.query(width, qk_width // heads)
        self.query = project(width, qk_width, kernel_init=query) if products else None
        self.key = project(width, self.sizes[0] * key_heads, kernel_init=weight) if products else None
        self.value = project(width, self.sizes[1] * key_heads, kernel_init=weight)
        self.output = project(value_width, width, kernel_init=init.residual(value_width))
        sizes = _sizes(mechanism, width, heads, init)
        self.scores = nnx.Dict({k: _SYNTHESIZED[k](sizes, rngs) for k in mechanism.scores if k != "dot_product"})
        weighted = {"softmax": (len(mechanism.scores), heads), "sigmoid": (1,), "sum": ()}[mechanism.mix]
        self.weights = nnx.Param(jnp.zeros(weighted)) if weighted and len(mechanism.scores) > 1 else None

    def shares(self) -> Float[Array, "M N"]:
        """The weight of each kind of scores in each head."""
        kinds = len(self.mechanism.scores)
        if self.weights is None:
            return jnp.ones((kinds, self.heads))
        if self.mechanism.mix == "softmax":
            return jax.nn.softmax(self.weights[...].astype(jnp.float32), axis=0)
        second = jax.nn.sigmoid(self.weights[...].astype(jnp.float32))
        return jnp.broadcast_to(jnp.stack([1 - second, second]), (kinds, self.heads))

    def logits(self, x: Float[Array, "B T D"]) -> Float[Array, "... N T T"]:
        """The scores of all pairs, kinds mixed, dot products scaled; without a batch axis where they need no input.

        Cost: O(B N T^2) memory; ``__call__`` keeps no dot products.
        """
        query, key, _ = self._project(x, jnp.arange(x.shape[1], dtype=jnp.int32))
        scores = self._synthesize(x, 0, x.shape[1])
        if query is None:
            return scores
        key = jnp.repeat(key, self.heads // self.key_heads, axis=2)
        products = jnp.einsum("btnh,bsnh->bnts", query, key) * (
            query.shape[3] ** -0.5 if self.scale is None else self.scale
        )
        return products if scores is None else products + scores

    def __call__(
        self, x: Float[Array, "B T D"], pattern: Pattern, key_mask: Bool[Array, "B T"] | None = None
    ) -> Float[Array, "B T D"]:
        """Attention among the tokens of ``x``; those that ``key_mask`` says False of are seen by none."""
        return self.among(x, pattern, Given(key_mask=key_mask))

    def among(
        self,
        x: Float[Array, "B T D"],
        pattern: Pattern,
        given: Given,
        dropout: float = 0.0,
        key: jax.Array | None = None,
    ) -> Float[Array, "B T D"]:
        """As in ``SelfAttention``: each text has the scores that it would have alone in its row; a bias is added to them."""
        refuse_sharded_sequence("a Synthesizer")
        query, keys, value = self._project(x, jnp.arange(x.shape[1], dtype=jnp.int32))
        scores = self._synthesize(x, 0, x.shape[1], given.positions)
        # Offsets of slots are those of positions within a text.
        slots = jnp.arange(x.shape[1], dtype=jnp.int32)
        where = {"key_mask": given.key_mask, "query_spec": on_mesh(HEADS), **_added(scores, given.bias, slots, slots)}
        where |= lying(pattern, given) | dropping(dropout, key)
        return self._back(self._attend(query, keys, value, pattern, **where))

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
        scores = self._synthesize(x, position, self.mechanism.length)
        # Scores are by position, the cache by slot; what an empty slot gets is hidden below.
        by_slot = None if scores is None else jnp.take(scores, jnp.maximum(seen.positions, 0), axis=-1)
        mixed = self._attend(
            query,
            seen.key.astype(value.dtype),
            seen.value.astype(value.dtype),
            pattern,
            **_added(by_slot, bias, position[None], seen.positions),
            query_positions=position[None],
            key_positions=seen.positions,
            key_mask=jnp.broadcast_to(seen.positions >= 0, (x.shape[0], seen.positions.shape[0])),
        )
        return self._back(mixed), cache

    def _attend(self, query: jax.Array | None, key: jax.Array, value: jax.Array, pattern: Pattern, **where: Any):
        """Attention with dot products, given scores, or the sum of both."""
        if query is None:
            return synthesized_attention(where.pop("bias"), value, pattern, **where)
        bias = where.pop("bias", None)
        if not isinstance(bias, RelativeBias | None) and bias.ndim == 3:
            bias = bias[None]
        return attend(query, key, value, pattern, bias=bias, scale=self.scale, **where)

    def _project(self, x: Float[Array, "B T D"], positions: Int[Array, " T"]):
        """Queries, keys and values; the first two without features where there are no dot products."""
        value = split_heads(self.value(x), self.key_heads)
        if self.query is None or self.key is None:
            return None, value[..., :0], value
        query, key = split_heads(self.query(x), self.heads), split_heads(self.key(x), self.key_heads)
        if self.rotary is not None:
            query, key = rotate(query, positions, self.rotary), rotate(key, positions, self.rotary)
        share = self.shares()[self.mechanism.scores.index("dot_product")]
        return query * share[:, None].astype(query.dtype), key, value

    def _synthesize(
        self, x: jax.Array, first: int | jax.Array, keys: int, positions: Int[Array, "B T"] | None = None
    ) -> Float[Array, "... N T S"] | None:
        """The weighted sum of all synthesized scores, of slots with these positions; None where there are dot products alone."""
        x, total = x.astype(self.dtype), None
        for kind, share in zip(self.mechanism.scores, self.shares(), strict=True):
            if kind != "dot_product":
                scores = self.scores[kind](x, first, keys) * share[:, None, None].astype(x.dtype)
                scores = scores if positions is None else _at(scores, positions)
                total = scores if total is None else total + scores
        return total


def _at(scores: Float[Array, "... N T S"], positions: Int[Array, "B T"]) -> Float[Array, "B N T S"]:
    """Scores of positions as scores of slots: rows and columns move where all inputs share them, columns alone where each
    token brings its own row."""
    if scores.ndim == 3:
        return jnp.moveaxis(scores[:, positions[:, :, None], positions[:, None, :]], 1, 0)
    return jnp.take_along_axis(scores, positions[:, None, None, :], axis=-1)


def _added(
    scores: Float[Array, "... N T S"] | None,
    bias: RelativeBias | None,
    queries: Int[Array, " T"],
    keys: Int[Array, " S"],
) -> dict[str, Any]:
    """Scores and a bias by offset in one, as ``bias``: spread over pairs only where the scores are by pairs already."""
    if scores is None:
        return biased(bias)
    if bias is not None:
        scores = scores + bias.values[:, bias.columns(queries[:, None], keys[None])].astype(scores.dtype)
    return {"bias": scores}


def _sizes(mechanism: Synthesizer, width: int, heads: int, init: Initialization) -> ScoreSizes:
    return ScoreSizes(
        width=width,
        heads=heads,
        length=mechanism.length,
        rank=mechanism.rank,
        factors=mechanism.both_factors,
        deviation=mechanism.length**-0.5 if mechanism.deviation is None else mechanism.deviation,
        init=init,
    )
