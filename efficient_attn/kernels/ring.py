"""``attend`` on the devices of a sharded sequence: each keeps its queries and receives the keys that they see.

A rotation sends keys of every shard, with what belongs to them, ``turn`` devices on, straight and not from hand to hand, so that
rotations that no device needs are left out, devices that see nothing receive nothing, and of a shard only the keys that the
pattern reaches are sent. A causal window needs one rotation of its own length; causal attention sends each shard to all after it.

The result over the keys of each rotation is computed by the implementation at hand, over static blocks: where shards differ in
their pattern the program has a branch for each. Positions that are traced would need no branches, but the schedule would
be made on the device, in every block of the pair. Results are merged by their log-sum-exp.

Reference:
  Liu, Zaharia, Abbeel, "Ring Attention with Blockwise Transformers for Near-Infinite Context", 2023: there, every shard goes
  through the hands of every device.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp

from efficient_attn.kernels.merge import merge_grouped
from efficient_attn.kernels.problem import Problem, Settings
from efficient_attn.kernels.rotations import Rotation, rotations
from efficient_attn.patterns.algebra import Pattern

Run = Callable[[Settings, Problem], tuple[jax.Array, jax.Array]]

# The fields of a problem that have an axis of keys, and which axis that is.
_OF_KEYS = (("key", 1), ("value", 1), ("key_mask", 1), ("key_segments", 1))


@dataclasses.dataclass(frozen=True)
class Ring:
    """The devices that share a sequence, and which part of it and of the heads this one has.

    Args:
      run: computes output ``[B, T, K, G, Hv]`` and log-sum-exp ``[B, T, K, G]`` of a problem.
      settings: static settings; their pattern is not read.
      patterns: the pattern of each part of the heads; one where all parts have the same.
      sequence: mesh axes that share the sequence.
      heads: mesh axes that share the heads.
    """

    run: Run
    settings: Settings
    patterns: tuple[Pattern, ...]
    sequence: tuple[str, ...]
    heads: tuple[str, ...]

    def attend(self, problem: Problem) -> tuple[jax.Array, jax.Array]:
        """Attention of this device's queries over the keys of all devices; called by every device, within ``shard_map``.

        Cost: that of the pairs of shards that have something to see in them; memory for the keys of one other shard at a time,
        in the backward pass too, which has them sent again and computes their attention again.
        """
        devices, length = jax.lax.axis_size(self.sequence), problem.query.shape[1]
        own, *others = rotations(self.patterns, devices, length)
        results = [self._meet(own, problem)]
        for rotation in others:
            results.append(jax.checkpoint(functools.partial(self._receive, rotation))(problem))
        return merge_grouped(results)

    def _receive(self, rotation: Rotation, problem: Problem) -> tuple[jax.Array, jax.Array]:
        """The attention to the keys of one rotation, after they were sent."""
        start = jnp.asarray(rotation.starts)[jax.lax.axis_index(self.sequence)]

        def sent(x: jax.Array, axis: int) -> jax.Array:
            if rotation.keys < x.shape[axis]:
                x = jax.lax.dynamic_slice_in_dim(x, start, rotation.keys, axis)
            return jax.lax.ppermute(x, self.sequence, rotation.pairs)

        fields = {name: (getattr(problem, name), axis) for name, axis in _OF_KEYS}
        changes = {name: sent(x, axis) for name, (x, axis) in fields.items() if x is not None}
        return self._meet(rotation, problem.replace(**changes))

    def _meet(self, rotation: Rotation, problem: Problem) -> tuple[jax.Array, jax.Array]:
        """The attention to the keys in ``problem``, under the pattern that this device has there."""
        runs = [functools.partial(self.run, dataclasses.replace(self.settings, pattern=p)) for p in rotation.patterns]
        numbers = {b for part in rotation.branch for b in part}
        if numbers == {0}:
            return runs[0](problem)
        if numbers == {-1}:
            return _nothing(problem)
        part = jax.lax.axis_index(self.heads) if len(rotation.branch) > 1 else 0
        number = jnp.asarray(rotation.branch)[part, jax.lax.axis_index(self.sequence)]
        return jax.lax.switch(number + 1, [_nothing, *runs], problem)


def _nothing(problem: Problem) -> tuple[jax.Array, jax.Array]:
    """The attention of queries that see no key."""
    shape = problem.query.shape[:-1]
    return jnp.zeros((*shape, problem.value.shape[-1]), problem.value.dtype), jnp.full(shape, -jnp.inf, jnp.float32)


def check_ring(settings: Settings, problem: Problem, devices: int, axes: Sequence[str]) -> None:
    """Raises where a sequence over ``devices`` devices of mesh axes ``axes`` cannot be attended to.

    Raises:
      ValueError: if tokens do not divide among the devices.
      NotImplementedError: for what is numbered by the slots of the whole sequence, or is not self-attention.
    """
    queries, keys, over = problem.query.shape[1], problem.key.shape[1], f"mesh axes {', '.join(axes)}"
    if queries != keys:
        raise NotImplementedError(
            f"a sequence sharded over {over} attends to itself: got {queries} queries and {keys} keys. Shard batch and heads alone"
        )
    if queries % devices:
        raise ValueError(f"{queries} tokens do not divide among {devices} devices of {over}: pad them to a multiple")
    reasons = {
        "bias": (problem.bias, problem.offset_table),
        "query_positions and key_positions": (problem.query_positions, problem.key_positions),
        "dropout_rate > 0": (problem.seed,),
    }
    for name, fields in reasons.items():
        if any(x is not None for x in fields):
            raise NotImplementedError(
                f"attend does not take {name} with the sequence sharded over {over}: which keys travel is decided before positions "
                "are known, and bias and dropout are numbered by slots of the whole sequence. Shard batch and heads alone"
            )
