"""A stack of sublayers in any order: each run of equal blocks is a ``Stack``, so that a sandwich compiles three.

Attention sublayer ``l``, counted by itself, has pattern ``l % len(patterns)`` of the cycle. Feed-forwards that stand alone have no
cache.
"""

from collections.abc import Callable
from typing import Any

import jax
from flax import nnx
from jaxtyping import Array, Float, Int

from efficient_attn.nn.attention import Attention
from efficient_attn.nn.block import Block
from efficient_attn.nn.cache import AnyCache
from efficient_attn.nn.stack import Caches, Remat, Stack
from efficient_attn.nn.sublayers import Run, Unit, runs
from efficient_attn.patterns.algebra import Pattern


class SublayerStack(nnx.Module):
    """Blocks in the order of a string.

    Args:
      make_block: the block of a unit at a place of the cycle, from its randomness.
      order: of ``s`` and ``f``.
      patterns: the cycle.
      remat: what the backward pass recomputes.
      key: randomness of the initial parameters.
    """

    def __init__(
        self,
        make_block: Callable[[Unit, int, nnx.Rngs], Block],
        order: str,
        patterns: tuple[Pattern, ...],
        remat: Remat,
        key: jax.Array,
    ):
        self.order, self.cycle_length = order, len(patterns)
        parts = runs(order)
        # A single run is what ``Stack`` makes of the key.
        keys = [key] if len(parts) == 1 else jax.random.split(key, len(parts))
        made = []
        for (run, first), one in zip(_starts(parts), keys, strict=True):
            make = lambda place, rngs, run=run, first=first: make_block(run.unit, (first + place) % len(patterns), rngs)  # noqa: E731
            made.append(Stack(make, run.repeats, _rotated(patterns, first), remat, one))
        self.runs = nnx.List(made)

    def __call__(self, x: Float[Array, "B T D"], dropout: float, key: jax.Array | None) -> Float[Array, "B T D"]:
        """All sublayers on a whole sequence."""
        count = len(self.runs)
        keys = [key] if key is None or count == 1 else jax.random.split(key, count)
        for place, stack in enumerate(self.runs):
            x = stack(x, dropout, keys[place % len(keys)])
        return x

    def step(
        self, x: Float[Array, "B 1 D"], caches: list[Caches], position: Int[Array, ""], slots: tuple
    ) -> tuple[Float[Array, "B 1 D"], list[Caches]]:
        """All sublayers on one token, as in ``Stack``."""
        after = []
        for (run, first), stack, cache in zip(_starts(runs(self.order)), self.runs, caches, strict=True):
            if run.unit == "f":
                x = stack(x, 0.0, None)
            else:
                x, cache = stack.step(x, cache, position, _rotated(slots, first))
            after.append(cache)
        return x, after

    def init_caches(self, make: Callable[[Attention, Pattern], AnyCache]) -> list[Caches]:
        """Empty caches of all attentions, in the arrangement that ``step`` takes."""
        units = [run.unit for run in runs(self.order)]
        return [([], []) if u == "f" else s.init_caches(make) for u, s in zip(units, self.runs, strict=True)]


def _starts(parts: tuple[Run, ...]) -> list[tuple[Run, int]]:
    """Runs, and how many attentions come before each."""
    before, found = 0, []
    for run in parts:
        found.append((run, before))
        before += run.repeats * (run.unit != "f")
    return found


def _rotated(cycle: tuple[Any, ...], first: int) -> tuple[Any, ...]:
    """A cycle that begins at another of its places."""
    start = first % len(cycle)
    return (*cycle[start:], *cycle[:start])


AnyCaches = Caches | list[Caches]
