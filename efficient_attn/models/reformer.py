"""The Reformer as published checkpoints have it: a causal or two-sided stack, and a head for a task.

    embedding = token + position,   streams = reversible stack,   head(norm([stream 1, stream 2]))

Unlike ``Decoder``, a token lies in its own slot: the logits of slot ``t`` are those of token ``t + 1``.

Reference:
  Kitaev, Kaiser and Levskaya, "Reformer: The Efficient Transformer", 2020.
"""

import dataclasses
import functools
import math
from typing import Literal

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Int

from efficient_attn.models.reformer_heads import HEADS, HeadName
from efficient_attn.nn.attention import SelfAttention
from efficient_attn.nn.block import Block
from efficient_attn.nn.dropout import drop
from efficient_attn.nn.embedding import AxialPositions, TablePositions, check_length, embed_positions, position_tables
from efficient_attn.nn.feedforward import Activation, FeedForward
from efficient_attn.nn.given import Given
from efficient_attn.nn.initializers import Initialization
from efficient_attn.nn.lsh_attention import Hashing, LSHAttention
from efficient_attn.nn.reversible_stack import ReversibleStack
from efficient_attn.ops.lsh import Rotations
from efficient_attn.patterns.algebra import Full, Pattern
from efficient_attn.patterns.local import Causal, NearChunks
from efficient_attn.precision import Precision

