"""A decoder that reads a text segment by segment and remembers: the Transformer with adaptive attention spans.

Every attention keeps its inputs of the tokens that its spans still reach, without gradients, as in Transformer-XL; a feed-forward
that stands alone keeps nothing. One table of position keys is shared by all layers and heads.

References:
  Sukhbaatar et al., "Adaptive Attention Span in Transformers", 2019.
  Dai et al., "Transformer-XL: Attentive Language Models Beyond a Fixed-Length Context", 2019, section 3.2.
"""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float, Int

from efficient_attn.models.decoder_config import DecoderConfig
from efficient_attn.nn.cache import Cache, empty_cache, slots
from efficient_attn.nn.dropout import drop
from efficient_attn.nn.embedding import Embedding, RotaryPositions
from efficient_attn.nn.feedforward import FeedForward
from efficient_attn.nn.initializers import Initialization
from efficient_attn.nn.segment_block import SegmentAttentionBlock, SegmentBlock, SegmentFeedForwardBlock
from efficient_attn.nn.span_attention import AdaptiveSpan, SpanAttention
from efficient_attn.nn.stack import checkpointed
from efficient_attn.nn.sublayers import Unit, sandwich_order, units
from efficient_attn.patterns.algebra import Pattern
from efficient_attn.patterns.local import Causal, Window

Memory = dict[str, Any]
"""``layers``: for each layer with an attention ``inputs`` [B, M, D] and ``known`` [B], how many of them there are, the newest;
``last`` [B]: the token read last; ``begun`` [B]: whether any was. All lead with the batch axis, as a carry must."""


class Reading(NamedTuple):
    """What reading a segment gives."""

    logits: Float[Array, "B T V"]
    penalty: Float[Array, "B T"]
    """Of the spans, for each token: ``coefficient`` times their mean over heads, summed over layers."""
    memory: Memory


_DEFAULTS = {field.name: field.default for field in dataclasses.fields(DecoderConfig)}


