"""A decoder-only Transformer over any causal pattern: the dense baseline, the Sparse Transformer and Image GPT.

References:
  Child, Gray, Radford, Sutskever, "Generating Long Sequences with Sparse Transformers", 2019, sections 5 and 6.
  Chen, Radford, Child, Wu, Jun, Luan, Sutskever, "Generative Pretraining from Pixels", 2020, section 2 and released code.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Int

from efficient_attn.models.decoder_config import DecoderConfig
from efficient_attn.nn.attention import Attention
from efficient_attn.nn.banded_embedding import BandedEmbedding
from efficient_attn.nn.block import AttentionBlock, Block, FeedForwardBlock
from efficient_attn.nn.cache import cache_for, slots
from efficient_attn.nn.dropout import drop
from efficient_attn.nn.embedding import (
    Embedding,
    rotary_base,
)
from efficient_attn.nn.feedforward import FeedForward
from efficient_attn.nn.initializers import Initialization
from efficient_attn.nn.mechanisms import MODULES
from efficient_attn.nn.moe import MoE, Routed
from efficient_attn.nn.norm import make_norm
from efficient_attn.nn.reversible_stack import ReversibleStack
from efficient_attn.nn.routed_block import RoutedBlock, add_routed
from efficient_attn.nn.stack import Stack
from efficient_attn.nn.sublayer_stack import AnyCaches, MakeBlock, SublayerStack, ordered
from efficient_attn.nn.sublayers import Unit
from efficient_attn.sharding import STREAM, constrain, fitting


def _stack(config: DecoderConfig, make_block: MakeBlock, key: jax.Array) -> Stack | SublayerStack:
    if config.residual == "reversible":
        make_pair = functools.partial(make_block, "sf")
        return ReversibleStack(make_pair, config.depth, config.cycle, config.remat, key)
    return ordered(make_block, config.order, config.depth, config.cycle, config.remat, key)


def _embedding(config: DecoderConfig, init: Initialization, rngs: nnx.Rngs) -> Embedding:
    if config.bands is not None:
        return BandedEmbedding(config.bands, config.vocab, config.width, config.positions, init, rngs=rngs)
    ends = (config.vocab, config.width, config.positions, config.logits, init)
    return Embedding(*ends, streams=config.streams, slots=config.slot_positions, rngs=rngs)


class Decoder(nnx.Module):
    """A language model: each token's distribution given those before it."""

    def __init__(self, config: DecoderConfig, *, key: jax.Array):
        if type(config.attention) not in MODULES:
            raise ValueError(f"{type(config.attention).__name__} has a decoder of its own; see decoder_of")
        self.config = config
        init = Initialization(config.initialization, config.depth)
        embedding_key, stack_key, norm_key = jax.random.split(key, 3)

        def attention(place: int, rngs: nnx.Rngs) -> Attention:
            make = MODULES[type(config.attention)](config.attention, place % len(config.attention.parsed()))
            made = make(
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
            if config.attention_dropout:
                made.dropout = config.attention_dropout
            return made

        sizes = (config.width, config.hidden_width, config.activation, init, config.precision)
        norms = {"norm": config.norm, "width": config.width, "norm_kind": config.norm_kind}

        def feedforward(rngs: nnx.Rngs) -> FeedForward:
            made = FeedForward(*sizes, stretch=config.ff_stretch, bias=config.ff_bias, rngs=rngs)
            made.dropout = config.ff_dropout
            return made

        def make_block(unit: Unit, place: int, rngs: nnx.Rngs) -> Block:
            if unit == "s":
                return AttentionBlock(attention(place, rngs), **norms, rngs=rngs)
            if unit == "f":
                return FeedForwardBlock(feedforward(rngs), **norms, rngs=rngs)
            if config.experts is not None and config.experts.at(place):
                mixture = MoE(config.experts, *sizes, rngs=rngs)
                return RoutedBlock(attention(place, rngs), mixture, **norms, rngs=rngs)
            return Block(attention(place, rngs), feedforward(rngs), **norms, rngs=rngs)

        self.embedding = _embedding(config, init, nnx.Rngs(embedding_key))
        self.stack = _stack(config, make_block, stack_key)
        self.final_norm = (
            make_norm(config.norm_kind, config.streams * config.width, 1e-5, nnx.Rngs(norm_key))
            if config.norm == "pre" and config.final_norm
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
        x = drop(self.embedding.shifted(tokens), self.config.dropout, keys[0])
        return constrain(x, fitting(STREAM, x.shape)), keys[1]

    def init_cache(self, batch: int, length: int) -> AnyCaches:
        """An empty cache for decoding up to ``length`` tokens: only slots that the patterns can still use."""
        self.config.check_context(length)
        return self.stack.init_caches(
            lambda layer, pattern: cache_for(pattern, length, lambda count: layer.empty_cache(batch, count))
        )

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

    def logits(self, x: Float[Array, "B T width"], key: jax.Array | None = None) -> Float[Array, "B T V"]:
        """Logits from the end of the residual stream or streams, each token's from its own row; ``key`` as in ``__call__``."""
        x = x if self.final_norm is None else self.final_norm(x)
        return self.embedding.logits(x.astype(jnp.dtype(self.config.precision.compute)), key)
