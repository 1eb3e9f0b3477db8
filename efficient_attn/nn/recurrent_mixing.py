"""A recurrent cell where a block has its attention: tokens reach each other through a state, whose size does not grow.

    mixed = output(cell(x))

Decoding needs the state alone, whatever the length. ``layers`` lets recurrent layers and attention over patterns take turns.
"""

import dataclasses

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Int

from efficient_attn.nn.attention import Attention, linear
from efficient_attn.nn.cache import RecurrentState
from efficient_attn.nn.initializers import Initialization
from efficient_attn.nn.recurrent import CellName, RecurrentLayer
from efficient_attn.nn.turns import parse_turns
from efficient_attn.patterns.algebra import Pattern
from efficient_attn.precision import Precision


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recurrent:
    """A recurrent cell in place of attention, in all layers or in turn with others."""

    cell: CellName = "nbrc"
    layers: tuple[str, ...] = ("recurrent",)
    """A cycle: each entry is ``recurrent`` or the pattern of a layer of ordinary attention, as ``Causal() & Window(left=127)``."""

    def __post_init__(self):
        self.parsed()

    def parsed(self) -> tuple[Pattern, ...]:
        """The pattern of each layer of the cycle; a recurrent one may see all earlier tokens."""
        return parse_turns("Recurrent", "recurrent", self.layers)

    @property
    def longest(self) -> None:
        """Any number of tokens will do."""
        return None


class RecurrentMixing(Attention):
    """A cell of ``value_width`` units and a projection back; arguments as of ``SelfAttention``, of which heads and rotary positions
    mean nothing here.

    Args:
      cell: which.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        key_heads: int,
        qk_width: int,
        init: Initialization,
        precision: Precision,
        *,
        cell: CellName,
        rotary: float | None = None,
        value_width: int | None = None,
        bias: bool = True,
        rngs: nnx.Rngs,
    ):
        del qk_width, rotary
        units = width if value_width is None else value_width
        self.heads, self.key_heads, self.sizes = heads, key_heads, (0, 0)
        self.layer = RecurrentLayer(cell, width, units, rngs=rngs)
        self.output = linear(precision, bias, rngs)(units, width, kernel_init=init.residual(units))

    def __call__(
        self, x: Float[Array, "B T D"], pattern: Pattern, key_mask: Bool[Array, "B T"] | None = None
    ) -> Float[Array, "B T D"]:
        """The cell over the tokens of ``x``.

        Raises:
          NotImplementedError: if ``key_mask`` is given, since a cell reads every token.
        """
        if key_mask is not None:
            raise NotImplementedError("a recurrent layer reads every token: it takes no key_mask")
        return self.output(self.layer(self._read(x))[0])

    def empty_cache(self, batch: int, slots: int) -> RecurrentState:
        """The state before the first token, however many there will be."""
        return RecurrentState(self.layer.empty_state(batch))

    def step(
        self,
        x: Float[Array, "B 1 D"],
        pattern: Pattern,
        cache: RecurrentState,
        position: Int[Array, ""],
        slot: Int[Array, ""],
    ) -> tuple[Float[Array, "B 1 D"], RecurrentState]:
        """One token after those that the state has seen; equal to that row of ``__call__``."""
        states, after = self.layer(self._read(x), cache.seen())
        return self.output(states), cache.write(after)

    def _read(self, x: jax.Array) -> jax.Array:
        """The tokens in the format of products."""
        return x.astype(jnp.dtype(self.output.dtype))
