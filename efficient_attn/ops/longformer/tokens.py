"""Which tokens are global: as many places as a program has room for, and which of them are taken."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from efficient_attn.patterns.algebra import whole_number


@functools.partial(jax.tree_util.register_dataclass, data_fields=["mask", "index"], meta_fields=[])
@dataclasses.dataclass(frozen=True)
class GlobalTokens:
    """The global tokens of each row of a batch: ``G`` places, a number that is known before the program runs."""

    mask: Any
    """bool ``[B, T]``: which tokens have a place."""
    index: Any
    """int32 ``[B, G]``: where they lie, in ascending order; ``T`` in a place that is left over."""

    @property
    def taken(self) -> Bool[Array, "B G"]:
        """Which places hold a token."""
        return self.index < self.mask.shape[1]

    def gather(self, x: Float[Array, "B T *rest"]) -> Float[Array, "B G *rest"]:
        """What ``x`` has for each place; zeros where no token is."""
        index = self.index.reshape(*self.index.shape, *[1] * (x.ndim - 2))
        return jnp.take_along_axis(x, index, axis=1, mode="fill", fill_value=0)

    def overwrite(self, x: Float[Array, "B T *rest"], rows: Float[Array, "B G *rest"]) -> Float[Array, "B T *rest"]:
        """``x`` with the places' rows at their tokens."""
        batch = jnp.arange(x.shape[0])[:, None]
        return x.at[batch, self.index].set(rows, mode="drop")


def find_globals(
    global_mask: Bool[Any, "B T"], key_mask: Bool[Any, "B T"] | None, max_globals: int
) -> GlobalTokens | None:
    """The global tokens that are not hidden: the first ``max_globals`` of each row.

    Args:
      global_mask: True makes a token global.
      key_mask: False hides a token, which then is not global either.
      max_globals: places in each row.

    Returns:
      The places; None if there are none.

    Raises:
      ValueError: outside of traced code, if a row has more global tokens than places. In traced code, where they cannot be
        counted, the first ``max_globals`` are global and the others are local tokens.

    Cost: O(B T).
    """
    max_globals = whole_number(max_globals, "max_globals", least=0)
    mask = jnp.asarray(global_mask)
    mask = mask if key_mask is None else mask & jnp.asarray(key_mask)
    rank = jnp.cumsum(mask, axis=1, dtype=jnp.int32)
    if not isinstance(mask, jax.core.Tracer) and (most := int(rank[:, -1].max(initial=0))) > max_globals:
        raise ValueError(f"a row has {most} global tokens, but max_globals leaves room for {max_globals}")
    places, tokens = min(max_globals, mask.shape[1]), mask.shape[1]
    if not places:
        return None
    find = functools.partial(jnp.nonzero, size=places, fill_value=tokens)
    return GlobalTokens(mask & (rank <= places), jax.vmap(lambda row: find(row)[0])(mask).astype(jnp.int32))
