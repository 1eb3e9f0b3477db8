"""A bidirectional encoder, norms after the sums: BERT, RoBERTa, MPNet and what replaces their attention.

References:
  Devlin, Chang, Lee, Toutanova, "BERT: Pre-training of Deep Bidirectional Transformers for Language Understanding", 2019.
  Liu et al., "RoBERTa: A Robustly Optimized BERT Pretraining Approach", 2019.
  Song, Tan, Qin, Lu, Liu, "MPNet: Masked and Permuted Pre-training for Language Understanding", 2020.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Int

from efficient_attn.models.coreference import Linking, Links
from efficient_attn.models.encoder_heads import HEADS, POOLED, HeadName, Pooler, without_question
from efficient_attn.nn.bigbird_attention import BigBird
from efficient_attn.nn.dropout import drop
from efficient_attn.nn.encoder_block import EncoderBlock
from efficient_attn.nn.encoder_mechanisms import ENCODER_MODULES, EncoderMechanism, common_projection, default_globals
from efficient_attn.nn.feedforward import Activation, FeedForward
from efficient_attn.nn.initializers import Initialization
from efficient_attn.nn.relative_buckets import BucketedBias, RelativeBuckets
from efficient_attn.nn.sparse import Sparse
from efficient_attn.nn.stack import Remat, Stack
from efficient_attn.nn.text_embedding import TextEmbedding, TextPositions, check_inside
from efficient_attn.precision import Precision


@dataclasses.dataclass(frozen=True, kw_only=True)
class EncoderConfig:
    """Sizes and choices of an encoder."""

    vocab: int
    """Distinct tokens."""
    depth: int
    """Residual blocks."""
    width: int
    """Size of the residual stream."""
    heads: int
    ff_width: int
    """Size of the feed-forward's hidden layer."""
    positions: TextPositions
    """Which row of the learned table a token takes."""
    token_types: int = 0
    """Distinct token types; 0: the model has none."""
    pad_token: int = 0
    """What fills up short texts. It is hidden only where ``attention_mask`` says so."""
    attention: EncoderMechanism = dataclasses.field(default_factory=lambda: Sparse(patterns=("Full()",)))
    """How tokens see each other: the type chooses the mechanism."""
    relative: RelativeBuckets | None = None
    """Positions as a bias of the attention scores, beside those of the embedding."""
    activation: Activation = "gelu"
    head: HeadName = "none"
    head_activation: Activation = "gelu"
    """Of the hidden layer of the heads ``masked_lm``, ``activated_classification`` and ``evidence``."""
    labels: tuple[str, ...] = ("LABEL_0", "LABEL_1")
    """Names of the classes."""
    linking: Linking = dataclasses.field(default_factory=Linking)
    """How the head ``coreference`` finds mentions and links them."""
    pooler: bool = True
    """Whether the first token becomes ``pooler_output``; some heads need it."""
    dropout: float = 0.0
    """Probability of dropping a feature of a sublayer's output, and of the embedding."""
    attention_dropout: float = 0.0
    """Probability of dropping an attention weight."""
    head_dropout: float = 0.0
    """Probability of dropping a feature of the input of a head that classifies."""
    norm_epsilon: float = 1e-12
    remat: Remat = "none"
    """What the backward pass recomputes."""
    precision: Precision = Precision()

    def __post_init__(self):
        for name in ("vocab", "depth", "width", "heads", "ff_width"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in ("dropout", "attention_dropout", "head_dropout"):
            if not 0.0 <= getattr(self, name) < 1.0:
                raise ValueError(f"{name} must be in [0, 1), got {getattr(self, name)}")
        if self.width % self.heads:
            raise ValueError(f"heads must divide width, got heads={self.heads}, width={self.width}")
        if not 0 <= self.pad_token < self.vocab:
            raise ValueError(f"pad_token must be below vocab={self.vocab}, got {self.pad_token}")
        if self.positions.longest(self.pad_token) < 1:
            raise ValueError(
                f"{self.positions} leaves no row for a token: the first is {self.pad_token + 1}, after pad_token"
            )
        self._check_choices()

    def _check_choices(self) -> None:
        if self.head in POOLED and not self.pooler:
            raise ValueError(f"the head {self.head!r} reads the pooler: pooler must be True, got False")
        if self.head == "residual_question_answering" and not (
            isinstance(self.attention, BigBird) and self.token_types > 1
        ):
            raise ValueError(f"the head {self.head!r} needs BigBird attention and two token types")
        if not self.labels:
            raise ValueError("labels needs at least one name, got none")
        if self.relative is not None and not isinstance(self.attention, Sparse):
            raise ValueError(f"relative positions need Sparse attention, got {type(self.attention).__name__}")

    @property
    def value_heads(self) -> int:
        """Key and value heads: as many as query heads."""
        return self.heads

    def check_context(self, tokens: int) -> None:
        """A ValueError if a text is longer than the model has positions for."""
        longest = self.positions.longest(self.pad_token)
        if not 0 < tokens <= longest:
            raise ValueError(f"the model has positions for 1 to {longest} tokens, got {tokens}")
        longest = self.attention.longest
        if longest is not None and tokens > longest:
            raise ValueError(f"the {type(self.attention).__name__} is for up to {longest} tokens, got {tokens}")


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class EncoderOutput:
    """What an encoder makes of texts, float32; None where its head has no such result."""

    last_hidden_state: Float[Array, "*batch T D"]
    pooler_output: Float[Array, "*batch D"] | None = None
    logits: Float[Array, "..."] | None = None
    """``[*batch, T, V]`` of tokens, ``[*batch, T, labels]`` or ``[*batch, labels]`` of classes, ``[*batch]`` of choices."""
    start_logits: Float[Array, "*batch T"] | None = None
    end_logits: Float[Array, "*batch T"] | None = None
    evidence_logits: Float[Array, "*batch T 2"] | None = None
    links: Links | None = None
    """Of a head whose method ``link`` was called."""


class Encoder(nnx.Module):
    """An embedding, a stack of blocks, and the head of a task.

    Args:
      config: sizes and choices.
      key: randomness of the initial parameters.
    """

    def __init__(self, config: EncoderConfig, *, key: jax.Array):
        self.config = config
        init = Initialization("bert", config.depth)
        rngs = nnx.Rngs(key)
        self.embedding = TextEmbedding(
            config.vocab,
            config.width,
            config.positions,
            config.token_types,
            config.pad_token,
            epsilon=config.norm_epsilon,
            init=init,
            rngs=rngs,
        )
        relative = config.relative
        self.relative = (
            None
            if relative is None
            else BucketedBias(relative, config.heads, init.position(config.heads, 1), rngs=rngs)
        )
        sizes = config.width, config.heads
        self.projection = common_projection(config.attention, *sizes, init, config.precision, rngs)
        make = lambda place, rngs: _block(config, init, place, rngs)  # noqa: E731
        self.stack = Stack(make, config.depth, config.attention.parsed(), config.remat, rngs.params())
        self.pooler = Pooler(config.width, config.precision, rngs) if config.pooler else None
        self.head = HEADS[config.head](config, rngs)

    def __call__(
        self,
        input_ids: Int[Any, "*batch T"],
        attention_mask: Bool[Any, "*batch T"] | Int[Any, "*batch T"] | None = None,
        global_attention_mask: Bool[Any, "*batch T"] | Int[Any, "*batch T"] | None = None,
        token_type_ids: Int[Any, "*batch T"] | None = None,
        *,
        key: jax.Array | None = None,
    ) -> EncoderOutput:
        """What the model makes of texts, ``[B, T]``, or ``[B, choices, T]`` of multiple choice.

        Args:
          input_ids: the tokens. Under ``jit`` one outside the vocabulary makes its text NaN, as an unknown type does.
          attention_mask: 0 or False hides a token from all; None: none is hidden. What comes out at a hidden token means
            nothing, but is finite, even where all are hidden.
          global_attention_mask: 1 or True of tokens that see and are seen by all, for a mechanism that has them. None: those
            that released code takes for the model's head, as ``Longformer.default_globals`` says.
          token_type_ids: None: all 0, or where the head tells the question from the text, 1 of the text.
          key: randomness of the dropout; None is evaluation.

        Raises:
          ValueError: if the texts are longer than the positions, a token or a type is outside its table, or the model has
            no token types or no global tokens and some are given.
        """
        self.config.check_context(input_ids.shape[-1])
        self._check_inside(input_ids, token_type_ids)
        batch = input_ids.shape[:-1]
        tokens, types, *masks = (
            None if x is None else jnp.asarray(x).reshape(-1, x.shape[-1])
            for x in (input_ids, token_type_ids, attention_mask, global_attention_mask)
        )
        keys = (None, None) if key is None else jax.random.split(key)
        key_mask, global_mask = (None if mask is None else mask != 0 for mask in masks)
        if global_mask is None:
            global_mask = default_globals(self.config.attention, self.config.head, tokens)
        question = self._question(tokens)
        if types is None and question is not None:
            types = (~question).astype(jnp.int32)
        hidden = self._hidden(tokens, types, key_mask, global_mask, keys[0])
        pooled = None if self.pooler is None else self.pooler(hidden)
        read = pooled if self.config.head in POOLED else hidden
        results: dict[str, Any] = self.head(read, self.embedding.table(), keys[1])
        if question is not None:
            results = without_question(results, question)
        if self.config.head == "multiple_choice":
            results = {"logits": results["logits"][:, 0]}
        whole = EncoderOutput(last_hidden_state=hidden, pooler_output=pooled, **results)
        return jax.tree.map(lambda x: x.reshape(*batch, *x.shape[1:]), whole)

    def _question(self, tokens: Int[Array, "B T"]) -> Bool[Array, "B T"] | None:
        """The tokens of which no answer consists; None: those of a head that takes them for granted."""
        return self.config.attention.question(tokens) if self.config.head == "residual_question_answering" else None

    def _hidden(
        self,
        tokens: Int[Array, "B T"],
        types: Int[Array, "B T"] | None,
        key_mask: Bool[Array, "B T"] | None,
        global_mask: Bool[Array, "B T"] | None,
        key: jax.Array | None,
    ) -> Float[Array, "B T D"]:
        """The end of the residual stream."""
        dropout = self.config.dropout
        keys = (None, None) if key is None else jax.random.split(key)
        common = self.common(tokens.shape[1])

        def each(block: EncoderBlock, pattern: Any, x: jax.Array, key: jax.Array | None) -> jax.Array:
            del pattern  # The attention holds its own.
            return block(x, dropout, key, key_mask, global_mask, **common)

        return self.stack.run(drop(self.embedding(tokens, types), dropout, keys[0]), keys[1], each)

    def common(self, tokens: int) -> dict[str, Any]:
        """What the attention of every layer is called with, for texts of so many tokens."""
        if self.relative is not None:
            return {"bias": self.relative(tokens)}
        return {} if self.projection is None else {"projection": self.projection[...]}

    def _check_inside(self, tokens: Any, types: Any) -> None:
        check_inside("input_ids", tokens, self.config.vocab)
        if types is None:
            return
        if not self.config.token_types:
            raise ValueError("the model has no token types, got token_type_ids; leave them out")
        check_inside("token_type_ids", types, self.config.token_types)


def _block(config: EncoderConfig, init: Initialization, place: int, rngs: nnx.Rngs) -> EncoderBlock:
    attention = ENCODER_MODULES[type(config.attention)](config.attention, place)(
        config.width, config.heads, init, config.precision, dropout=config.attention_dropout, rngs=rngs
    )
    feedforward = FeedForward(config.width, config.ff_width, config.activation, init, config.precision, rngs=rngs)
    return EncoderBlock(attention, feedforward, "post", config.width, epsilon=config.norm_epsilon, rngs=rngs)
