"""A stack of blocks whose patterns repeat in a cycle: the parameters of a cycle's layers are stacked and scanned over.

The compiled program holds one cycle, however deep the model; where the depth is not a multiple of the cycle, the rest follows
unrolled.
"""

from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from efficient_attn.nn.attention import Attention
from efficient_attn.nn.block import Block, Residual
from efficient_attn.nn.cache import AnyCache, of_layer
from efficient_attn.patterns.algebra import Pattern

Remat = Literal["none", "block", "products", "offloaded"]

# What a backward pass recomputes: nothing, whole blocks, or all but matrix products; these wait in the memory of the device, or in
# that of its host.
_POLICIES = {
    "block": None,
    "products": jax.checkpoint_policies.dots_with_no_batch_dims_saveable,
    "offloaded": jax.checkpoint_policies.offload_dot_with_no_batch_dims("device", "pinned_host"),
}


class Stack(nnx.Module):
    """``depth`` blocks; layer ``l`` has pattern ``l % len(patterns)`` of the cycle.

    Args:
      make_block: the block at a place of the cycle, from its randomness.
      depth: number of blocks.
      patterns: the cycle.
      remat: what the backward pass recomputes.
      key: randomness of the initial parameters.
    """

    def __init__(
        self,
        make_block: Callable[[int, nnx.Rngs], Residual],
        depth: int,
        patterns: tuple[Pattern, ...],
        remat: Remat,
        key: jax.Array,
    ):
        self.patterns, self.remat = patterns, remat
        cycles, rest = divmod(depth, len(patterns))
        keys = jax.random.split(key, depth)
        # One array of keys for each place in the cycle: the layers at that place, in order.
        places = [keys[: cycles * len(patterns)][place :: len(patterns)] for place in range(len(patterns))]
        make = lambda place: jax.vmap(lambda k: make_block(place, nnx.Rngs(k)))  # noqa: E731
        self.cycle = nnx.List([make(place)(k) for place, k in enumerate(places)] if cycles else [])
        self.rest = nnx.List([make_block(place, nnx.Rngs(k)) for place, k in enumerate(keys[depth - rest :])])

    def __call__(self, x: Float[Array, "B T D"], dropout: float, key: jax.Array | None) -> Float[Array, "B T D"]:
        """All blocks on a whole sequence."""
        return self.run(x, key, lambda block, pattern, x, key: block(x, pattern, dropout, key))

    def run(self, x: Any, key: jax.Array | None, each: "Run") -> Any:
        """All blocks on a whole sequence, each as ``each`` calls it.

        Args:
          x: the beginning of the residual stream, and of whatever else goes from block to block.
          key: split into one for each block; None is without.
          each: the residual stream after a block, from the block, its entry of the cycle, the stream before, and its key.
        """
        depth = self._cycles() * len(self.patterns) + len(self.rest)
        keys = None if key is None else jax.random.split(key, depth)
        cycled, rest = self._split(keys)

        def one_cycle(x, layers):
            blocks, keys = layers
            for place, (block, pattern) in enumerate(zip(blocks, self.patterns, strict=True)):
                x = self._checkpointed(pattern, each)(block, x, None if keys is None else keys[place])
            return x, None

        if self.cycle:
            # A short scan is unrolled: a CPU program is faster so, and hardly longer to compile.
            x, _ = jax.lax.scan(one_cycle, x, (list(self.cycle), cycled), unroll=self._cycles() <= 4)
        for place, (block, pattern) in enumerate(zip(self.rest, self.patterns, strict=False)):
            x = self._checkpointed(pattern, each)(block, x, None if rest is None else rest[place])
        return x

    def step(
        self, x: Float[Array, "B 1 D"], caches: "Caches", position: Int[Array, ""], slots: tuple
    ) -> tuple[Float[Array, "B 1 D"], "Caches"]:
        """All blocks on one token; ``slots`` has the slot of this position for each place in the cycle."""
        return self.step_each(Block.step, x, caches, position, slots)

    def step_each(
        self,
        step: Callable[..., Any],
        state: Any,
        caches: "Caches",
        position: jax.Array,
        slots: tuple,
        beside: "Caches | None" = None,
    ) -> tuple[Any, "Caches"]:
        """``step`` of each layer with its pattern, cache and slot, from state to state; and the new caches.

        Args:
          step: the state and the cache after a layer, from its block, the state before, its pattern, its cache, the
            position and the slot; with ``beside``, from the pair of its block and its entry there.
          state: before the first layer.
          caches: from ``init_caches``.
          position: of the token.
          slots: its slot for each place in the cycle.
          beside: what ``step`` takes of each layer beside its block, arranged as caches are; None: nothing.
        """

        def some(state: Any, layers: Any, caches: list[AnyCache]) -> tuple[Any, list[AnyCache]]:
            after = []
            # The blocks may be fewer than a cycle.
            for layer, cache, pattern, slot in zip(layers, caches, self.patterns, slots, strict=False):
                state, cache = step(layer, state, pattern, cache, position, slot)
                after.append(cache)
            return state, after

        def one_cycle(carried: tuple[Any, list[AnyCache]], now: tuple[jax.Array, Any]) -> tuple[Any, None]:
            state, caches = carried
            state, caches = some(state, now[1], [of_layer(cache, now[0]) for cache in caches])
            return (state, [of_layer(cache, None) for cache in caches]), None

        layers = list(self.cycle), list(self.rest)
        if beside is not None:
            layers = tuple([*zip(blocks, others, strict=True)] for blocks, others in zip(layers, beside, strict=True))
        (cycled, rest), (stacked, alone) = caches, layers
        if self.cycle:
            # Caches are carried, and not scanned over, which would copy them all for each token.
            each = (jnp.arange(self._cycles()), stacked)
            (state, cycled), _ = jax.lax.scan(one_cycle, (state, cycled), each, unroll=self._cycles() <= 4)
        state, rest = some(state, alone, rest)
        return state, (cycled, rest)

    def init_caches(self, make: Callable[[Attention, Pattern], AnyCache]) -> "Caches":
        """Empty caches of all layers, in the arrangement that ``step`` takes, each made for an attention and its pattern."""
        cycles = self._cycles()
        stacked = lambda cache: jax.tree.map(lambda a: jnp.broadcast_to(a, (cycles, *a.shape)), cache)  # noqa: E731
        made = lambda blocks: [make(b.attention, p) for b, p in zip(blocks, self.patterns, strict=False)]  # noqa: E731
        return [stacked(cache) for cache in made(self.cycle)], made(self.rest)

    def of_blocks(self, read: Callable[[Any], Any]) -> "Caches":
        """What ``read`` makes of each block, arranged as caches are."""
        return [jax.vmap(read)(block) for block in self.cycle], [read(block) for block in self.rest]

    def _cycles(self) -> int:
        # Every array of a cycle's block has the cycles along its first axis.
        return jax.tree.leaves(self.cycle[0])[0].shape[0] if self.cycle else 0

    def _split(self, keys: jax.Array | None):
        """The layers' keys as ``[cycles, places]`` and those of the rest."""
        if keys is None:
            return None, None
        cycled = self._cycles() * len(self.patterns)
        return keys[:cycled].reshape(-1, len(self.patterns)), keys[cycled:]

    def _checkpointed(self, pattern: Pattern, each: "Run"):
        return checkpointed(lambda block, x, key: each(block, pattern, x, key), self.remat)


def checkpointed(run: Callable[..., Any], remat: Remat) -> Callable[..., Any]:
    """``run``, of whose results the backward pass recomputes what ``remat`` says."""
    return run if remat == "none" else jax.checkpoint(run, policy=_POLICIES[remat])


def matrices(params: Any) -> Any:
    """Marks the parameters that weight decay shrinks: those of two dimensions or more within one layer.

    The axis along which ``Stack.cycle`` lays its layers side by side is not counted, so that biases and gains stay whole
    however many layers share their array.
    """

    return jax.tree_util.tree_map_with_path(lambda path, x: x.ndim - is_stacked(path) > 1, params)


def is_stacked(path: tuple[Any, ...]) -> bool:
    """Whether the array of this path has the layers of a cycle along its first axis."""
    return any(getattr(part, "key", None) == "cycle" for part in path)


Run = Callable[[Any, Any, Any, jax.Array | None], Any]

Caches = tuple[list[Any], list[Any]]
