"""A decoder-only Transformer over any causal pattern: the dense baseline, the Sparse Transformer and Image GPT.

References:
  Child, Gray, Radford, Sutskever, "Generating Long Sequences with Sparse Transformers", 2019, sections 5 and 6.
  Chen, Radford, Child, Wu, Jun, Luan, Sutskever, "Generative Pretraining from Pixels", 2020, section 2 and released code.
"""

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Int

from efficient_attn.nn.attention import Attention
from efficient_attn.nn.block import AttentionBlock, Block, FeedForwardBlock, NormPlace
from efficient_attn.nn.cache import slots
from efficient_attn.nn.dropout import drop
from efficient_attn.nn.embedding import (
    Embedding,
    PositionOf,
    Positions,
    RotaryPositions,
    check_length,
    rotary_base,
)
from efficient_attn.nn.feedforward import Activation, FeedForward
from efficient_attn.nn.initializers import Initialization, Scheme
from efficient_attn.nn.mechanisms import MODULES, Mechanism, Sparse, check_causal
from efficient_attn.nn.moe import Experts, MoE, Routed
from efficient_attn.nn.norm import NormKind, make_norm
from efficient_attn.nn.reversible_stack import ReversibleStack
from efficient_attn.nn.routed_block import RoutedBlock, add_routed
from efficient_attn.nn.span_attention import AdaptiveSpan
from efficient_attn.nn.stack import Remat, Stack
from efficient_attn.nn.sublayer_stack import AnyCaches, SublayerStack
from efficient_attn.nn.sublayers import Unit, check_order, sandwich_order
from efficient_attn.patterns.algebra import Pattern, PerHead
from efficient_attn.precision import Precision


