"""What the trainer knows of a model: a function of parameters and a batch whose result is a sum of means."""

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax.numpy as jnp
from jaxtyping import Array, Float

PyTree = Any
Batch = Mapping[str, Any]
"""Named arrays, each with a leading batch axis."""


class Mean(NamedTuple):
    """A term of the objective, kept as its sum and its count so that parts of a batch add up exactly.

    One that is only observed may be many numbers, as of each expert: thousands of terms would be thousands of results.
    """

    sum: Float[Array, "*each"]
    count: Float[Array, "*each"]


@runtime_checkable
class Objective(Protocol):
    """A loss, the sum over named terms of sum / count.

    The counts come from the batch alone and are known before the backward pass. A microbatch, or the part of a batch
    on one device, therefore divides its sums by the counts of the whole batch, and any sharding or accumulation gives
    the same number.

    An objective may have ``observed``, a set of names: those terms are reported and are no part of the loss.
    """

    def counts(self, batch: Batch) -> dict[str, Array]:
        """Returns the count of every term over the whole ``batch``."""
        ...

    def __call__(
        self, params: PyTree, batch: Batch, key: Array | None, carry: PyTree
    ) -> tuple[dict[str, Mean], PyTree]:
        """Returns the terms, and the carry for the next batch; ``key`` is ``None`` for a deterministic pass."""
        ...


def total(objective: Objective, sums: Mapping[str, Array], counts: Mapping[str, Array]) -> Array:
    """Returns the loss: the sum of the terms' means, without those that are only observed."""
    observed = getattr(objective, "observed", frozenset())
    return sum((ratio(sums[name], counts[name]) for name in sums if name not in observed), jnp.zeros(()))


def ratio(total: Array, count: Array) -> Array:
    """Returns ``total / count``, and 0 where nothing was counted (a batch of padding must not make NaN)."""
    return jnp.where(count > 0, total / jnp.where(count > 0, count, 1), 0)
