"""Token and position embeddings, and the logits at the other end."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Int

from efficient_attn.nn.initializers import Initialization
from efficient_attn.nn.relative_buckets import RelativeBuckets
from efficient_attn.ops.positions import interleaved_sinusoids, mixed_radix, sinusoids


@dataclasses.dataclass(frozen=True, kw_only=True)
class TablePositions:
    """A sum of learned tables, indexed by the digits of a position.

    ``(length,)`` is one table of absolute positions; ``(rows, columns)`` suits text and audio with stride ``columns``;
    ``(rows, columns, channels)`` the bytes of an image, channels fastest.
    """

    sizes: tuple[int, ...]
    """Entries of each table, the slowest digit first."""

    def __post_init__(self):
        if not self.sizes or any(size < 1 for size in self.sizes):
            raise ValueError(f"TablePositions.sizes must be one or more sizes of at least 1, got {self.sizes}")

    @property
    def length(self) -> int:
        """Positions that have an embedding."""
        return math.prod(self.sizes)


@dataclasses.dataclass(frozen=True, kw_only=True)
class AxialPositions:
    """Learned tables indexed by the digits of a position, side by side: each fills some features of the embedding.

    Reference:
      Kitaev, Kaiser, Levskaya, "Reformer: The Efficient Transformer", 2020, released code.
    """

    sizes: tuple[int, ...]
    """Entries of each table, the slowest digit first."""
    widths: tuple[int, ...]
    """Features of each table; they add up to the width of the model."""

    def __post_init__(self):
        if not self.sizes or len(self.sizes) != len(self.widths) or min(self.sizes + self.widths) < 1:
            raise ValueError(
                f"AxialPositions needs a width for each of one or more sizes, all at least 1, got sizes {self.sizes} and "
                f"widths {self.widths}"
            )

    @property
    def length(self) -> int:
        """Positions that have an embedding."""
        return math.prod(self.sizes)


@dataclasses.dataclass(frozen=True, kw_only=True)
class SinusoidalPositions:
    """Fixed sines and cosines of the position, for any length."""

    length: int | None = None
    layout: Literal["halves", "interleaved"] = "halves"
    """Sines, then cosines, as in released code; or in turn, at the wavelengths of the paper."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class RotaryPositions:
    """No embedding: queries and keys are rotated by their position instead."""

    base: float = 10_000.0
    """Longest wavelength over 2 pi."""
    length: int | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class NoPositions:
    """No embedding: the attention knows positions by itself, or only their order."""

    length: int | None = None


Positions = TablePositions | AxialPositions | SinusoidalPositions | RotaryPositions | NoPositions

PositionOf = Literal["given", "predicted"]


