"""Which attention a model has: the type of its config's ``attention`` field, and the module of each such type."""

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, get_args

from efficient_attn.nn.attention import Attention, SelfAttention
from efficient_attn.nn.block_linformer_attention import BlockLinformer, BlockLinformerAttention
from efficient_attn.nn.entmax_attention import EntmaxAttention
from efficient_attn.nn.linformer_attention import NOT_CAUSAL, Linformer
from efficient_attn.nn.lsh_attention import Hashing, LSHAttention
from efficient_attn.nn.recurrent_mixing import Recurrent, RecurrentMixing
from efficient_attn.nn.relative_attention import Relative, RelativeAttention
from efficient_attn.nn.span_attention import AdaptiveSpan
from efficient_attn.nn.sparse import Sparse
from efficient_attn.nn.synthesizer_attention import Synthesizer, SynthesizerAttention
from efficient_attn.nn.turns import parse_turns
from efficient_attn.patterns.algebra import Pattern


@dataclasses.dataclass(frozen=True, kw_only=True)
class AdaptivelySparse(Sparse):
    """Attention with alpha-entmax weights over the same kind of patterns (Correia et al. 2019)."""

    alpha: float | None = None
    """1.5 and 2 are the published fixed ones; None: learned, one for each head of each layer."""

    def __post_init__(self):
        super().__post_init__()
        if self.alpha is not None and not 1.0 <= self.alpha < math.inf:
            raise ValueError(f"alpha must be at least 1 (the softmax), or None to learn it; got {self.alpha}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class LSH(Hashing):
    """Reformer's attention among tokens with similar queries, alone or in turn with layers of local attention."""

    layers: tuple[str, ...] = ("lsh",)
    """A cycle: each entry is ``lsh`` or the pattern of a layer of ordinary attention, as ``Causal() & NearChunks(128)``."""

    def __post_init__(self):
        super().__post_init__()
        self.parsed()

    def parsed(self) -> tuple[Pattern, ...]:
        """The pattern of each layer of the cycle; that of LSH attention is ``Causal()``."""
        return parse_turns("LSH", "lsh", self.layers)

    @property
    def longest(self) -> None:
        """Any number of tokens will do."""
        return None


Mechanism = Sparse | Relative | AdaptivelySparse | Synthesizer | AdaptiveSpan | LSH | Recurrent | BlockLinformer

# What makes the attention at a place of the cycle of a ``Decoder``, from the arguments of ``SelfAttention``. ``AdaptiveSpan`` has a
# decoder of its own, since it carries a memory from one segment to the next.
MODULES: Mapping[type, Callable[[Any, int], Callable[..., Attention]]] = MappingProxyType(
    {
        Sparse: lambda mechanism, place: SelfAttention,
        Relative: lambda mechanism, place: RelativeAttention,
        AdaptivelySparse: lambda mechanism, place: functools.partial(EntmaxAttention, alpha=mechanism.alpha),
        Synthesizer: lambda mechanism, place: functools.partial(SynthesizerAttention, mechanism=mechanism),
        LSH: lambda mechanism, place: (
            functools.partial(LSHAttention, hashing=mechanism) if mechanism.layers[place] == "lsh" else SelfAttention
        ),
        BlockLinformer: lambda mechanism, place: functools.partial(BlockLinformerAttention, rule=mechanism),
        Recurrent: lambda mechanism, place: (
            functools.partial(RecurrentMixing, cell=mechanism.cell)
            if mechanism.layers[place] == "recurrent"
            else SelfAttention
        ),
    }
)


def check_causal(mechanism: Any) -> None:
    """A ValueError if a mechanism is none of a decoder's."""
    if not isinstance(mechanism, Mechanism):
        reason = (
            f": {NOT_CAUSAL}; {BlockLinformer.__name__} is its causal relative"
            if isinstance(mechanism, Linformer)
            else ""
        )
        known = ", ".join(kind.__name__ for kind in get_args(Mechanism))
        raise ValueError(f"a decoder's attention is one of {known}; got {type(mechanism).__name__}{reason}")


# Mechanisms whose tokens need more of the sequence than a device of a sharded one has.
_WHOLE = (AdaptivelySparse, Synthesizer, AdaptiveSpan, Recurrent, Linformer, BlockLinformer)


def check_sequence(mechanism: Any, heads: int, model: int, sequence: int) -> None:
    """Raises where a sequence cannot be split over ``sequence`` devices of each of the ``model`` that share the heads.

    Raises:
      ValueError: with the field of the mesh, and the numbers.
    """
    name = type(mechanism).__name__
    if sequence > 1 and isinstance(mechanism, _WHOLE):
        raise ValueError(f"{name} needs whole sequences on every device: mesh.sequence must be 1, got {sequence}")
    if sequence > 1 and isinstance(mechanism, LSH) and heads % (model * sequence):
        raise ValueError(
            f"{name} takes whole sequences, of a few heads on each device: mesh.model * mesh.sequence must divide the {heads} "
            f"heads, got {model} * {sequence}"
        )
