"""Reversible residual stacks: the backward pass rebuilds activations, so memory does not grow with depth.

    (a, b) -> (b, a + f(b))   is undone by   (b, c) -> (c - f(b), b)

A layer of attention and feed-forward is two such steps: ``y1 = x1 + attention(x2)``, ``y2 = x2 + feedforward(y1)``. What is kept
is the last pair of streams, and for each step what it asks to be reminded of ("memo"): rebuilt activations differ in the last
bits, which would now and then move a token to another hash bucket. Time: one more forward pass than the plain stack.

Streams are float32 or wider: differences of low-precision sums would drift with depth.

References:
  Gomez et al., "The Reversible Residual Network", 2017, section 3.
  Kitaev, Kaiser and Levskaya, "Reformer: The Efficient Transformer", 2020, section 3.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

# (parameters, stream, shared, memo) -> (update, memo). The memo is None on the way forward and what was returned on the way back.
Branch = Callable[[Any, jax.Array, Any, Any], tuple[jax.Array, Any]]
Streams = tuple[jax.Array, jax.Array]


def reversible_stack(
    branches: Sequence[Branch],
    parameters: Sequence[Any],
    streams: tuple[Float[Array, "..."], Float[Array, "..."]],
    shared: Any = None,
) -> tuple[Float[Array, "..."], Float[Array, "..."]]:
    """Runs a cycle of residual branches, repeated, keeping no activations for the backward pass.

    Args:
      branches: functions ``(parameters, stream, shared, memo) -> (update, memo)``; for Reformer ``(attention, feedforward)``.
        They must be pure, with random keys among their parameters, and give on the way back, with their memo, what they
        gave on the way forward. A branch without memo returns None. Memos have no gradient.
      parameters: for each branch a tree of arrays whose first axis runs over the repetitions. Leaves that are not
        floating-point (keys, offsets) have no gradient.
      streams: the pair of residual streams; both start as the embedded tokens.
      shared: a tree of arrays given to every branch, such as masks and positions; differentiable where floating-point.

    Returns:
      The two streams after all repetitions. With an even number of branches each is in its own place.

    Raises:
      ValueError: if there is no branch, the lengths disagree, or the streams differ in shape or are below float32.

    Cost: backward, O(1) activations in depth, plus the memos; two evaluations of each branch forward and one backward.
    """
    _check(branches, parameters, streams)
    return _run(tuple(branches), streams, tuple(parameters), shared)


def _check(branches: Sequence[Branch], parameters: Sequence[Any], streams: Streams) -> None:
    if not branches or len(branches) != len(parameters):
        raise ValueError(
            f"each of at least one branch needs parameters, got {len(branches)} branches and {len(parameters)} trees"
        )
    first, second = streams
    if first.shape != second.shape or first.dtype != second.dtype or first.dtype.itemsize < 4:
        raise ValueError(
            "the streams must agree in shape and format and be float32 or wider, got "
            f"{first.dtype} {first.shape} and {second.dtype} {second.shape}"
        )
    lengths = {x.shape[:1] for x in jax.tree.leaves(tuple(parameters))}
    if len(lengths) != 1 or () in lengths:
        raise ValueError(f"all parameters must have the same first axis, the repetitions, got {sorted(lengths)}")


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _run(branches: tuple[Branch, ...], streams: Streams, parameters: tuple[Any, ...], shared: Any) -> Streams:
    return _forward(branches, streams, parameters, shared)[0]


def _forward(
    branches: tuple[Branch, ...], streams: Streams, parameters: tuple[Any, ...], shared: Any
) -> tuple[Streams, Any]:
    """The last streams and the memos of every step."""

    def repetition(streams: Streams, own: tuple[Any, ...]) -> tuple[Streams, tuple[Any, ...]]:
        memos = []
        for branch, p in zip(branches, own, strict=True):
            a, b = streams
            update, memo = branch(p, b, shared, None)
            streams = b, a + update.astype(a.dtype)
            memos.append(memo)
        return streams, tuple(memos)

    return jax.lax.scan(repetition, streams, parameters)


def _run_forward(
    branches: tuple[Branch, ...], streams: Streams, parameters: tuple[Any, ...], shared: Any
) -> tuple[Streams, Any]:
    last, memos = _forward(branches, streams, parameters, shared)
    return last, (last, memos, parameters, shared)


def _run_backward(branches: tuple[Branch, ...], kept: Any, slopes: Streams) -> tuple[Any, Any, Any]:
    last, memos, parameters, shared = kept
    shared_floats, shared_rest = _floats(shared)

    def repetition(carry: Any, own: Any) -> tuple[Any, Any]:
        streams, slopes, shared_slope = carry
        own_slopes = []
        for branch, p, memo in reversed(list(zip(branches, *own, strict=True))):
            streams, slopes, own_slope, more = _step_back(
                branch, p, memo, streams, slopes, (shared_floats, shared_rest)
            )
            own_slopes.insert(0, own_slope)
            shared_slope = jax.tree.map(jnp.add, shared_slope, more)
        return (streams, slopes, shared_slope), tuple(own_slopes)

    start = (last, slopes, jax.tree.map(jnp.zeros_like, shared_floats))
    (_, slopes, shared_slope), own_slopes = jax.lax.scan(repetition, start, (parameters, memos), reverse=True)
    return slopes, own_slopes, shared_slope


def _step_back(
    branch: Branch, parameters: Any, memo: Any, streams: Streams, slopes: Streams, shared: tuple[Any, Any]
) -> tuple[Streams, Streams, Any, Any]:
    """Undoes one step, and carries gradients across it."""
    b, c = streams
    floats, rest = _floats(parameters)

    def update(floats: Any, b: jax.Array, shared_floats: Any) -> jax.Array:
        found, _ = branch(_join(floats, rest), b, _join(shared_floats, shared[1]), memo)
        return found.astype(c.dtype)

    delta, pullback = jax.vjp(update, floats, b, shared[0])
    own_slope, through, shared_slope = pullback(slopes[1])
    return (c - delta, b), (slopes[1], slopes[0] + through), own_slope, shared_slope


def _floats(tree: Any) -> tuple[Any, Any]:
    """The tree with its floating-point leaves only, and with the others only; None in the gaps."""
    chosen = lambda x: jnp.issubdtype(x.dtype, jnp.inexact)  # noqa: E731
    return jax.tree.map(lambda x: x if chosen(x) else None, tree), jax.tree.map(
        lambda x: None if chosen(x) else x, tree
    )


def _join(floats: Any, rest: Any) -> Any:
    return jax.tree.map(lambda x, y: y if x is None else x, floats, rest, is_leaf=lambda x: x is None)


_run.defvjp(_run_forward, _run_backward)