Layer = Literal["lsh", "local"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReformerConfig:
    """Sizes and choices of a Reformer."""

    vocab: int
    """Distinct tokens."""
    width: int
    """Size of each residual stream."""
    heads: int
    head_size: int
    """Size of a head; all heads together need not fill the width."""
    ff_width: int
    """Size of the feed-forward's hidden layer."""
    layers: tuple[Layer, ...]
    """The attention of each layer."""
    positions: TablePositions | AxialPositions
    causal: bool
    """Whether later tokens are hidden."""
    hashing: Hashing = dataclasses.field(default_factory=Hashing)
    """Of the ``lsh`` layers."""
    local: NearChunks = dataclasses.field(default_factory=lambda: NearChunks(64))
    """Of the ``local`` layers; where they look both ways the last chunk lies beside the first."""
    activation: Activation = "relu"
    head: HeadName = "none"
    labels: int = 2
    """Classes of the classification head."""
    dropout: float = 0.0
    """Probability of dropping a feature of a sublayer's output, of the embedding and of the head's input."""
    norm_epsilon: float = 1e-12
    pad_token: int = 0
    """What fills a text up to whole chunks; hidden, so its choice changes nothing."""
    ff_stretch: int | None = None
    """Tokens whose feed-forward is computed at a time; None: all."""
    precision: Precision = Precision()

    def __post_init__(self):
        for name in ("vocab", "width", "heads", "head_size", "ff_width", "labels"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not self.layers or set(self.layers) - {"lsh", "local"}:
            raise ValueError(f"layers must be one or more of 'lsh' and 'local', got {self.layers}")
        if not 0.0 <= self.dropout < 1.0:
            raise ValueError(f"dropout must be in [0, 1), got {self.dropout}")

    @property
    def cycle(self) -> tuple[Layer, ...]:
        """The shortest run of layers that all others repeat, wholly or, at the end, in part."""
        lengths = range(1, len(self.layers) + 1)
        repeats = lambda n: all(kind == self.layers[place % n] for place, kind in enumerate(self.layers))  # noqa: E731
        return self.layers[: next(n for n in lengths if repeats(n))]

    def padded(self, tokens: int) -> int:
        """The length that a text is filled up to: whole chunks of every kind, if it is longer than one of some kind."""
        chunks = {"lsh": self.hashing.chunk, "local": self.local.size}
        sizes = [chunks[kind] for kind in set(self.layers)]
        return tokens if tokens <= min(sizes) else tokens + -tokens % math.lcm(*sizes)

    def patterns(self, tokens: int) -> tuple[Pattern, ...]:
        """The patterns of the cycle for a text of this length, filled up."""
        own = {"lsh": Causal() if self.causal else Full(), "local": self._local(tokens)}
        return tuple(own[kind] for kind in self.cycle)

    def _local(self, tokens: int) -> Pattern:
        near = self.local
        if tokens <= near.size:
            return Causal() if self.causal else Full()
        if self.causal:
            return Causal() & dataclasses.replace(near, right=0)
        chunks = tokens // near.size
        if chunks < near.left + 1 + near.right:
            raise NotImplementedError(
                f"{tokens} tokens in {chunks} local chunks that each see {near.left} before and {near.right} after: a chunk "
                "on both sides would count twice; use a longer text or one of at most one chunk"
            )
        return dataclasses.replace(near, ring=chunks)


class Reformer(nnx.Module):
    """Token and position embeddings, a reversible stack, and the head of a task.

    Args:
      config: sizes and choices.
      key: randomness of the initial parameters.
    """

    def __init__(self, config: ReformerConfig, *, key: jax.Array):
        self.config = config
        init = Initialization("code", len(config.layers))
        rngs = nnx.Rngs(key)
        self.tokens = nnx.Param(init.token(config.width)(rngs.params(), (config.vocab, config.width)))
        self.tables = nnx.List(position_tables(config.positions, config.width, init, rngs))
        make = functools.partial(_block, config, init)
        self.stack = ReversibleStack(make, len(config.layers), config.patterns(1), "none", rngs.params())
        self.norm = nnx.LayerNorm(2 * config.width, epsilon=config.norm_epsilon, rngs=rngs)
        self.head = HEADS[config.head](config.width, config.vocab, config.labels, rngs)

    def __call__(
        self,
        tokens: Int[Array, "B T"],
        key_mask: Bool[Array, "B T"] | None = None,
        *,
        rotations: Rotations | None = None,
        key: jax.Array | None = None,
    ) -> Float[Array, "..."]:
        """What the head makes of the text.

        Args:
          tokens: the text.
          key_mask: False hides a token from all others; rows of hidden tokens mean nothing.
          rotations: of all LSH layers; None draws them from ``key``, or without one from the hashing's seed.
          key: randomness of training; None is evaluation.

        Returns:
          Float32: the two streams ``[B, T, 2 * width]`` where there is no head; logits ``[B, T, V]`` of language
          modelling; logits ``[B, labels]`` of classes; logits ``[B, T, 2]`` of where an answer begins and ends.

        Raises:
          ValueError: if the text, filled up to whole chunks, is longer than the positions.
        """
        config, length = self.config, tokens.shape[1]
        missing = config.padded(length) - length
        check_length(config.positions, length + missing)
        if missing:
            key_mask = jnp.ones(tokens.shape, bool) if key_mask is None else key_mask
            key_mask = jnp.pad(key_mask, ((0, 0), (0, missing)))
            tokens = jnp.pad(tokens, ((0, 0), (0, missing)), constant_values=config.pad_token)
        keys = (None, None, None) if key is None else jax.random.split(key, 3)
        x = drop(self._embed(tokens), config.dropout, keys[0])
        given = Given(key_mask=key_mask, rotations=rotations)
        x = self.stack(x, config.dropout, keys[1], given, config.patterns(length + missing))
        return self.head(drop(self.norm(x)[:, :length], config.dropout, keys[2]))

    def _embed(self, tokens: Int[Array, "B T"]) -> Float[Array, "B T D"]:
        positions = jnp.arange(tokens.shape[1], dtype=jnp.int32)
        table = embed_positions(self.config.positions, self.tables, positions, self.config.width)
        return self.tokens[...][tokens] + table[None]


def _block(config: ReformerConfig, init: Initialization, place: int, rngs: nnx.Rngs) -> Block:
    inner = config.heads * config.head_size
    attention = (
        functools.partial(LSHAttention, hashing=config.hashing) if config.cycle[place] == "lsh" else SelfAttention
    )(
        config.width,
        config.heads,
        config.heads,
        inner,
        init,
        config.precision,
        value_width=inner,
        bias=False,
        rngs=rngs,
    )
    feedforward = FeedForward(
        config.width,
        config.ff_width,
        config.activation,
        init,
        config.precision,
        stretch=config.ff_stretch,
        rngs=rngs,
    )
    return Block(attention, feedforward, "pre", config.width, epsilon=config.norm_epsilon, rngs=rngs)