class Embedding(nnx.Module):
    """Tokens and positions into the residual stream, shifted right by a start vector; and logits out of it.

    Input slot ``i`` holds token ``i - 1``, and slot 0 a learned start vector. Where slots have the position that is ``given``,
    slot ``i`` has that of token ``i - 1``, and slot 0 has none, as in the Sparse Transformer's code; where they have the one that
    is ``predicted``, slot ``i`` has that of token ``i``, as in Image GPT's.
    """

    def __init__(
        self,
        vocab: int,
        width: int,
        positions: Positions,
        logits: Literal["untied_zero", "untied", "tied"],
        init: Initialization,
        *,
        streams: int = 1,
        slots: PositionOf = "given",
        rngs: nnx.Rngs,
    ):
        if logits == "tied" and streams > 1:
            raise ValueError(
                f"logits of {streams} streams side by side cannot be tied to the tokens: choose untied logits"
            )
        self.positions, self.slots = positions, slots
        self.width = width
        self.tokens = nnx.Param(init.token(width)(rngs.params(), (vocab, width)))
        self.start = nnx.Param(init.token(width)(rngs.params(), (width,)))
        self.tables = nnx.List(position_tables(positions, width, init, rngs))
        zero = nnx.initializers.zeros
        kernel = zero if logits == "untied_zero" else init.weight(width * streams)
        self.head = None if logits == "tied" else nnx.Param(kernel(rngs.params(), (width * streams, vocab)))

    def shifted(self, tokens: Int[Array, "B T"]) -> Float[Array, "B T D"]:
        """Embeddings of the tokens before each slot, the start vector first."""
        if self.slots == "predicted":
            start = jnp.full((tokens.shape[0], 1), self.tokens.shape[0], tokens.dtype)
            return self.unshifted(jnp.concatenate([start, tokens[:, :-1]], axis=1))
        positions = jnp.arange(tokens.shape[1] - 1, dtype=jnp.int32)
        before = self._of(tokens[:, :-1]) + self._position(positions)[None]
        start = jnp.broadcast_to(self.start[...], (tokens.shape[0], 1, self.width))
        return jnp.concatenate([start, before], axis=1)

    def unshifted(self, inputs: Int[Array, "B T"]) -> Float[Array, "B T D"]:
        """Embeddings of what the slots themselves hold, each with the position of its slot.

        The start vector has the number V; of a slot that holds V + 1, the position is all.
        """
        nothing = jnp.zeros_like(self.start[...])
        table = jnp.concatenate([self.tokens[...], jnp.stack([self.start[...], nothing])])
        return table[inputs] + self._position(jnp.arange(inputs.shape[1], dtype=jnp.int32))[None]

    def continued(self, before: Int[Array, "B T"], begins: Bool[Array, " B"]) -> Float[Array, "B T D"]:
        """Embeddings of the tokens before each slot, without positions; the start vector first in rows that begin a text."""
        x = self._of(before)
        first = jnp.where(begins[:, None], self.start[...], x[:, 0])
        return jnp.concatenate([first[:, None], x[:, 1:]], axis=1)

    def one(self, token: Int[Array, " B"], slot: Int[Array, ""]) -> Float[Array, "B 1 D"]:
        """The embedding of input slot ``slot``, whose token before is ``token``."""
        if self.slots == "predicted":
            held = jnp.where(slot == 0, self.start[...][None], self._of(token))
            return (held + self._position(slot[None]))[:, None]
        before = self._of(token) + self._position(jnp.maximum(slot - 1, 0)[None])
        return jnp.where(slot == 0, self.start[...][None], before)[:, None]

    def logits(self, x: Float[Array, "B T D"], key: jax.Array | None = None) -> Float[Array, "B T V"]:
        """Scores of the next token, float32, without a bias; nothing is drawn from ``key``."""
        del key
        table = self.tokens[...].T if self.head is None else self.head[...]
        return jnp.einsum("btd,dv->btv", x, table.astype(x.dtype), preferred_element_type=jnp.float32)

    def _of(self, tokens: Int[Array, "*shape"]) -> Float[Array, "*shape D"]:
        return self.tokens[...][tokens]

    def _position(self, positions: Int[Array, " T"]) -> Float[Array, "T D"]:
        return embed_positions(self.positions, self.tables, positions, self.width)


def position_tables(
    positions: Positions | RelativeBuckets, width: int, init: Initialization, rngs: nnx.Rngs
) -> list[nnx.Param]:
    """The learned tables of a scheme; none where it has none.

    Raises:
      ValueError: if tables side by side do not fill the width.
    """
    if isinstance(positions, AxialPositions):
        if sum(positions.widths) != width:
            raise ValueError(f"AxialPositions.widths must add up to the model's width {width}, got {positions.widths}")
        # Published code draws these, which are not summed, as large as its tokens.
        unit = nnx.initializers.normal(1.0)
        shapes = zip(positions.sizes, positions.widths, strict=True)
        return [nnx.Param(unit(rngs.params(), shape)) for shape in shapes]
    sizes = positions.sizes if isinstance(positions, TablePositions) else ()
    table = init.position(width, max(len(sizes), 1))
    return [nnx.Param(table(rngs.params(), (size, width))) for size in sizes]


def embed_positions(
    scheme: Positions | RelativeBuckets, tables: Sequence[Any], positions: Int[Array, "*shape"], width: int
) -> Float[Array, "*shape D"]:
    """The embedding of each position, 0 where a scheme has none."""
    if isinstance(scheme, TablePositions | AxialPositions):
        digits = mixed_radix(positions, scheme.sizes)
        parts = [table[...][digit] for table, digit in zip(tables, digits, strict=True)]
        return sum(parts) if isinstance(scheme, TablePositions) else jnp.concatenate(parts, axis=-1)
    if isinstance(scheme, SinusoidalPositions):
        return (sinusoids if scheme.layout == "halves" else interleaved_sinusoids)(positions, width)
    return jnp.zeros((*positions.shape, width), jnp.float32)


def check_length(positions: Positions, context: int) -> None:
    """A ValueError if a context is longer than the positions that have an embedding."""
    if positions.length is not None and context > positions.length:
        raise ValueError(f"the model has positions for {positions.length} tokens, got a context of {context}")


def rotary_base(positions: Positions) -> float | None:
    """The base of rotary positions, None for the other schemes."""
    return positions.base if isinstance(positions, RotaryPositions) else None