class SegmentDecoder(nnx.Module):
    """A language model of texts of any length: each token's distribution given those before it.

    Args:
      config: sizes and choices; its ``attention`` is an AdaptiveSpan. Its ``positions`` have no part in the model.
      limits: tokens that each attention sees in decoding; None: the attention's limit. Elsewhere the memory decides.
      key: randomness of the initial parameters.
    """

    def __init__(self, config: DecoderConfig, *, limits: tuple[int, ...] | None = None, key: jax.Array):
        if not isinstance(config.attention, AdaptiveSpan):
            raise ValueError(f"SegmentDecoder needs attention=AdaptiveSpan(...), got {config.attention}")
        unused = {name: getattr(config, name) for name in ("value_width", "ff_stretch", "logits_stretch")}
        if config.residual != "plain" or any(value is not None for value in unused.values()):
            raise ValueError(
                f"SegmentDecoder has residual='plain' and none of {', '.join(unused)}, got {config.residual!r} and {unused}"
            )
        plain = ("ff_bias", "slot_positions", "norm_kind")
        if changed := {name: getattr(config, name) for name in plain if getattr(config, name) != _DEFAULTS[name]}:
            raise ValueError(f"SegmentDecoder has the defaults of {', '.join(plain)}, got {changed}")
        self.config = config
        self.units = _units(config)
        self.limits = (config.attention.limit,) * attentions(config) if limits is None else limits
        init = Initialization(config.initialization, config.depth)
        embedding_key, table_key, stack_key, norm_key = jax.random.split(key, 4)
        self.embedding = Embedding(
            config.vocab, config.width, RotaryPositions(), config.logits, init, rngs=nnx.Rngs(embedding_key)
        )
        size = config.query_width // config.heads
        # The published deviation.
        self.position_keys = nnx.Param(jax.random.normal(table_key, (size, config.attention.limit), jnp.float32))
        keys = jax.random.split(stack_key, len(self.units))
        made = zip(self.units, keys, strict=True)
        self.layers = nnx.List([_block(config, unit, init, nnx.Rngs(k)) for unit, k in made])
        self.final_norm = (
            nnx.LayerNorm(config.width, epsilon=1e-5, rngs=nnx.Rngs(norm_key)) if config.norm == "pre" else None
        )

    def __call__(self, tokens: Int[Array, "B T"], memory: Memory, key: jax.Array | None = None) -> Reading:
        """Reads the next segment.

        Args:
          tokens: the segment itself; the shift to the right happens here.
          memory: of the segments before it; each layer looks as far back as it holds.
          key: randomness of the dropout; None is without.

        Cost: O(B T M) products of heads and O(B N T M) memory in a layer that holds ``M`` tokens.
        """
        count = len(self.units) + 1
        keys = [None] * count if key is None else list(jax.random.split(key, count))
        before = jnp.concatenate([memory["last"][:, None], tokens[:, :-1]], axis=1)
        x = drop(self.embedding.continued(before, ~memory["begun"]), self.config.dropout, keys.pop())
        penalty, held = jnp.zeros(tokens.shape, jnp.float32), []
        read = checkpointed(lambda block, *args: block(*args), self.config.remat)
        memories = iter(memory["layers"])
        for unit, layer, layer_key in zip(self.units, self.layers, keys, strict=True):
            if unit == "f":
                x = read(layer, x, layer_key)
                continue
            layer_memory = next(memories)
            held.append(_remember(layer_memory, x))
            x, cost = read(layer, x, layer_memory, self.position_keys[...], layer_key)
            penalty = penalty + cost
        after = {"layers": held, "last": tokens[:, -1], "begun": jnp.ones_like(memory["begun"])}
        return Reading(self._logits(x), penalty, after)

    def init_cache(self, batch: int, length: int) -> list[Cache]:
        """An empty cache for decoding up to ``length`` tokens: only slots that the limits can still use."""
        first = next(layer for unit, layer in zip(self.units, self.layers, strict=True) if unit != "f")
        sizes, dtype = first.attention.sizes, jnp.dtype(self.config.precision.compute)
        return [
            empty_cache(slots(_seen(limit), length)[1], batch, self.config.value_heads, sizes, dtype)
            for limit in self.limits
        ]

    def step(
        self, token: Int[Array, " B"], position: Int[Array, ""], caches: list[Cache], length: int
    ) -> tuple[Float[Array, "B V"], list[Cache]]:
        """Logits of the token at ``position`` given the token before it and the cache of all earlier ones.

        Args:
          token: the token at ``position - 1``; any value at position 0.
          position: which token is predicted.
          caches: what ``init_cache`` or the step before gave.
          length: as in ``init_cache``.

        Returns:
          Logits, equal to that row of ``__call__`` on the whole text, and the new cache.
        """
        x = self.embedding.one(token, position)
        after, held = [], iter(zip(caches, self.limits, strict=True))
        for unit, layer in zip(self.units, self.layers, strict=True):
            if unit == "f":
                x = layer(x, None)
                continue
            cache, limit = next(held)
            slot = jnp.asarray(slots(_seen(limit), length)[0])[position]
            x, cache = layer.step(x, cache, position, slot, self.position_keys[...][:, :limit])
            after.append(cache)
        return self._logits(x)[:, 0], after

    def _logits(self, x: Float[Array, "B T D"]) -> Float[Array, "B T V"]:
        x = x if self.final_norm is None else self.final_norm(x)
        return self.embedding.logits(x.astype(jnp.dtype(self.config.precision.compute)))


def empty_memory(config: DecoderConfig, limits: tuple[int, ...], batch: int) -> Memory:
    """The memory before the first segment, with room for so many tokens in each layer with an attention."""
    dtype = jnp.dtype(config.precision.compute)
    layers = [
        {"inputs": jnp.zeros((batch, limit, config.width), dtype), "known": jnp.zeros(batch, jnp.int32)}
        for limit in limits
    ]
    return {"layers": layers, "last": jnp.zeros(batch, jnp.int32), "begun": jnp.zeros(batch, bool)}


def forget(memory: Memory, rows: Bool[Array, " B"]) -> Memory:
    """The memory with nothing known in ``rows``: there another text begins."""
    layers = [layer | {"known": jnp.where(rows, 0, layer["known"])} for layer in memory["layers"]]
    return memory | {"layers": layers, "begun": memory["begun"] & ~rows}


def resize(memory: Memory, limits: tuple[int, ...]) -> Memory:
    """The memory with room for ``limits`` tokens: the oldest are dropped, or empty slots put before them."""
    return memory | {"layers": [_resized(layer, limit) for layer, limit in zip(memory["layers"], limits, strict=True)]}


def initial_limits(config: DecoderConfig) -> tuple[int, ...]:
    """``limits_of`` the initial parameters, whose learned spans are 0."""
    return (config.attention.limit_of(np.zeros(1)),) * attentions(config)


def attentions(config: DecoderConfig) -> int:
    """How many layers have an attention."""
    return sum(unit != "f" for unit in _units(config))


