"""What a decoder is made of: its sizes, its attention, and which choices go together."""

import dataclasses
from typing import Literal

from efficient_attn.nn.banded_embedding import Bands
from efficient_attn.nn.block import NormPlace
from efficient_attn.nn.embedding import NoPositions, PositionOf, Positions, RotaryPositions, check_length
from efficient_attn.nn.feedforward import Activation
from efficient_attn.nn.initializers import Scheme
from efficient_attn.nn.mechanisms import MODULES, Mechanism, Relative, Sparse, check_causal
from efficient_attn.nn.moe import Experts, cycle_of
from efficient_attn.nn.norm import NormKind
from efficient_attn.nn.stack import Remat
from efficient_attn.nn.sublayers import check_order
from efficient_attn.patterns.algebra import Pattern, PerHead
from efficient_attn.precision import Precision

# Fields that decide what the backward pass computes again: the same parameters may be used with others.
RECOMPUTED = ("remat", "ff_stretch", "logits_stretch")


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
    final_norm: bool = True
    """Whether the residual stream ends with one more norm where ``norm`` is "pre"."""
    norm_kind: NormKind = "layer"
    order: str | None = None
    """Attentions and feed-forwards from bottom to top, as letters s and f with as many parameters as ``depth`` of each; None: in
    turn. See ``sandwich_order``, ``balanced_order`` and ``matched_order`` of ``nn.sublayers``."""
    residual: Literal["plain", "reversible"] = "plain"
    """``reversible``: two residual streams, side by side before the logits, whose activations the backward pass rebuilds."""
    activation: Activation = "quick_gelu"
    logits: Literal["untied_zero", "untied", "tied"] = "untied_zero"
    bands: Bands | None = None
    """For a vocabulary of words: rarer ones have fewer features, at both ends of the model; None: all have ``width``."""
    initialization: Scheme = "code"
    dropout: float = 0.0
    """Probability of dropping a feature of a sublayer's output, and of the embedding."""
    attention_dropout: float = 0.0
    """Probability of dropping an attention weight."""
    ff_dropout: float = 0.0
    """Probability of dropping a feature of the feed-forward's hidden layer."""
    remat: Remat = "none"
    """What the backward pass recomputes: nothing, whole blocks, or all but matrix ``"products"``, which ``"offloaded"`` keeps in
    the memory of the host; a reversible stack rebuilds all."""
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

    def _check_dropout(self) -> None:
        for name in ("dropout", "attention_dropout", "ff_dropout"):
            if not 0.0 <= getattr(self, name) < 1.0:
                raise ValueError(f"{name} must be in [0, 1), got {getattr(self, name)}")
        inner = self.attention_dropout or self.ff_dropout
        if inner and (type(self.attention) is not Sparse or self.residual != "plain" or self.experts is not None):
            raise ValueError(
                "attention_dropout and ff_dropout go with attention over patterns, residual='plain' and no experts, got "
                f"{type(self.attention).__name__}, residual={self.residual!r}"
            )
        if self.ff_dropout and self.ff_stretch is not None:
            raise ValueError(f"ff_dropout needs all tokens at once: ff_stretch must be None, got {self.ff_stretch}")

    def _check_bands(self) -> None:
        if self.bands is None:
            return
        self.bands.check(self.vocab, self.width)
        if self.logits != "tied" or self.slot_positions != "given" or type(self.attention) not in MODULES:
            raise ValueError(
                "bands are tied to the logits, in a decoder without a memory: logits must be 'tied' and slot_positions "
                f"'given', got {self.logits!r}, {self.slot_positions!r} and {type(self.attention).__name__}"
            )

    def _check_choices(self) -> None:
        self._check_dropout()
        self._check_bands()
        if (self.width if self.value_width is None else self.value_width) % self.heads:
            raise ValueError(f"heads must divide value_width, got heads={self.heads}, value_width={self.value_width}")
        for name in ("ff_stretch", "logits_stretch"):
            if (stretch := getattr(self, name)) is not None and stretch < 1:
                raise ValueError(f"{name} must be at least 1 token, or None; got {stretch}")
        if isinstance(self.attention, Relative) and not isinstance(self.positions, NoPositions):
            raise ValueError(
                f"relative positions take the place of others: positions must be NoPositions, got {type(self.positions).__name__}"
            )
        if self.order is not None:
            check_order(self.order, self.depth)
            if self.residual == "reversible":
                raise ValueError("a reversible stack has its sublayers in turn: order must be None")
        if self.experts is not None:
            self.experts.layers(self.depth)
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
        return cycle_of(self.attention.parsed(), self.experts)

    @property
    def streams(self) -> int:
        """Residual streams side by side."""
        return 2 if self.residual == "reversible" else 1

    @property
    def mixtures(self) -> int:
        """Layers that are mixtures of experts."""
        return 0 if self.experts is None else self.experts.layers(self.depth)

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
