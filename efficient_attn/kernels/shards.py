"""``attend`` on a mesh: each device computes its own batch rows, queries and heads, by ``shard_map``.

The kernels are not for the compiler to partition: a Pallas kernel cannot be, and a scan over slabs would be gathered.
"""

import dataclasses
import functools
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.sharding import AxisType

from efficient_attn.kernels.problem import Problem, Settings
from efficient_attn.kernels.ring import Ring, check_ring
from efficient_attn.patterns.algebra import Pattern, PerHead
from efficient_attn.sharding import names

Run = Callable[[Settings, Problem], tuple[jax.Array, jax.Array]]


def attend_sharded(
    run: Run, settings: Settings, problem: Problem, query_spec: jax.P | None
) -> tuple[jax.Array, jax.Array]:
    """Runs ``run`` on every device's part, or as it is where nothing is sharded.

    Args:
      run: computes output ``[B, T, K, G, Hv]`` and log-sum-exp ``[B, T, K, G]`` of a problem.
      settings: static settings.
      problem: the whole problem.
      query_spec: mesh axes of ``B, T, N, H``; None reads them from the query's type on an Explicit mesh.

    Raises:
      ValueError: if the head size is sharded, or heads more finely than key heads divide, or tokens do not divide.
      NotImplementedError: for what ``check_ring`` says of a sharded sequence.
    """
    spec = _axes(problem, query_spec)
    if not any(spec):
        return run(settings, problem)
    batch, tokens, heads = spec
    run_own = _of_device(run, settings, problem, names(tokens), names(heads))
    specs = _specs(problem, spec)
    out = (jax.P(batch, tokens, heads, None, None), jax.P(batch, tokens, heads, None))
    # The trees are flattened because a spec of None inside a pytree node would be read as an absent node.
    leaves, tree = jax.tree.flatten(problem)
    flat = jax.shard_map(
        lambda *parts: run_own(jax.tree.unflatten(tree, parts)),
        in_specs=tuple(specs),
        out_specs=out,
        check_vma=False,
    )
    return flat(*leaves)


def _axes(problem: Problem, spec: jax.P | None):
    """The mesh axes of batch, tokens and heads."""
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty:
        if spec is not None and any(spec):
            raise ValueError(f"query_spec={spec} needs a mesh: call attend under jax.set_mesh(mesh)")
        return None, None, None
    explicit = all(kind == AxisType.Explicit for kind in mesh.axis_types)
    if spec is None and explicit:
        b, t, k, g, h = jax.typeof(problem.query).sharding.spec
        if g is not None:
            raise ValueError("key heads must be divisible among the devices that share the query heads")
        spec = jax.P(b, t, k, h)
    if spec is None:
        return None, None, None
    b, t, n, h = (*spec, None, None, None, None)[:4]
    if h is not None:
        raise ValueError(f"attend shards batch, tokens and heads; query_spec={spec} shards the head size")
    return b, t, n


def _of_device(
    run: Run, settings: Settings, problem: Problem, tokens: tuple[str, ...], heads: tuple[str, ...]
) -> Callable[[Problem], tuple[jax.Array, jax.Array]]:
    """What a device runs on its part of the problem, given the mesh axes of tokens and heads."""
    patterns = _patterns(settings.pattern, _devices(problem, heads))
    if tokens:
        check_ring(settings, problem, _size(tokens), tokens)
        shared = patterns[:1] if len(set(patterns)) == 1 else patterns
        return Ring(run, settings, shared, tokens, heads).attend
    distinct = list(dict.fromkeys(patterns))
    branches = [functools.partial(run, dataclasses.replace(settings, pattern=own)) for own in distinct]
    if len(branches) == 1:
        return branches[0]
    branch_of = [distinct.index(own) for own in patterns]
    # All devices run one program: it has a branch for each distinct list of patterns, and a device takes its own.
    return lambda problem: jax.lax.switch(jnp.asarray(branch_of)[jax.lax.axis_index(heads)], branches, problem)


def _size(axes: tuple[str, ...]) -> int:
    mesh = jax.sharding.get_abstract_mesh()
    return math.prod(mesh.shape[name] for name in axes)


def _devices(problem: Problem, heads: tuple[str, ...]) -> int:
    """How many devices share the heads."""
    devices = _size(heads)
    if problem.key.shape[2] % devices:
        raise ValueError(
            f"{problem.key.shape[2]} key heads cannot be divided among {devices} devices of mesh axes {', '.join(heads)}"
        )
    return devices


def _patterns(pattern: Pattern, devices: int) -> tuple[Pattern, ...]:
    """The pattern of each device's heads."""
    if not isinstance(pattern, PerHead):
        return (pattern,) * devices
    count = len(pattern.patterns) // devices
    return tuple(PerHead(pattern.patterns[first : first + count]) for first in range(0, len(pattern.patterns), count))


def _specs(problem: Problem, spec) -> list[jax.P]:
    """A spec for each leaf, following the axes that ``Problem`` documents; axes of size 1 stay whole."""
    batch, tokens, heads = spec
    rows, keys = problem.query.shape[0], problem.key.shape[2]

    def spec_of(path, x: jax.Array) -> jax.P:
        name = path[0].name
        axes: list = [None] * x.ndim
        if name in ("offset_table", "head_index"):
            axes[0] = heads
        elif name != "seed":
            axes[0] = batch if x.shape[0] == rows else None
            heads_axis = 2 if name in ("query", "key", "value") else 1
            if x.ndim >= 4 and x.shape[heads_axis] == keys:
                axes[heads_axis] = heads
            # A sharded sequence comes with these fields alone, whose second axis is that of tokens.
            if name in ("query", "key", "value", "key_mask", "query_segments", "key_segments"):
                axes[1] = tokens
        return jax.P(*axes)

    return [spec_of(path, x) for path, x in jax.tree_util.tree_leaves_with_path(problem)]
