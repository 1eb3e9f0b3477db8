"""Texts in rows: what a token is, which text it belongs to, and where in that text it lies."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Int


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class Sequence:
    """A batch of rows, each with one text or several side by side."""

    tokens: Int[Any, "B T"]
    segments: Int[Any, "B T"]
    """Texts of a row are 1, 2, ...; padding is 0."""
    positions: Int[Any, "B T"]
    """Within the own text, from 0."""

    @classmethod
    def of(cls, tokens: Int[Any, "B T"], pad: int) -> "Sequence":
        """One text a row, filled up with ``pad`` on the right."""
        tokens = jnp.asarray(tokens)
        positions = jnp.broadcast_to(jnp.arange(tokens.shape[1], dtype=jnp.int32), tokens.shape)
        return cls(tokens=tokens, segments=(tokens != pad).astype(jnp.int32), positions=positions)
