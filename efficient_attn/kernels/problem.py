"""One attention problem, checked and in the layout that every implementation computes in.

Heads are split as ``[K, G]``: ``K`` key heads, each shared by ``G = N / K`` query heads, so that grouped heads are a matter of
broadcasting and keys are never repeated. Tiles of scores are ``[b, k, g, height, width]``.
"""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from efficient_attn.kernels import dropout
from efficient_attn.kernels.bias import RelativeBias
from efficient_attn.patterns.algebra import Pattern

# The peak of nothing: finite, so that differences with it stay numbers, and as the start of the maximum it costs nothing.
LOWEST = float(np.finfo(np.float32).min)


@dataclasses.dataclass(frozen=True)
class Settings:
    """What is known before tracing: one compiled program for each value."""

    pattern: Pattern
    scale: float
    logits_soft_cap: float | None
    dropout_rate: float
    block: int | None = None
    """Tokens of a block in the TPU kernels, where the caller chose; None: by counting live blocks."""


# Which fields are arrays (all but none may be None): every one leads with the batch axis, of size B or 1.
_BATCHED = (
    "query",
    "key",
    "value",
    "query_positions",
    "key_positions",
    "key_mask",
    "query_segments",
    "key_segments",
    "bias",
    "batch_index",
)
_SHARED = ("offset_table", "head_index", "seed")


@functools.partial(jax.tree_util.register_dataclass, data_fields=[*_BATCHED, *_SHARED], meta_fields=["bias_first"])
@dataclasses.dataclass(frozen=True)
class Problem:
    """The arrays of one attention problem. ``None`` where a feature is not used.

    The fields are untyped because jax rebuilds a tree with whatever stands for its leaves.
    """

    query: Any
    """``[B, T, K, G, H]``"""
    key: Any
    """``[B, S, K, H]``"""
    value: Any
    """``[B, S, K, Hv]``"""
    query_positions: Any = None
    """``[B|1, K|1, G|1, T]``; None: the slot index."""
    key_positions: Any = None
    """``[B|1, K|1, 1, S]``; None: the slot index."""
    key_mask: Any = None
    """bool ``[B|1, S]``"""
    query_segments: Any = None
    """``[B|1, T]``"""
    key_segments: Any = None
    """``[B|1, S]``"""
    bias: Any = None
    """``[B|1, K|1, G|1, T|1, S|1]``, or ``[B|1, K, G, T, O]`` if it is per query and offset."""
    batch_index: Any = None
    """``[B]``: number of each batch row in the whole batch, for dropout."""
    offset_table: Any = None
    """``[K, G, O]``: bias per offset."""
    head_index: Any = None
    """``[K, G]``: number of each query head, for dropout."""
    seed: Any = None
    """uint32 scalar: seed of the dropout."""
    bias_first: int | None = None
    """Offset of the first column where the bias is by offset; None where ``bias`` is by pairs."""

    def batched(self) -> dict[str, jax.Array]:
        """The fields that have a row for each batch row."""
        fields = {name: getattr(self, name) for name in _BATCHED}
        rows = self.query.shape[0]
        return {name: x for name, x in fields.items() if x is not None and x.shape[0] == rows}

    def replace(self, **changes: Any) -> "Problem":
        """A copy with some fields changed."""
        return dataclasses.replace(self, **changes)


@dataclasses.dataclass(frozen=True)
class Tile:
    """A rectangle of slots: ``height`` queries from ``row``, ``width`` keys from ``column``.

    Starts may be traced; or arrays ``[b]``, one rectangle for each batch row, where nothing has to be cut from the problem.
    """

    row: Any
    column: Any
    height: int
    width: int

    def rows(self, x: jax.Array, axis: int) -> jax.Array:
        """The tile's part of an axis of queries; an axis of size 1 broadcasts and stays."""
        return _cut(x, axis, self.row, self.height)

    def columns(self, x: jax.Array, axis: int) -> jax.Array:
        """The tile's part of an axis of keys, likewise."""
        return _cut(x, axis, self.column, self.width)


def _cut(x: jax.Array, axis: int, start: Any, size: int) -> jax.Array:
    whole = isinstance(start, int) and start == 0 and x.shape[axis] == size
    if whole or x.shape[axis] == 1:
        return x
    return jax.lax.dynamic_slice_in_dim(x, start, size, axis % x.ndim)


def _slots(start: Any, size: int) -> jax.Array:
    """Slots from ``start`` on: int32 ``[b|1, 1, 1, size]``."""
    return jnp.reshape(start, (-1, 1, 1, 1)) + jnp.arange(size, dtype=jnp.int32)


