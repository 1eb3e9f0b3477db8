"""The stacks of an encoder-decoder: which blocks its config asks for, and in which order."""

from collections.abc import Callable
from typing import Any

import jax
from flax import nnx

from efficient_attn.models.seq2seq_config import Seq2SeqConfig
from efficient_attn.nn.attention import Attention
from efficient_attn.nn.feedforward import NETWORKS, FeedForward
from efficient_attn.nn.initializers import Initialization
from efficient_attn.nn.moe import MoE, cycle_of
from efficient_attn.nn.routed_text_block import RoutedCrossBlock, RoutedTextBlock
from efficient_attn.nn.seq2seq_mechanisms import CROSS_MODULES, OWN_MODULES
from efficient_attn.nn.stack import Stack
from efficient_attn.nn.sublayer_stack import SublayerStack, ordered
from efficient_attn.nn.sublayers import Unit
from efficient_attn.nn.text_block import CrossBlock, TextBlock
from efficient_attn.nn.text_halves import CrossAttentionBlock, TextAttentionBlock, TextFeedForwardBlock


def encoder_stack(config: Seq2SeqConfig, key: jax.Array) -> Stack | SublayerStack:
    """The blocks of the encoder."""
    init, kind = Initialization(config.initialization, config.encoder_depth), config.encoder_attention

    def make(unit: Unit, place: int, rngs: nnx.Rngs) -> TextBlock:
        if unit == "f":
            return _alone(config, init, rngs)
        attention = _attention(config, OWN_MODULES[type(kind)](kind), init, rngs)
        if unit == "s":
            return TextAttentionBlock(attention, **_norms(config), rngs=rngs)
        network = _feedforward(config, place, init, rngs)
        block = RoutedTextBlock if isinstance(network, MoE) else TextBlock
        return block(attention, network, **_norms(config), rngs=rngs)

    cycle = cycle_of(kind.parsed(), config.experts)
    return ordered(make, config.encoder_order, config.encoder_depth, cycle, config.remat, key)


def decoder_stack(config: Seq2SeqConfig, key: jax.Array) -> Stack | SublayerStack:
    """The blocks of the decoder."""
    init = Initialization(config.initialization, config.decoder_depth)
    own, cross = config.decoder_attention, config.cross_attention

    def make(unit: Unit, place: int, rngs: nnx.Rngs) -> CrossBlock | TextFeedForwardBlock:
        if unit == "f":
            return _alone(config, init, rngs)
        attention = _attention(config, OWN_MODULES[type(own)](own), init, rngs)
        look = _attention(config, CROSS_MODULES[type(cross)](cross), init, rngs)
        if unit == "s":
            return CrossAttentionBlock(attention, look, **_norms(config), rngs=rngs)
        network = _feedforward(config, place, init, rngs)
        block = RoutedCrossBlock if isinstance(network, MoE) else CrossBlock
        return block(attention, look, network, **_norms(config), rngs=rngs)

    cycle = cycle_of(own.parsed(), config.experts)
    return ordered(make, config.decoder_order, config.decoder_depth, cycle, config.remat, key)


def _alone(config: Seq2SeqConfig, init: Initialization, rngs: nnx.Rngs) -> TextFeedForwardBlock:
    return TextFeedForwardBlock(_feedforward(config, 0, init, rngs), **_norms(config), rngs=rngs)


def _attention(config: Seq2SeqConfig, make: Callable[..., Any], init: Initialization, rngs: nnx.Rngs) -> Attention:
    sizes = (config.width, config.heads, config.heads, config.heads_width)
    formats = {"value_width": config.heads_width, "bias": config.attention_bias}
    formats["scale"] = None if config.products == "scaled" else 1.0
    return make(*sizes, init, config.precision, **formats, rngs=rngs)


def _feedforward(config: Seq2SeqConfig, place: int, init: Initialization, rngs: nnx.Rngs) -> FeedForward | MoE:
    sizes = (config.width, config.ff_width, config.activation, init, config.precision)
    if config.experts is not None and config.experts.at(place):
        return MoE(config.experts, *sizes, rngs=rngs)
    return NETWORKS[config.ff_network](*sizes, bias=config.ff_bias, rngs=rngs)


def _norms(config: Seq2SeqConfig) -> dict[str, Any]:
    kind = {"epsilon": config.norm_epsilon, "norm_kind": config.norm_kind}
    return {"norm": config.norm, "width": config.width} | kind
