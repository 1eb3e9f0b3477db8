"""Runs an implementation on a pattern's parts, each in the token order in which it is dense blocks."""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp

from efficient_attn.kernels.merge import merge_grouped
from efficient_attn.kernels.problem import Problem, Settings, pad_end
from efficient_attn.patterns.layout import Part, layout

Run = Callable[[Settings, Problem], tuple[jax.Array, jax.Array]]


def in_layouts(run: Run) -> Run:
    """``run``, with unions split and reordered where that leaves fewer pairs to compute.

    Only self-attention over all positions can be: traced positions have an order of their own, and bias and dropout are
    numbered by slots.
    """

    def attend_in_layouts(settings: Settings, problem: Problem) -> tuple[jax.Array, jax.Array]:
        length = problem.query.shape[1]
        slots_matter = (
            problem.query_positions,
            problem.key_positions,
            problem.bias,
            problem.offset_table,
            problem.seed,
        )
        if length != problem.key.shape[1] or any(x is not None for x in slots_matter):
            return run(settings, problem)
        parts = layout(settings.pattern, length)
        if all(part.stride == 1 for part in parts):
            return run(settings, problem)
        return merge_grouped([_attend_part(run, settings, problem, part) for part in parts])

    return attend_in_layouts


def _attend_part(run: Run, settings: Settings, problem: Problem, part: Part) -> tuple[jax.Array, jax.Array]:
    settings = dataclasses.replace(settings, pattern=part.pattern)
    if part.columns is not None:
        return run(settings, _take_columns(problem, part))
    if part.stride == 1:
        return run(settings, problem)
    batch, length = problem.query.shape[:2]
    output, lse = run(settings, _fold(problem, part.stride))
    return tuple(_unfold(x, batch)[:, :length] for x in (output, lse))


def _fold(problem: Problem, stride: int) -> Problem:
    """Every residue of the positions as a sequence of its own: ``[B, T, ...]`` to ``[B * stride, T / stride, ...]``."""
    problem = _pad_runs(problem, stride)

    def fold(x: jax.Array | None) -> jax.Array | None:
        if x is None:
            return None
        runs = jnp.swapaxes(x.reshape(x.shape[0], -1, stride, *x.shape[2:]), 1, 2)
        return runs.reshape(-1, *runs.shape[2:])

    batch = problem.query.shape[0]
    rows = lambda x: None if x is None else fold(jnp.broadcast_to(x, (batch, x.shape[1])))  # noqa: E731
    return problem.replace(
        query=fold(problem.query),
        key=fold(problem.key),
        value=fold(problem.value),
        key_mask=rows(problem.key_mask),
        query_segments=rows(problem.query_segments),
        key_segments=rows(problem.key_segments),
    )


def _unfold(x: jax.Array, batch: int) -> jax.Array:
    """The inverse of ``_fold`` for one array."""
    x = jnp.swapaxes(x.reshape(batch, -1, *x.shape[1:]), 1, 2)
    return x.reshape(batch, -1, *x.shape[3:])


def _take_columns(problem: Problem, part: Part) -> Problem:
    """The keys of the part's columns."""
    padded = _pad_runs(problem, part.stride)

    def take(x: jax.Array | None) -> jax.Array | None:
        if x is None:
            return None
        runs = x.reshape(x.shape[0], -1, part.stride, *x.shape[2:])[:, :, part.columns[0] : part.columns[1]]
        return runs.reshape(x.shape[0], -1, *x.shape[2:])

    return padded.replace(
        query=problem.query,
        key=take(padded.key),
        value=take(padded.value),
        key_mask=take(padded.key_mask),
        query_segments=problem.query_segments,
        key_segments=take(padded.key_segments),
    )


def _pad_runs(problem: Problem, stride: int) -> Problem:
    """Tokens padded to whole runs; no query sees the padding."""
    length = problem.query.shape[1]
    short = -length % stride
    if not short:
        return problem
    mask = jnp.ones((1, length), jnp.bool_) if problem.key_mask is None else problem.key_mask
    return problem.replace(
        query=pad_end(problem.query, 1, short),
        key=pad_end(problem.key, 1, short),
        value=pad_end(problem.value, 1, short),
        key_mask=pad_end(mask, 1, short),
        query_segments=pad_end(problem.query_segments, 1, short),
        key_segments=pad_end(problem.key_segments, 1, short),
    )
