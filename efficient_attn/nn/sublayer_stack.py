"""A stack of sublayers in any order: each run of equal blocks is a ``Stack``, so that a sandwich compiles three.

Attention sublayer ``l``, counted by itself, has pattern ``l % len(patterns)`` of the cycle. Feed-forwards that stand alone have no
cache.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
from flax import nnx
from jaxtyping import Array, Float, Int

from efficient_attn.nn.attention import Attention
from efficient_attn.nn.block import Block
from efficient_attn.nn.cache import AnyCache
from efficient_attn.nn.stack import Caches, Remat, Stack
from efficient_attn.nn.stack import Run as Each
from efficient_attn.nn.sublayers import Run, Unit, runs, sandwich_order
from efficient_attn.patterns.algebra import Pattern

MakeBlock = Callable[[Unit, int, nnx.Rngs], Block]
"""The block of a unit at a place of the cycle, from its randomness."""


class SublayerStack(nnx.Module):
    """Blocks in the order of a string.

    Args:
      make_block: makes them.
      order: of ``s`` and ``f``.
      patterns: the cycle.
      remat: what the backward pass recomputes.
      key: randomness of the initial parameters.
    """

    def __init__(self, make_block: MakeBlock, order: str, patterns: tuple[Pattern, ...], remat: Remat, key: jax.Array):
        self.order, self.patterns = order, patterns
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
        return self.run(x, key, lambda block, pattern, x, key: block(x, pattern, dropout, key))

    def run(self, x: Any, key: jax.Array | None, each: Each) -> Any:
        """All sublayers on a whole sequence, each block as ``each`` calls it; arguments as in ``Stack``."""
        count = len(self.runs)
        keys = [key] if key is None or count == 1 else jax.random.split(key, count)
        for place, stack in enumerate(self.runs):
            x = stack.run(x, keys[place % len(keys)], each)
        return x

    def step(
        self, x: Float[Array, "B 1 D"], caches: list[Caches], position: Int[Array, ""], slots: tuple
    ) -> tuple[Float[Array, "B 1 D"], list[Caches]]:
        """All sublayers on one token, as in ``Stack``."""
        return self.step_each(Block.step, x, caches, position, slots)

    def step_each(
        self,
        step: Callable[..., Any],
        x: Float[Array, "B 1 D"],
        caches: list[Caches],
        position: jax.Array,
        slots: tuple,
        beside: list[Caches] | None = None,
    ) -> tuple[Float[Array, "B 1 D"], list[Caches]]:
        """``step`` of each block with an attention, as in ``Stack``, where the state is the residual stream alone."""
        after, others = [], [None] * len(self.runs) if beside is None else beside
        parts = zip(_starts(runs(self.order)), self.runs, caches, others, strict=True)
        for (run, first), stack, cache, other in parts:
            if run.unit == "f":
                x = stack.run(x, None, lambda block, pattern, x, key: block.feed(x))
            else:
                x, cache = stack.step_each(step, x, cache, position, _rotated(slots, first), other)
            after.append(cache)
        return x, after

    def init_caches(self, make: Callable[[Attention, Pattern], AnyCache]) -> list[Caches]:
        """Empty caches of all attentions, in the arrangement that ``step`` takes."""
        return self._of_attentions(lambda stack: stack.init_caches(make))

    def of_blocks(self, read: Callable[[Any], Any]) -> list[Caches]:
        """What ``read`` makes of each block with an attention, arranged as caches are."""
        return self._of_attentions(lambda stack: stack.of_blocks(read))

    def _of_attentions(self, made: Callable[[Stack], Caches]) -> list[Caches]:
        units = [run.unit for run in runs(self.order)]
        return [([], []) if unit == "f" else made(stack) for unit, stack in zip(units, self.runs, strict=True)]


def ordered(
    make_block: MakeBlock, order: str | None, depth: int, cycle: tuple[Pattern, ...], remat: Remat, key: jax.Array
) -> Stack | SublayerStack:
    """The blocks of an order, None for ``depth`` in turn; in the ordinary order, however that is written, a ``Stack``."""
    if order is None or order == sandwich_order(depth, 0):
        return Stack(functools.partial(make_block, "sf"), depth, cycle, remat, key)
    return SublayerStack(make_block, order, cycle, remat, key)


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
