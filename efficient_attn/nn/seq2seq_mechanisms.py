"""Which attentions an encoder-decoder has at each of its three places, and the module of each type."""

import functools
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from efficient_attn.nn.attention import SelfAttention
from efficient_attn.nn.entmax_attention import EntmaxAttention
from efficient_attn.nn.mechanisms import AdaptivelySparse
from efficient_attn.nn.sparse import Sparse
from efficient_attn.nn.synthesizer_attention import Synthesizer, SynthesizerAttention
from efficient_attn.patterns.algebra import Full

SeqMechanism = Sparse | AdaptivelySparse | Synthesizer
PackableAttention = SelfAttention | SynthesizerAttention

# Of the tokens of a text among themselves, in encoder and decoder, from the arguments of ``SelfAttention``.
OWN_MODULES: Mapping[type, Callable[[Any], Callable[..., PackableAttention]]] = MappingProxyType(
    {
        Sparse: lambda mechanism: SelfAttention,
        AdaptivelySparse: lambda mechanism: functools.partial(EntmaxAttention, alpha=mechanism.alpha),
        Synthesizer: lambda mechanism: functools.partial(SynthesizerAttention, mechanism=mechanism),
    }
)
# Of a target's tokens to those of its source.
CROSS_MODULES: Mapping[type, Callable[[Any], Callable[..., SelfAttention]]] = MappingProxyType(
    {kind: OWN_MODULES[kind] for kind in (Sparse, AdaptivelySparse)}
)


def check_own(mechanism: Any, field: str) -> None:
    """A ValueError if a mechanism cannot keep texts of one row apart, and decode them."""
    if type(mechanism) not in OWN_MODULES:
        raise ValueError(f"{field} must be one of {_names(OWN_MODULES)}, got {type(mechanism).__name__}")


def check_cross(mechanism: Any) -> None:
    """A ValueError if a mechanism cannot be a cross-attention."""
    if isinstance(mechanism, Synthesizer):
        raise ValueError(
            "cross_attention cannot be synthesized: scores made of positions, or of the asking token alone, know nothing of the "
            f"source; choose one of {_names(CROSS_MODULES)}"
        )
    if type(mechanism) not in CROSS_MODULES:
        raise ValueError(f"cross_attention must be one of {_names(CROSS_MODULES)}, got {type(mechanism).__name__}")
    if mechanism.parsed() != (Full(),):
        raise ValueError(
            "cross_attention sees all of the source, since positions of two texts are not of one order: its patterns must be "
            f"('Full()',), got {mechanism.patterns}"
        )


def _names(modules: Mapping[type, Any]) -> str:
    return ", ".join(kind.__name__ for kind in modules)
