"""Additive biases of the attention scores that are given by offset and never expanded to all pairs."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int


@functools.partial(jax.tree_util.register_dataclass, data_fields=["values"], meta_fields=["first"])
@dataclasses.dataclass(frozen=True)
class RelativeBias:
    """A score bias that depends on the offset ``i - j`` between query and key position; differentiable in ``values``.

    Column ``o`` of ``values`` belongs to the offset ``first + o``; offsets outside the table take its nearest end.

    Args:
      values: per offset, ``[N, O]`` (a learned table); or per query and offset, ``[B, N, T, O]`` (such as the products of
        queries and relative positions in Transformer-XL).
      first: offset of the first column; ``0`` covers a causal window of ``O`` keys.
    """

    # Any: numpy arrays, and whatever jax puts into a pytree while it transforms it.
    values: Any
    first: int = 0

    @property
    def per_query(self) -> bool:
        """Whether each query has offsets of its own."""
        return self.values.ndim == 4

    def columns(
        self, query_position: Int[Array, "*#shape"], key_position: Int[Array, "*#shape"]
    ) -> Int[Array, "*shape"]:
        """The column of each pair."""
        return jnp.clip(query_position - key_position - self.first, 0, self.values.shape[-1] - 1)