@dataclasses.dataclass(frozen=True, kw_only=True)
class DecoderConfig:
    """Sizes and choices of a decoder."""

    depth: int
    """Residual blocks."""
    width: int
    """Size of the residual stream."""
    heads: int
    """Query heads."""
    key_heads: int | None = None
    """Key and value heads; None: as many as query heads."""
    qk_width: int | None = None
    """Size of all query heads together; None: ``width``."""
    value_width: int | None = None
    """Size of all value heads together, were there as many as query heads; None: ``width``."""
    ff_width: int | None = None
    """Size of the feed-forward's hidden layer; None: ``4 * width``."""
    experts: Experts | None = None
    """Layers whose feed-forward network is a mixture of experts; None: none is."""
    vocab: int = 256
    """Distinct tokens."""
    attention: Mechanism = dataclasses.field(default_factory=Sparse)
    """How tokens see each other: the type chooses the mechanism."""
    attention_bias: bool = True
    """Whether the projections of the attention add one."""
    ff_bias: bool = True
    """Whether the projections of the feed-forward add one; those of experts have none."""
    positions: Positions = RotaryPositions()
    slot_positions: PositionOf = "given"
    """Whose position a slot has: that of the token that goes in, or that of the token that is predicted from it."""
    norm: NormPlace = "pre"
    norm_kind: NormKind = "layer"
    order: str | None = None
    """Attentions and feed-forwards from bottom to top, as letters s and f with as many parameters as ``depth`` of each; None: in
    turn. See ``sandwich_order``, ``balanced_order`` and ``matched_order`` of ``nn.sublayers``."""
    residual: Literal["plain", "reversible"] = "plain"
    """``reversible``: two residual streams, side by side before the logits, whose activations the backward pass rebuilds."""
    activation: Activation = "quick_gelu"
    logits: Literal["untied_zero", "untied", "tied"] = "untied_zero"
    initialization: Scheme = "code"
    dropout: float = 0.0
    """Probability of dropping a feature of a sublayer's output, and of the embedding."""
    remat: Remat = "none"
    """What the backward pass recomputes; a reversible stack rebuilds all."""
    ff_stretch: int | None = None
    """Tokens whose feed-forward is computed at a time; None: all. It is recomputed in the backward pass."""
    logits_stretch: int | None = None
    """Tokens whose logits and loss are computed at a time; None: all. They are recomputed in the backward pass."""
    precision: Precision = Precision()

    def __post_init__(self):
        check_causal(self.attention)
        for name in ("depth", "width", "heads", "vocab"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not 0.0 <= self.dropout < 1.0:
            raise ValueError(f"dropout must be in [0, 1), got {self.dropout}")
        if self.width % self.heads or self.query_width % self.heads:
            raise ValueError(
                f"heads must divide width and qk_width, got heads={self.heads}, width={self.width}, qk_width={self.query_width}"
            )
        if self.heads % self.value_heads:
            raise ValueError(f"key_heads must divide heads, got key_heads={self.key_heads}, heads={self.heads}")
        self._check_choices()
        for pattern in self.attention.parsed():
            if isinstance(pattern, PerHead) and len(pattern.patterns) != self.heads:
                raise ValueError(
                    f"a PerHead pattern needs one pattern for each of {self.heads} heads, got {len(pattern.patterns)}"
                )

    def check_context(self, context: int) -> None:
        """A ValueError if a context is longer than the model has parameters for."""
        check_length(self.positions, context)
        longest = self.attention.longest
        if longest is not None and context > longest:
            raise ValueError(
                f"the {type(self.attention).__name__} has scores for {longest} tokens, got a context of {context}"
            )

    def _check_choices(self) -> None:
        if (self.width if self.value_width is None else self.value_width) % self.heads:
            raise ValueError(f"heads must divide value_width, got heads={self.heads}, value_width={self.value_width}")
        for name in ("ff_stretch", "logits_stretch"):
            if (stretch := getattr(self, name)) is not None and stretch < 1:
                raise ValueError(f"{name} must be at least 1 token, or None; got {stretch}")
        if self.order is not None:
            check_order(self.order, self.depth)
            if self.residual == "reversible" or isinstance(self.attention, AdaptiveSpan):
                raise ValueError(
                    "a reversible stack, and one with adaptive spans, has its sublayers in turn: order must be None"
                )
        if self.experts is not None and self.depth < self.experts.every:
            raise ValueError(f"no layer of {self.depth} is a mixture where every={self.experts.every}")
        mixable = (self.residual, self.ff_stretch, self.order) == ("plain", None, None) and type(
            self.attention
        ) in MODULES
        if self.experts is not None and not mixable:
            raise ValueError(
                "a mixture of experts needs residual='plain', ff_stretch=None, order=None and an attention without a memory, got "
                f"{self.residual!r}, {self.ff_stretch}, {self.order!r} and {type(self.attention).__name__}"
            )
        if self.residual == "reversible" and (self.norm != "pre" or self.remat != "none" or self.logits == "tied"):
            raise ValueError(
                "a reversible stack has norm='pre', remat='none' and untied logits, got "
                f"norm={self.norm!r}, remat={self.remat!r}, logits={self.logits!r}"
            )

    @property
    def cycle(self) -> tuple[Pattern, ...]:
        """The patterns of the layers, as often as it takes until mixtures of experts repeat too."""
        patterns = self.attention.parsed()
        every = 1 if self.experts is None else self.experts.every
        return patterns * (math.lcm(len(patterns), every) // len(patterns))

    @property
    def mixtures(self) -> int:
        """Layers that are mixtures of experts."""
        return 0 if self.experts is None else self.depth // self.experts.every

    @property
    def query_width(self) -> int:
        """``qk_width``, or its default."""
        return self.width if self.qk_width is None else self.qk_width

    @property
    def hidden_width(self) -> int:
        """``ff_width``, or its default."""
        return 4 * self.width if self.ff_width is None else self.ff_width

    @property
    def value_heads(self) -> int:
        """``key_heads``, or its default."""
        return self.heads if self.key_heads is None else self.key_heads


def _stack(
    config: DecoderConfig, make_block: Callable[[Unit, int, nnx.Rngs], Block], key: jax.Array
) -> Stack | SublayerStack:
    """The blocks; in the ordinary order, however that is written, a ``Stack``."""
    patterns = config.attention.parsed()
    if config.order is not None and config.order != sandwich_order(config.depth, 0):
        return SublayerStack(make_block, config.order, patterns, config.remat, key)
    make_stack = ReversibleStack if config.residual == "reversible" else Stack
    return make_stack(functools.partial(make_block, "sf"), config.depth, config.cycle, config.remat, key)


class Decoder(nnx.Module):
    """A language model: each token's distribution given those before it."""

    def __init__(self, config: DecoderConfig, *, key: jax.Array):
        if type(config.attention) not in MODULES:
            raise ValueError(f"{type(config.attention).__name__} has a decoder of its own; see decoder_of")
        self.config = config
        init = Initialization(config.initialization, config.depth)
        embedding_key, stack_key, norm_key = jax.random.split(key, 3)

        streams = 2 if config.residual == "reversible" else 1

        def attention(place: int, rngs: nnx.Rngs) -> Attention:
            return MODULES[type(config.attention)](config.attention, place % len(config.attention.parsed()))(
                config.width,
                config.heads,
                config.value_heads,
                config.query_width,
                init,
                config.precision,
                rotary=rotary_base(config.positions),
                value_width=config.value_width,
                bias=config.attention_bias,
                rngs=rngs,
            )

        sizes = (config.width, config.hidden_width, config.activation, init, config.precision)
        norms = {"norm": config.norm, "width": config.width, "norm_kind": config.norm_kind}

        def feedforward(rngs: nnx.Rngs) -> FeedForward:
            return FeedForward(*sizes, stretch=config.ff_stretch, bias=config.ff_bias, rngs=rngs)

        def make_block(unit: Unit, place: int, rngs: nnx.Rngs) -> Block:
            if unit == "s":
                return AttentionBlock(attention(place, rngs), **norms, rngs=rngs)
            if unit == "f":
                return FeedForwardBlock(feedforward(rngs), **norms, rngs=rngs)
            if config.experts is not None and (place + 1) % config.experts.every == 0:
                mixture = MoE(config.experts, *sizes, rngs=rngs)
                return RoutedBlock(attention(place, rngs), mixture, **norms, rngs=rngs)
            return Block(attention(place, rngs), feedforward(rngs), **norms, rngs=rngs)

        rngs = nnx.Rngs(embedding_key)
        ends = (config.vocab, config.width, config.positions, config.logits, init)
        self.embedding = Embedding(*ends, streams=streams, slots=config.slot_positions, rngs=rngs)
        self.stack = _stack(config, make_block, stack_key)
        self.final_norm = (
            make_norm(config.norm_kind, streams * config.width, 1e-5, nnx.Rngs(norm_key))
            if config.norm == "pre"
            else None
        )

    def __call__(self, tokens: Int[Array, "B T"], key: jax.Array | None = None) -> Float[Array, "B T V"]:
        """Logits of every token given the ones before it, float32.

        Args:
          tokens: the sequence itself; the shift to the right happens here.
          key: randomness of the dropout; None is without.

        Raises:
          ValueError: if the sequence is longer than the model's positions.
        """
        return self.logits(self.hidden(tokens, key))

    def hidden(
        self, tokens: Int[Array, "B T"], key: jax.Array | None = None, valid: Bool[Array, "B T"] | None = None
    ) -> Float[Array, "B T width"]:
        """What ``logits`` makes the logits of; arguments as in ``__call__``, and as in ``routed``."""
        if self.config.experts is not None:
            return self.routed(tokens, valid, key)[0]
        x, key = self._embedded(tokens, key)
        return self.stack(x, self.config.dropout, key)

    def routed(
        self, tokens: Int[Array, "B T"], valid: Bool[Array, "B T"] | None, key: jax.Array | None = None
    ) -> tuple[Float[Array, "B T width"], Routed]:
        """``hidden`` of a model with experts, and what was seen of routing; ``valid`` is False of padding, which is not routed."""
        x, key = self._embedded(tokens, key)
        dropout, nothing = self.config.dropout, Routed.nothing(self.config.experts.number)
        each = lambda block, pattern, state, key: add_routed(state, block, valid, pattern, dropout, key)  # noqa: E731
        return self.stack.run((x, nothing), key, each)

    def _embedded(
        self, tokens: Int[Array, "B T"], key: jax.Array | None
    ) -> tuple[Float[Array, "B T D"], jax.Array | None]:
        """The beginning of the residual stream, and the key of the stack."""
        self.config.check_context(tokens.shape[1])
        keys = (None, None) if key is None else jax.random.split(key)
        return drop(self.embedding.shifted(tokens), self.config.dropout, keys[0]), keys[1]

    def init_cache(self, batch: int, length: int) -> AnyCaches:
        """An empty cache for decoding up to ``length`` tokens: only slots that the patterns can still use."""
        self.config.check_context(length)
        return self.stack.init_caches(lambda layer, pattern: layer.empty_cache(batch, slots(pattern, length)[1]))

    def step(
        self, token: Int[Array, " B"], position: Int[Array, ""], caches: Any, length: int
    ) -> tuple[Float[Array, "B V"], AnyCaches]:
        """Logits of the token at ``position`` given the token before it and the cache of all earlier ones.

        Args:
          token: the token at ``position - 1``; any value at position 0.
          position: which token is predicted.
          caches: what ``init_cache`` or the step before gave.
          length: as in ``init_cache``.

        Returns:
          Logits, equal to that row of ``__call__`` (with experts: where they had room for every choice), and the new cache.

        Cost: a product with each parameter, and attention over the slots of the cache.
        """
        x = self.embedding.one(token, position)
        now = tuple(jnp.asarray(slots(p, length)[0])[position] for p in self.config.cycle)
        x, caches = self.stack.step(x, caches, position, now)
        return self.logits(x)[:, 0], caches

    def logits(self, x: Float[Array, "B T width"]) -> Float[Array, "B T V"]:
        """Logits from the end of the residual stream or streams, each token's from its own row."""
        x = x if self.final_norm is None else self.final_norm(x)
        return self.embedding.logits(x.astype(jnp.dtype(self.config.precision.compute)))
