"""``attend`` on a mesh: each device computes its own batch rows and heads, by ``shard_map``.

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
from efficient_attn.patterns.algebra import PerHead

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
      ValueError: if the tokens or the head size are sharded, or heads are sharded more finely than key heads divide.
    """
    batch, heads = _axes(problem, query_spec)
    if not batch and not heads:
        return run(settings, problem)
    names = () if heads is None else heads if isinstance(heads, tuple) else (heads,)
    run_own = _with_own_patterns(run, settings, names, _devices(problem, names))
    specs = _specs(problem, batch, heads)
    out = (jax.P(batch, None, heads, None, None), jax.P(batch, None, heads, None))
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
    """The mesh axes of batch and of heads."""
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty:
        if spec is not None and any(spec):
            raise ValueError(f"query_spec={spec} needs a mesh: call attend under jax.set_mesh(mesh)")
        return None, None
    explicit = all(kind == AxisType.Explicit for kind in mesh.axis_types)
    if spec is None and explicit:
        b, t, k, g, h = jax.typeof(problem.query).sharding.spec
        if g is not None:
            raise ValueError("key heads must be divisible among the devices that share the query heads")
        spec = jax.P(b, t, k, h)
    if spec is None:
        return None, None
    b, t, n, h = (*spec, None, None, None, None)[:4]
    if t is not None or h is not None:
        raise ValueError(
            f"attend shards batch and heads; query_spec={spec} shards the tokens or the head size. Gather the sequence "
            "yourself (jax.lax.with_sharding_constraint) if that is what you want"
        )
    return b, n


def _devices(problem: Problem, names: tuple[str, ...]) -> int:
    """How many devices share the heads."""
    mesh = jax.sharding.get_abstract_mesh()
    devices = math.prod(mesh.shape[name] for name in names)
    if problem.key.shape[2] % devices:
        raise ValueError(
            f"{problem.key.shape[2]} key heads cannot be divided among {devices} devices of mesh axes {', '.join(names)}"
        )
    return devices


def _with_own_patterns(
    run: Run, settings: Settings, names: tuple[str, ...], devices: int
) -> Callable[[Problem], tuple[jax.Array, jax.Array]]:
    """``run`` on one device's heads, with the patterns of these heads.

    All devices run one program: where their patterns differ it has a branch for each distinct list of them, and a device takes
    its own.
    """
    pattern = settings.pattern
    if devices == 1 or not isinstance(pattern, PerHead):
        return functools.partial(run, settings)
    count = len(pattern.patterns) // devices
    lists = [PerHead(pattern.patterns[first : first + count]) for first in range(0, len(pattern.patterns), count)]
    distinct = list(dict.fromkeys(lists))
    branches = [functools.partial(run, dataclasses.replace(settings, pattern=own)) for own in distinct]
    if len(branches) == 1:
        return branches[0]
    branch_of = [distinct.index(own) for own in lists]
    return lambda problem: jax.lax.switch(jnp.asarray(branch_of)[jax.lax.axis_index(names)], branches, problem)


def _specs(problem: Problem, batch, heads) -> list[jax.P]:
    """A spec for each leaf, following the axes that ``Problem`` documents; axes of size 1 stay whole."""
    rows, keys = problem.query.shape[0], problem.key.shape[2]

    def spec(path, x: jax.Array) -> jax.P:
        name = path[0].name
        axes: list = [None] * x.ndim
        if name in ("offset_table", "head_index"):
            axes[0] = heads
        elif name != "seed":
            axes[0] = batch if x.shape[0] == rows else None
            heads_axis = 2 if name in ("query", "key", "value") else 1
            if x.ndim >= 4 and x.shape[heads_axis] == keys:
                axes[heads_axis] = heads
        return jax.P(*axes)

    return [spec(path, x) for path, x in jax.tree_util.tree_leaves_with_path(problem)]