def limits_of(config: DecoderConfig, params: Any) -> tuple[int, ...]:
    """Tokens that the memory of each layer must hold so that its spans lose nothing.

    Args:
      config: of a SegmentDecoder.
      params: its parameters, not traced.

    Cost: a transfer of all spans from the device.
    """
    learned = jax.device_get([layer["attention"].get("span") for _, layer in _layers(params)])
    return tuple(config.attention.limit_of(None if share is None else np.asarray(share)) for share in learned)


def clamp_spans(params: Any) -> Any:
    """The parameters with learned spans between 0 and the limit: what must follow every update."""
    clamped = {
        n: layer | {"attention": layer["attention"] | {"span": jnp.clip(layer["attention"]["span"], 0, 1)}}
        for n, layer in _layers(params)
        if "span" in layer["attention"]
    }
    return params | {"layers": params["layers"] | clamped}


def mean_spans(config: DecoderConfig, params: Any) -> list[float] | None:
    """The mean span of each attention in tokens; None where spans depend on the tokens."""
    if config.attention.spans == "tokens":
        return None
    limit = float(config.attention.limit)
    if config.attention.spans == "fixed":
        return [limit] * attentions(config)
    return [limit * float(np.mean(layer["attention"]["span"])) for _, layer in _layers(params)]


def multiply_adds(config: DecoderConfig, span: float, ff_width: int | None = None) -> float:
    """Multiply-adds to predict a token, as the paper counts them: ``L (4 D^2 + 2 D F + 2 s D) + V D``; in other orders as many of
    each sublayer as there are.

    Args:
      config: sizes.
      span: mean over heads and layers, in tokens; scores by position are not counted.
      ff_width: ``F``; None: the config's. The paper counts its large model's as ``4 D``.
    """
    width = config.width
    hidden = config.hidden_width if ff_width is None else ff_width
    looks, feeds = attentions(config), sum(unit != "s" for unit in _units(config))
    return looks * (4 * width**2 + 2 * span * width) + feeds * 2 * width * hidden + config.vocab * width


def _units(config: DecoderConfig) -> tuple[Unit, ...]:
    return units(sandwich_order(config.depth, 0) if config.order is None else config.order)


def _block(
    config: DecoderConfig, unit: Unit, init: Initialization, rngs: nnx.Rngs
) -> SegmentBlock | SegmentFeedForwardBlock:
    if unit == "f":
        feedforward = _feedforward(config, init, rngs)
        feedforward.dropout = config.attention.dropout
        return SegmentFeedForwardBlock(feedforward, config.norm, config.width, config.dropout, rngs=rngs)
    attention = SpanAttention(
        config.width,
        config.heads,
        config.value_heads,
        config.query_width,
        init,
        config.precision,
        mechanism=config.attention,
        bias=config.attention_bias,
        rngs=rngs,
    )
    if unit == "s":
        return SegmentAttentionBlock(attention, config.norm, config.width, config.dropout, rngs=rngs)
    feedforward = _feedforward(config, init, rngs)
    return SegmentBlock(attention, feedforward, config.norm, config.width, config.dropout, rngs=rngs)


def _feedforward(config: DecoderConfig, init: Initialization, rngs: nnx.Rngs) -> FeedForward:
    return FeedForward(config.width, config.hidden_width, config.activation, init, config.precision, rngs=rngs)


def _layers(params: Any) -> list[tuple[Any, Any]]:
    """Name and parameters of each layer with an attention, in order; a name is its number, which a checkpoint returns as text."""
    found = ((name, layer) for name, layer in params["layers"].items() if "attention" in layer)
    return sorted(found, key=lambda named: int(named[0]))


def _seen(limit: int) -> Pattern:
    return Causal() & Window(left=limit)


def _remember(layer: dict[str, jax.Array], x: Float[Array, "B T D"]) -> dict[str, jax.Array]:
    """A layer's memory after it has read ``x``."""
    held = layer["inputs"].shape[1]
    both = jnp.concatenate([layer["inputs"], jax.lax.stop_gradient(x).astype(layer["inputs"].dtype)], axis=1)
    return {"inputs": both[:, -held:], "known": jnp.minimum(layer["known"] + x.shape[1], held)}


def _resized(layer: dict[str, jax.Array], limit: int) -> dict[str, jax.Array]:
    inputs = layer["inputs"]
    missing = max(0, limit - inputs.shape[1])
    inputs = jnp.pad(inputs, ((0, 0), (missing, 0), (0, 0)))[:, -limit:]
    return {"inputs": inputs, "known": jnp.minimum(layer["known"], limit)}
