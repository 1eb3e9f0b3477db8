"""Which attention an encoder has: the type of its config's ``attention`` field, and the module of each such type."""

import functools
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from flax import nnx
from jaxtyping import Array, Bool, Int

from efficient_attn.nn.encoder_attention import EncoderAttention
from efficient_attn.nn.longformer_attention import Longformer, LongformerAttention
from efficient_attn.nn.sparse import Sparse

EncoderMechanism = Sparse | Longformer

# What makes the attention at a place of the cycle, which is as long as the mechanism's ``parsed()``, from the arguments
# ``(width, heads, init, precision, *, dropout, rngs)``; ``EncoderAttention`` says what it is called with.
ENCODER_MODULES: Mapping[type, Callable[[Any, int], Callable[..., nnx.Module]]] = MappingProxyType(
    {
        Sparse: lambda mechanism, place: functools.partial(EncoderAttention, pattern=mechanism.parsed()[place]),
        Longformer: lambda mechanism, place: functools.partial(LongformerAttention, longformer=mechanism, layer=place),
    }
)


def default_globals(mechanism: EncoderMechanism, head: str, tokens: Int[Array, "B T"]) -> Bool[Array, "B T"] | None:
    """The global tokens of texts where none are named; None: there are none."""
    return mechanism.default_globals(head, tokens) if isinstance(mechanism, Longformer) else None