def tile_positions(problem: Problem, tile: Tile) -> tuple[jax.Array, jax.Array]:
    """Positions of the tile's queries ``[b, k, g, height, 1]`` and keys ``[b, k, 1, 1, width]``; sizes of 1 where shared."""
    own, other = problem.query_positions, problem.key_positions
    i = _slots(tile.row, tile.height) if own is None else tile.rows(own, -1)
    j = _slots(tile.column, tile.width) if other is None else tile.columns(other, -1)
    return i[..., :, None], j[..., None, :]


def tile_visible(settings: Settings, problem: Problem, tile: Tile) -> jax.Array:
    """Which pairs of the tile may attend: bool ``[b|1, k|1, g|1, height, width]``."""
    i, j = tile_positions(problem, tile)
    visible = jnp.broadcast_to(settings.pattern.allows(i, j), jnp.broadcast_shapes(i.shape, j.shape))
    if problem.key_mask is not None:
        visible = visible & tile.columns(problem.key_mask, -1)[:, None, None, None, :]
    if problem.query_segments is not None:
        queries = tile.rows(problem.query_segments, -1)[:, None, None, :, None]
        keys = tile.columns(problem.key_segments, -1)[:, None, None, None, :]
        visible = visible & (queries == keys)
    return visible


def tile_bias(problem: Problem, tile: Tile) -> jax.Array | None:
    """The tile's part of the bias before it is spread over pairs: what the backward pass accumulates into."""
    if problem.offset_table is not None:
        return problem.offset_table
    if problem.bias is None:
        return None
    part = tile.rows(problem.bias, -2)
    return part if problem.bias_first is not None else tile.columns(part, -1)


def tile_scores(
    settings: Settings, problem: Problem, tile: Tile, query: jax.Array, key: jax.Array, bias: jax.Array | None
) -> jax.Array:
    """Scores of the tile before masking: scaled products, plus bias, then soft-capped.

    Args:
      settings: scale and soft cap.
      problem: positions, for a bias by offset.
      tile: the rectangle of slots.
      query: ``[b, k, g, height, H]``.
      key: ``[b, k, width, H]``.
      bias: what ``tile_bias`` gave.

    Returns:
      float32 ``[b, k, g, height, width]``.
    """
    scores = group_products(query, key, transpose_right=True) * settings.scale
    if bias is not None:
        scores = scores + _spread_bias(problem, tile, bias).astype(jnp.float32)
    if settings.logits_soft_cap is not None:
        scores = settings.logits_soft_cap * jnp.tanh(scores / settings.logits_soft_cap)
    return scores


def group_products(left: jax.Array, right: jax.Array, *, transpose_right: bool = False) -> jax.Array:
    """Matrix products of ``left [b, k, g, height, x]`` and the ``right [b, k, x, y]`` that its group shares, in float32.

    Batch and key heads become one batch axis, group and height one axis of rows: XLA's CPU products run a quarter faster so.
    """
    b, k, g, height, x = left.shape
    equation = "zmx,zyx->zmy" if transpose_right else "zmx,zxy->zmy"
    rows, columns = left.reshape(b * k, g * height, x), right.reshape(b * k, *right.shape[2:])
    product = jnp.einsum(equation, rows, columns, preferred_element_type=jnp.float32)
    return product.reshape(b, k, g, height, -1)


def _spread_bias(problem: Problem, tile: Tile, bias: jax.Array) -> jax.Array:
    """The bias of each pair of the tile."""
    if problem.bias_first is None:
        return bias
    i, j = tile_positions(problem, tile)
    table = bias[None, :, :, None, :] if problem.offset_table is not None else bias
    return jnp.take_along_axis(table, RelativeBias(bias, problem.bias_first).columns(i, j), axis=-1, mode="clip")


def tile_keep(settings: Settings, problem: Problem, tile: Tile) -> jax.Array | None:
    """The tile's dropout factors, ``1 / (1 - rate)`` or 0 ``[b, k, g, height, width]``; None without dropout."""
    if settings.dropout_rate == 0.0:
        return None
    return dropout.factors(
        problem.seed,
        problem.batch_index[:, None, None, None, None],
        problem.head_index[None, :, :, None, None],
        _slots(tile.row, tile.height)[..., :, None],
        _slots(tile.column, tile.width)[..., None, :],
        settings.dropout_rate,
    )


def pad_end(x: jax.Array | None, axis: int, count: int) -> jax.Array | None:
    """``x`` with ``count`` zeros (False) more at the end of an axis; None stays None."""
    if x is None:
        return None
    widths = [(0, 0)] * x.ndim
    widths[axis] = (0, count)
    return jnp.pad(x, widths)


def no_gradient(x: Any) -> Any:
    """The cotangent of an array that a custom gradient gives none: zeros, without bytes where it holds no real numbers."""
    if jnp.issubdtype(jnp.result_type(x), jnp.floating):
        return jnp.zeros(jnp.shape(x), jnp.result_type(x))
    return np.zeros(jnp.shape(x), jax.dtypes.float0)
