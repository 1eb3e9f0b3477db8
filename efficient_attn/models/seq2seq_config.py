"""What an encoder-decoder Transformer is made of: its sizes, its three attentions, and what published recipes differ in."""

import dataclasses
from typing import Literal

from efficient_attn.nn.block import NormPlace
from efficient_attn.nn.embedding import SinusoidalPositions, TablePositions
from efficient_attn.nn.feedforward import Activation, Network
from efficient_attn.nn.initializers import Scheme
from efficient_attn.nn.mechanisms import AdaptivelySparse
from efficient_attn.nn.moe import Experts
from efficient_attn.nn.norm import NormKind
from efficient_attn.nn.pair_embedding import Sharing
from efficient_attn.nn.relative_buckets import RelativeBuckets
from efficient_attn.nn.seq2seq_mechanisms import SeqMechanism, check_cross, check_own
from efficient_attn.nn.sparse import Sparse
from efficient_attn.nn.stack import Remat
from efficient_attn.nn.sublayers import check_order
from efficient_attn.nn.token_table import Scaling
from efficient_attn.patterns.algebra import PerHead
from efficient_attn.precision import Precision


@dataclasses.dataclass(frozen=True, kw_only=True)
class Seq2SeqConfig:
    """Sizes and choices of an encoder-decoder; the defaults are those of the paper's base model, its vocabulary apart.

    What the three published recipes of the "base" Transformer differ in:

    | field | the paper | tensor2tensor | flax |
    |---|---|---|---|
    | ``norm`` | post | pre | pre |
    | ``width``, ``ff_width``, ``heads`` | 512, 2048, 8 | the same | 1024, 4096, 16 |
    | ``attention_dropout``, ``ff_dropout`` | 0, 0 | 0.1, 0.1 | 0.1, 0.1 |
    | ``embedding`` | scaled | scaled | plain |
    | ``positions.layout`` | interleaved | halves | halves |
    | ``initialization`` | not said | unit_scaling | glorot |
    | ``source_vector`` | False | True | False |

    T5 is one of these models too: ``t5`` of ``models/t5.py`` says with which choices.
    """

    vocab: int
    """Distinct tokens, of source and target alike."""
    width: int = 512
    """Size of the residual streams."""
    ff_width: int = 2048
    """Size of the feed-forwards' hidden layer."""
    heads: int = 8
    head_size: int | None = None
    """Features of a head; None: ``width // heads``."""
    experts: Experts | None = None
    """Layers of both stacks whose feed-forward network is a mixture of experts; None: none is."""
    encoder_depth: int = 6
    decoder_depth: int = 6
    encoder_order: str | None = None
    """Attentions and feed-forwards of the encoder from bottom to top, as letters s and f with as many parameters as its depth of
    each; None: in turn. See ``sandwich_order`` and ``balanced_order`` of ``nn.sublayers``."""
    decoder_order: str | None = None
    """Those of the decoder, where an s is the attention among the target's tokens with the one to the source after it."""
    longest: int = 1024
    """Most tokens of a source and of a target."""
    encoder_attention: SeqMechanism = dataclasses.field(default_factory=lambda: Sparse(patterns=("Full()",)))
    """How the tokens of a source see each other: the type chooses the mechanism."""
    decoder_attention: SeqMechanism = dataclasses.field(default_factory=Sparse)
    """How the tokens of a target see those before them."""
    cross_attention: Sparse | AdaptivelySparse = dataclasses.field(default_factory=lambda: Sparse(patterns=("Full()",)))
    """How the tokens of a target see those of its source: all of them, with the weights that the type chooses."""
    products: Literal["scaled", "plain"] = "scaled"
    """Products of queries and keys are divided by the root of a head's size, or stay as they are, as in T5, which draws smaller
    queries."""
    attention_bias: bool = False
    """Whether the projections of the attentions add one."""
    norm: NormPlace = "post"
    """Where norms are; "pre" has one more at the end of each stack."""
    norm_kind: NormKind = "layer"
    norm_epsilon: float = 1e-6
    positions: SinusoidalPositions | TablePositions | RelativeBuckets = dataclasses.field(
        default_factory=lambda: SinusoidalPositions(layout="interleaved")
    )
    """Added to the tokens; or a bias of the scores by buckets of offsets, one table for each stack."""
    embedding: Scaling = "scaled"
    sharing: Sharing = "all"
    """Which of source tokens, target tokens and logits have one table: all three, the first two, the last two, or none."""
    source_vector: bool = False
    """Whether a learned vector is added to all source tokens: tensor2tensor's embedding of the target space."""
    activation: Activation = "relu"
    ff_bias: bool = True
    """Whether the feed-forwards add one."""
    ff_network: Network = "plain"
    """Whether a second projection multiplies the feed-forwards' hidden features."""
    initialization: Scheme = "glorot"
    dropout: float = 0.1
    """Probability of dropping a feature of a sublayer's output, and of the embeddings."""
    end_dropout: float = 0.0
    """Probability of dropping a feature of what either stack ends with, after its last norm."""
    attention_dropout: float = 0.0
    """Probability of dropping an attention weight."""
    ff_dropout: float = 0.0
    """Probability of dropping a feature of the feed-forwards' hidden layer."""
    pad_token: int = 0
    bos_token: int = 0
    """What a target starts from; it is no part of the target. The published recipes use their padding."""
    eos_token: int = 1
    remat: Remat = "none"
    """What the backward pass recomputes."""
    precision: Precision = Precision()

    def __post_init__(self):
        check_own(self.encoder_attention, "encoder_attention")
        check_own(self.decoder_attention, "decoder_attention")
        check_cross(self.cross_attention)
        for name in ("vocab", "width", "ff_width", "heads", "encoder_depth", "decoder_depth", "longest"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in ("dropout", "end_dropout", "attention_dropout", "ff_dropout"):
            if not 0.0 <= getattr(self, name) < 1.0:
                raise ValueError(f"{name} must be in [0, 1), got {getattr(self, name)}")
        for name in ("pad_token", "bos_token", "eos_token"):
            if not 0 <= getattr(self, name) < self.vocab:
                raise ValueError(f"{name} must be a token of the vocabulary of {self.vocab}, got {getattr(self, name)}")
        if self.head_size is None and self.width % self.heads:
            raise ValueError(
                f"heads must divide width where head_size is None, got heads={self.heads}, width={self.width}"
            )
        if self.head_size is not None and self.head_size < 1:
            raise ValueError(f"head_size must be at least 1, or None; got {self.head_size}")
        self._check_orders()
        self._check_experts()
        self._check_positions()
        self._check_lengths()

    def _check_orders(self) -> None:
        for side, attentions in (("encoder", 1), ("decoder", 2)):
            field, depth = f"{side}_order", getattr(self, f"{side}_depth")
            if (order := getattr(self, field)) is None:
                continue
            check_order(order, depth, field=field, attentions=attentions)
            if self.experts is not None:
                raise ValueError(f"a mixture of experts has its sublayers in turn: {field} must be None, got {order!r}")

    def _check_experts(self) -> None:
        if self.experts is None:
            return
        for depth in (self.encoder_depth, self.decoder_depth):
            self.experts.layers(depth)
        if self.ff_network != "plain":
            raise ValueError(
                f"experts are plain networks: ff_network must be 'plain' with experts, got {self.ff_network!r}"
            )
        if self.ff_dropout:
            raise ValueError(
                f"experts drop none of their hidden features: ff_dropout must be 0 with experts, got {self.ff_dropout}"
            )

    def _check_positions(self) -> None:
        if not isinstance(self.positions, RelativeBuckets):
            return
        for name in ("encoder_attention", "decoder_attention"):
            if isinstance(getattr(self, name), AdaptivelySparse):
                raise ValueError(
                    f"entmax adds no bias to its scores: {name} cannot be AdaptivelySparse with RelativeBuckets"
                )

    def _check_lengths(self) -> None:
        if self.positions.length is not None and self.positions.length < self.longest:
            raise ValueError(f"longest={self.longest} needs as many positions, got {self.positions.length}")
        for name in ("encoder_attention", "decoder_attention"):
            attention = getattr(self, name)
            if attention.longest is not None and attention.longest < self.longest:
                raise ValueError(
                    f"{name} must have scores for longest={self.longest} tokens, got those for {attention.longest}"
                )
            for pattern in attention.parsed():
                if isinstance(pattern, PerHead) and len(pattern.patterns) != self.heads:
                    raise ValueError(
                        f"a PerHead pattern of {name} needs one for each of {self.heads} heads, got {len(pattern.patterns)}"
                    )

    @property
    def heads_width(self) -> int:
        """Size of all heads together."""
        return self.width if self.head_size is None else self.heads * self.head_size

    def check_length(self, tokens: int, what: str) -> None:
        """A ValueError if a source or a target is longer than the model takes."""
        if not 0 < tokens <= self.longest:
            raise ValueError(f"the model takes a {what} of 1 to {self.longest} tokens, got {tokens}")
