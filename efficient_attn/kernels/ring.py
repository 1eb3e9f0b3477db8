"""``attend`` on the devices of a sharded sequence: each keeps its queries and receives the keys that they see.

A rotation sends keys of every shard, with what belongs to them, ``turn`` devices on, straight and not from hand to hand, so that
rotations that no device needs are left out, devices that see nothing receive nothing, and of a shard only the keys that the
pattern reaches are sent. A causal window needs one rotation of its own length; causal attention sends each shard to all after it.

The result over the keys of each rotation is computed by the implementation at hand, over static blocks: where shards differ in
their pattern the program has a branch for each. Positions that are traced would need no branches, but the schedule would
be made on the device, in every block of the pair. Results are merged by their log-sum-exp as they come,

    o = sum_r w_r o_r,   w_r = exp(L_r - L),   do_r = w_r do,   dL_r = w_r (do . (o_r - o) + dL)

and the backward pass, which keeps the last of them, receives the keys of each rotation again.

Reference:
  Liu, Zaharia, Abbeel, "Ring Attention with Blockwise Transformers for Near-Infinite Context", 2023: there, every shard goes
  through the hands of every device.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

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
        and in float32 for one result, in the backward pass for one gradient.
        """
        return _attend(self, *_apart(problem))

    def each(self, length: int) -> tuple[Rotation, ...]:
        """The rotations, that of the device's own keys first; ``length`` tokens lie on a device."""
        return rotations(self.patterns, jax.lax.axis_size(self.sequence), length)

    def part_of(self, rotation: Rotation, rest: Problem) -> Callable[..., tuple[jax.Array, jax.Array]]:
        """A function from queries, keys and values to the attention to the keys of one rotation."""
        run = self._receive if rotation.turn else self._meet
        return lambda query, key, value: run(rotation, rest.replace(query=query, key=key, value=value))

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


def _apart(problem: Problem) -> tuple[tuple[jax.Array, ...], Problem]:
    """What has a gradient, and the rest."""
    return (problem.query, problem.key, problem.value), problem.replace(query=None, key=None, value=None)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _attend(ring: Ring, floats: tuple[jax.Array, ...], rest: Problem) -> tuple[jax.Array, jax.Array]:
    return _attend_forward(ring, floats, rest)[0]


def _attend_forward(ring: Ring, floats: tuple[jax.Array, ...], rest: Problem) -> tuple[Any, Any]:
    own, *others = ring.each(floats[0].shape[1])
    first, pullback = jax.vjp(ring.part_of(own, rest), *floats)
    output, lse = first
    output = output.astype(_summed(output, others))
    for place, rotation in enumerate(others):
        if place:
            # One rotation after the other: left alone, a compiler has the keys of all sent first.
            floats, (output, lse) = jax.lax.optimization_barrier((floats, (output, lse)))
        output, lse = merge_grouped([(output, lse), ring.part_of(rotation, rest)(*floats)])
    output = output.astype(first[0].dtype)
    # Of many rotations the first is computed again as the others are; a window's own keys are most of it, and are not.
    return (output, lse), (floats, rest, (output, lse), (first, pullback) if len(others) < 2 else None)


def _attend_backward(ring: Ring, kept: Any, slopes: tuple[jax.Array, jax.Array]) -> tuple[Any, None]:
    floats, rest, whole, begun = kept
    own, *others = ring.each(floats[0].shape[1])
    first, pullback = jax.vjp(ring.part_of(own, rest), *floats) if begun is None else begun
    gradients = tuple(x.astype(_summed(x, others)) for x in pullback(_through(first, whole, slopes)))
    for place, rotation in enumerate(others):
        if place:
            floats, gradients = jax.lax.optimization_barrier((floats, gradients))
        part, pullback = jax.vjp(ring.part_of(rotation, rest), *floats)
        more = pullback(_through(part, whole, slopes))
        gradients = tuple(total + x.astype(total.dtype) for total, x in zip(gradients, more, strict=True))
    return tuple(total.astype(x.dtype) for total, x in zip(gradients, floats, strict=True)), None


def _summed(x: jax.Array, others: Sequence[Rotation]) -> jnp.dtype:
    """The format of a running sum: a rounding to that of ``x`` for each of many rotations would add up."""
    return jnp.dtype(jnp.float32) if len(others) > 1 else x.dtype


def _through(
    part: tuple[jax.Array, jax.Array], whole: tuple[jax.Array, jax.Array], slopes: tuple[jax.Array, jax.Array]
) -> tuple[jax.Array, jax.Array]:
    """The cotangents of one rotation's output and log-sum-exp, from those of the whole."""
    (own, own_lse), (output, lse), slope = part, whole, slopes[0].astype(jnp.float32)
    # Where nothing was seen, minus infinity is replaced before it meets arithmetic.
    share = jnp.exp(own_lse - jnp.where(jnp.isneginf(lse), 0.0, lse))
    apart = own.astype(jnp.float32) - output.astype(jnp.float32)
    return (share[..., None] * slope).astype(own.dtype), share * ((slope * apart).sum(-1) + slopes[1])


_attend.defvjp(_attend_forward, _attend_backward)


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
