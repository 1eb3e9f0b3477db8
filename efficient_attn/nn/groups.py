"""Tokens in groups that are routed together and never leave their row, however rows and sequences lie on the mesh.

Where the mesh shards the sequence, a device makes groups of its own tokens. They are then numbered device by device and not row
by row: groups share nothing, so their order has no meaning.
"""

import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Array, Shaped

from efficient_attn.sharding import STREAM, constrain, fitting, on_mesh

# Groups over all axes that deal out tokens. ``expert`` comes last, so that an all-to-all along it moves neighbours; and so do the
# places [G E C D] of all experts, of which each device along ``expert`` then has those of its own.
_GROUPS, _EXPERTS = jax.P(("data", "sequence", "expert")), jax.P(("data", "sequence"), "expert")


@dataclasses.dataclass(frozen=True)
class Groups:
    """How the tokens of a batch are put into groups; the last of a row may end in padding."""

    batch: int
    """``B``, rows of the batch."""
    tokens: int
    """``T``, tokens of a row."""
    size: int
    """``S``, tokens of a group."""

    @property
    def of_a_row(self) -> int:
        """Groups of a row."""
        return -(-self.tokens // self.size)

    @property
    def number(self) -> int:
        """``G``, groups of the batch."""
        return self.batch * self.of_a_row

    @property
    def spec(self) -> jax.P | None:
        """How an array ``[G, ...]`` lies; None: no axis of the mesh deals out these groups."""
        return fitting(_GROUPS, (self.number,)) if self._stream is None else on_mesh(_GROUPS)

    @property
    def _stream(self) -> jax.P | None:
        """How whole groups of a row lie where a device has some of them; None where it has all, or parts of groups."""
        stream = fitting(STREAM, (self.batch, self.of_a_row))
        whole = self.of_a_row * self.size == self.tokens
        return stream if whole and stream is not None and stream[1] else None

    def split(self, x: Shaped[Array, "B T *rest"]) -> Shaped[Array, "G S *rest"]:
        """The groups, with zeros for padding."""
        padding = [(0, 0)] * x.ndim
        padding[1] = (0, self.of_a_row * self.size - x.shape[1])
        x = jnp.pad(x, padding).reshape(self.batch, self.of_a_row, self.size, *x.shape[2:])
        merge = lambda x: x.reshape(-1, *x.shape[2:])  # noqa: E731
        if self._stream is None:
            return constrain(merge(x), self.spec)
        return jax.shard_map(merge, in_specs=self._stream, out_specs=self.spec, check_vma=False)(x)

    def join(self, x: Shaped[Array, "G S *rest"]) -> Shaped[Array, "B T *rest"]:
        """The rows again, without their padding."""
        if self._stream is None:
            return x.reshape(self.batch, -1, *x.shape[2:])[:, : self.tokens]
        own = self.of_a_row // jax.sharding.get_abstract_mesh().shape["sequence"]
        part = lambda x: x.reshape(-1, own * x.shape[1], *x.shape[2:])  # noqa: E731
        return jax.shard_map(part, in_specs=self.spec, out_specs=self._stream, check_vma=False)(x)


def to_experts(rows: Shaped[Array, "G E *rest"]) -> Shaped[Array, "G E *rest"]:
    """Each device's groups of all experts, given for all groups of its own experts: one all-to-all."""
    return _exchanged(rows, _GROUPS, _EXPERTS, 1, 0)


def to_groups(rows: Shaped[Array, "G E *rest"]) -> Shaped[Array, "G E *rest"]:
    """The way back of ``to_experts``."""
    return _exchanged(rows, _EXPERTS, _GROUPS, 0, 1)


def _exchanged(rows: jax.Array, before: jax.P, after: jax.P, split: int, concat: int) -> jax.Array:
    """All-to-all along ``expert``; a constraint where groups or experts do not divide among its devices.

    Constraints alone would say the same, but where the compiler finds no all-to-all for them it gathers everything in silence.
    """
    given, wanted = fitting(before, rows.shape), fitting(after, rows.shape)
    if given is None or wanted is None or dict(jax.sharding.get_abstract_mesh().shape).get("expert", 1) == 1:
        return constrain(rows, wanted)
    exchange = lambda x: jax.lax.all_to_all(x, "expert", split, concat, tiled=True)  # noqa: E731
    return jax.shard_map(exchange, in_specs=given, out_specs=wanted, check_vma=False)(rows)
