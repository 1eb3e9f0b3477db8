"""Which attention an encoder has: the type of its config's ``attention`` field, and the module of each such type."""

import functools
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from flax import nnx
from jaxtyping import Array, Bool, Int

from efficient_attn.nn.bigbird_attention import BigBird, BigBirdAttention
from efficient_attn.nn.encoder_attention import EncoderAttention
from efficient_attn.nn.initializers import Initialization
from efficient_attn.nn.linformer_attention import Linformer, LinformerAttention
from efficient_attn.nn.longformer_attention import Longformer, LongformerAttention
from efficient_attn.nn.sparse import Sparse
from efficient_attn.precision import Precision

EncoderMechanism = Sparse | Longformer | BigBird | Linformer

# What makes the attention at a place of the cycle, which is as long as the mechanism's ``parsed()``, from the arguments
# ``(width, heads, init, precision, *, dropout, rngs)``; ``EncoderAttention`` says what it is called with.
ENCODER_MODULES: Mapping[type, Callable[[Any, int], Callable[..., nnx.Module]]] = MappingProxyType(
    {
        Sparse: lambda mechanism, place: functools.partial(EncoderAttention, pattern=mechanism.parsed()[place]),
        Longformer: lambda mechanism, place: functools.partial(LongformerAttention, longformer=mechanism, layer=place),
        BigBird: lambda mechanism, place: functools.partial(BigBirdAttention, bigbird=mechanism, layer=place),
        Linformer: lambda mechanism, place: functools.partial(LinformerAttention, linformer=mechanism, layer=place),
    }
)


def default_globals(mechanism: EncoderMechanism, head: str, tokens: Int[Array, "B T"]) -> Bool[Array, "B T"] | None:
    """The global tokens of texts where none are named; None: there are none."""
    return mechanism.default_globals(head, tokens) if isinstance(mechanism, Longformer) else None


def common_projection(
    mechanism: EncoderMechanism, width: int, heads: int, init: Initialization, precision: Precision, rngs: nnx.Rngs
) -> nnx.Param | None:
    """The projection that all layers share, with which each is called; None: each has what it needs."""
    if not isinstance(mechanism, Linformer) or mechanism.sharing != "layerwise":
        return None
    return mechanism.draw(0, heads, width // heads, init, precision, rngs)
