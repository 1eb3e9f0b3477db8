"""Which attention a model has: the type of its config's ``attention`` field, and the module of each such type."""

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from efficient_attn.nn.attention import SelfAttention
from efficient_attn.nn.entmax_attention import EntmaxAttention
from efficient_attn.nn.span_attention import AdaptiveSpan
from efficient_attn.nn.sparse import Sparse
from efficient_attn.nn.synthesizer_attention import Synthesizer, SynthesizerAttention


@dataclasses.dataclass(frozen=True, kw_only=True)
class AdaptivelySparse(Sparse):
    """Attention with alpha-entmax weights over the same kind of patterns (Correia et al. 2019)."""

    alpha: float | None = None
    """1.5 and 2 are the published fixed ones; None: learned, one for each head of each layer."""

    def __post_init__(self):
        super().__post_init__()
        if self.alpha is not None and not 1.0 <= self.alpha < math.inf:
            raise ValueError(f"alpha must be at least 1 (the softmax), or None to learn it; got {self.alpha}")


Mechanism = Sparse | AdaptivelySparse | Synthesizer | AdaptiveSpan

# What makes the attention of one layer of a ``Decoder``, from the arguments of ``SelfAttention``. ``AdaptiveSpan`` has a decoder of
# its own, since it carries a memory from one segment to the next.
MODULES: Mapping[type, Callable[[Any], Callable[..., SelfAttention]]] = MappingProxyType(
    {
        Sparse: lambda mechanism: SelfAttention,
        AdaptivelySparse: lambda mechanism: functools.partial(EntmaxAttention, alpha=mechanism.alpha),
        Synthesizer: lambda mechanism: functools.partial(SynthesizerAttention, mechanism=mechanism),
    }
)
