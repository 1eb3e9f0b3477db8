"""Patterns that differ from head to head, for implementations that take one pattern at a time."""

import dataclasses
import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from efficient_attn.kernels.problem import Problem, Settings
from efficient_attn.patterns.algebra import PerHead

Run = Callable[[Settings, Problem], tuple[jax.Array, jax.Array]]


def for_each_pattern(run: Run) -> Run:
    """``run`` of one pattern at a time, made to take a pattern for each head."""
    return functools.partial(_for_each_pattern, run)


def _for_each_pattern(run: Run, settings: Settings, problem: Problem) -> tuple[jax.Array, jax.Array]:
    if not isinstance(settings.pattern, PerHead):
        return run(settings, problem)
    distinct = list(dict.fromkeys(settings.pattern.patterns))
    heads_of = [[h for h, p in enumerate(settings.pattern.patterns) if p == pattern] for pattern in distinct]
    results = [
        run(dataclasses.replace(settings, pattern=pattern), take_heads(problem, heads))
        for pattern, heads in zip(distinct, heads_of, strict=True)
    ]
    back = np.argsort([h for heads in heads_of for h in heads])
    shape = problem.query.shape[2:4]

    def gather(parts):
        flat = jnp.concatenate([x.reshape(*x.shape[:2], -1, *x.shape[4:]) for x in parts], axis=2)[:, :, back]
        return flat.reshape(*flat.shape[:2], *shape, *flat.shape[3:])

    return gather([o for o, _ in results]), gather([lse for _, lse in results])


def take_heads(problem: Problem, heads: list[int]) -> Problem:
    """The problem of some query heads; grouped heads stay grouped where whole groups are taken."""
    keys, groups = problem.query.shape[2:4]
    wanted = sorted({h // groups for h in heads})
    whole = [k * groups + g for k in wanted for g in range(groups)] == heads
    kv = np.asarray(wanted if whole else [h // groups for h in heads])
    shape = (len(wanted), groups) if whole else (len(heads), 1)
    index = np.asarray(heads)

    def per_head(x, axis):
        """Takes the heads of an array whose heads axes are ``[K|1, G|1]`` at ``axis``."""
        if x is None or x.shape[axis : axis + 2] == (1, 1):
            return x
        full = jnp.broadcast_to(x, (*x.shape[:axis], keys, groups, *x.shape[axis + 2 :]))
        flat = full.reshape(*x.shape[:axis], keys * groups, *x.shape[axis + 2 :])
        return jnp.take(flat, index, axis=axis).reshape(*x.shape[:axis], *shape, *x.shape[axis + 2 :])

    key_positions = problem.key_positions
    if key_positions is not None and key_positions.shape[1] != 1:
        key_positions = key_positions[:, kv]
    return problem.replace(
        query=per_head(problem.query, 2),
        key=problem.key[:, :, kv],
        value=problem.value[:, :, kv],
        query_positions=per_head(problem.query_positions, 1),
        key_positions=key_positions,
        bias=per_head(problem.bias, 1),
        offset_table=per_head(problem.offset_table, 0),
        head_index=per_head(problem.head_index, 0),
    )
