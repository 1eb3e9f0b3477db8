"""The embedding of a bidirectional encoder: tokens, learned positions and token types, summed and normed.

References:
  Devlin, Chang, Lee, Toutanova, "BERT", 2019, section 3.
  Liu et al., "RoBERTa: A Robustly Optimized BERT Pretraining Approach", 2019, released code (counted positions).
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int

from efficient_attn.nn.initializers import Initialization


@dataclasses.dataclass(frozen=True, kw_only=True)
class SlotPositions:
    """Slot ``i`` takes row ``i`` of the table, as in BERT."""

    rows: int
    """Of the table."""

    def longest(self, pad_token: int) -> int:
        """The longest text that has positions."""
        del pad_token
        return self.rows

    def of(self, tokens: Int[Array, "B T"], pad_token: int) -> Int[Array, "1 T"]:
        """The row of each slot."""
        del pad_token
        return jnp.arange(tokens.shape[1], dtype=jnp.int32)[None]


@dataclasses.dataclass(frozen=True, kw_only=True)
class CountedPositions:
    """The ``n``-th token that is not padding takes row ``pad_token + n``, and padding row ``pad_token``, as in RoBERTa.

    So padding on the left moves nothing, and the first ``pad_token`` rows of the table are never read.
    """

    rows: int
    """Of the table."""

    def longest(self, pad_token: int) -> int:
        """The longest text that has positions."""
        return self.rows - pad_token - 1

    def of(self, tokens: Int[Array, "B T"], pad_token: int) -> Int[Array, "B T"]:
        """The row of each slot."""
        real = (tokens != pad_token).astype(jnp.int32)
        return jnp.cumsum(real, axis=1) * real + pad_token


TextPositions = SlotPositions | CountedPositions


class TextEmbedding(nnx.Module):
    """``norm(token + position + type)``, float32.

    Args:
      vocab: distinct tokens.
      width: size of the residual stream.
      positions: which row of the table a token takes.
      types: distinct token types; 0: the model has none.
      pad_token: the token that fills up short texts.
      epsilon: of the norm.
      init: standard deviations.
      rngs: randomness of the initial parameters.
    """

    def __init__(
        self,
        vocab: int,
        width: int,
        positions: TextPositions,
        types: int,
        pad_token: int,
        *,
        epsilon: float,
        init: Initialization,
        rngs: nnx.Rngs,
    ):
        self.rule, self.pad_token = positions, pad_token
        draw = lambda rows, initializer: nnx.Param(initializer(rngs.params(), (rows, width)))  # noqa: E731
        self.tokens = draw(vocab, init.token(width))
        self.positions = draw(positions.rows, init.position(width, 1))
        self.types = draw(types, init.position(width, 1)) if types else None
        self.norm = nnx.LayerNorm(width, epsilon=epsilon, rngs=rngs)

    def __call__(
        self, tokens: Int[Array, "B T"], types: Int[Array, "B T"] | None, places: Int[Array, "#B T"] | None = None
    ) -> Float[Array, "B T D"]:
        """The embedding of each slot; NaN where a token or a type is outside its table.

        Args:
          tokens: the texts.
          types: of the tokens; None: all 0.
          places: rows of the table of positions; None: those of the tokens themselves.
        """
        places = self.places(tokens) if places is None else places
        x = _rows(self.table(), tokens) + jnp.asarray(self.positions[...])[places]
        if self.types is not None:
            rows = jnp.asarray(self.types[...])
            x = x + (rows[0] if types is None else _rows(rows, types))
        return self.norm(x)

    def places(self, tokens: Int[Array, "B T"]) -> Int[Array, "#B T"]:
        """The row of the table of positions that each slot takes."""
        return self.rule.of(tokens, self.pad_token)

    def table(self) -> Float[Array, "V D"]:
        """The embedding of each token alone, which logits are made with too."""
        # A loaded model holds numpy arrays.
        return jnp.asarray(self.tokens[...])


def _rows(table: Float[Array, "R D"], indices: Int[Array, "B T"]) -> Float[Array, "B T D"]:
    """Rows of a table; NaN for those that it has not, which an index below zero would otherwise count from the end."""
    outside = jnp.where(indices < 0, table.shape[0], indices)
    return table.at[outside].get(mode="fill", fill_value=jnp.nan)


def check_inside(name: str, indices: Int[Any, "..."], rows: int) -> None:
    """A ValueError if an index has no row, where this process knows the indices, which under ``jit`` it does not."""
    traced = isinstance(indices, jax.core.Tracer)
    if traced or (isinstance(indices, jax.Array) and not indices.is_fully_addressable):
        return
    # By numpy: an operation of jax would be traced where a function around this one is.
    known = np.asarray(indices)
    least, most = known.min(initial=0), known.max(initial=0)
    if least < 0 or most >= rows:
        raise ValueError(f"{name} must be from 0 to {rows - 1}, got {least if least < 0 else most}")
