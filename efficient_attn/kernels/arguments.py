"""The arguments of ``attend``: checked, with defaults filled in, and brought into the kernels' layout."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from efficient_attn.kernels import dropout
from efficient_attn.kernels.bias import RelativeBias
from efficient_attn.kernels.problem import Problem, Settings
from efficient_attn.patterns.algebra import Full, Pattern, PerHead
from efficient_attn.patterns.block_mask import KERNEL_BLOCKS, BlockMask


@dataclasses.dataclass(frozen=True)
class Arguments:
    """What ``attend`` was called with, in the order of its signature."""

    query: Any
    key: Any
    value: Any
    pattern: Pattern | BlockMask
    query_positions: Any
    key_positions: Any
    key_mask: Any
    segment_ids: Any
    bias: Any
    scale: float | None
    logits_soft_cap: float | None
    dropout_rate: float
    dropout_key: jax.Array | None
    block: int | None = None
    """Of the ``BlockMask`` that was given for a pattern, where the kernels have such blocks."""


def check(a: Arguments) -> Arguments:
    """The arguments as jax arrays, or a ValueError with what was expected and what came."""
    arrays = {name: _array(getattr(a, name), name) for name in ("query", "key", "value")}
    a = dataclasses.replace(a, **arrays)
    _check_shapes(a)
    _check_numbers(a)
    block = a.pattern.block if isinstance(a.pattern, BlockMask) and a.pattern.block in KERNEL_BLOCKS else None
    a = dataclasses.replace(a, pattern=_check_pattern(a), block=block)
    positions = {name: _integers(getattr(a, name), name) for name in ("query_positions", "key_positions")}
    a = dataclasses.replace(a, segment_ids=_segments(a), **positions)
    _check_positions(a)
    return dataclasses.replace(a, key_mask=_key_mask(a), bias=_bias(a))


def _array(x: Any, name: str) -> jax.Array:
    if not hasattr(x, "shape"):
        raise ValueError(f"{name} must be an array, got {type(x).__name__}")
    x = jnp.asarray(x)
    if x.ndim != 4:
        raise ValueError(f"{name} must have 4 axes [batch, tokens, heads, size], got shape {x.shape}")
    if not jnp.issubdtype(x.dtype, jnp.floating):
        raise ValueError(f"{name} must hold floating-point numbers, got {x.dtype}")
    if 0 in x.shape:
        raise ValueError(f"{name} must not be empty, got shape {x.shape}")
    return x


def _check_shapes(a: Arguments) -> None:
    q, k, v = a.query.shape, a.key.shape, a.value.shape
    if k[:3] != v[:3]:
        raise ValueError(f"key and value must agree in batch, tokens and heads, got {k} and {v}")
    if q[0] != k[0]:
        raise ValueError(f"query and key must have the same batch size, got {q[0]} and {k[0]}")
    if q[3] != k[3]:
        raise ValueError(f"query and key must have the same head size, got {q[3]} and {k[3]}")
    if q[2] % k[2]:
        raise ValueError(
            f"the number of query heads must be a multiple of the number of key heads, got {q[2]} and {k[2]}"
        )


def _check_numbers(a: Arguments) -> None:
    if not 0.0 <= a.dropout_rate < 1.0:
        raise ValueError(f"dropout_rate must be in [0, 1), got {a.dropout_rate}")
    if a.dropout_rate > 0 and a.dropout_key is None:
        raise ValueError(
            f"dropout_rate={a.dropout_rate} needs a dropout_key, got None; for no dropout pass dropout_rate=0.0"
        )
    if a.logits_soft_cap is not None and not a.logits_soft_cap > 0:
        raise ValueError(f"logits_soft_cap must be greater than 0, got {a.logits_soft_cap}")
    if a.scale is not None and not np.isfinite(a.scale):
        raise ValueError(f"scale must be a finite number, got {a.scale}")


def _check_pattern(a: Arguments) -> Pattern:
    q_len, k_len, heads = a.query.shape[1], a.key.shape[1], a.query.shape[2]
    pattern = a.pattern
    if isinstance(pattern, BlockMask):
        if (pattern.q_len, pattern.k_len) != (q_len, k_len):
            raise ValueError(
                f"the BlockMask was made for {pattern.q_len} queries and {pattern.k_len} keys, got {q_len} queries and {k_len} keys"
            )
        pattern = pattern.pattern
    if not isinstance(pattern, Pattern):
        raise ValueError(f"pattern must be a Pattern or a BlockMask, got {type(pattern).__name__}: {pattern!r}")
    if isinstance(pattern, PerHead) and len(pattern.patterns) != heads:
        raise ValueError(f"PerHead has {len(pattern.patterns)} patterns, but query has {heads} heads")
    # A BlockMask was made for so many queries and keys, whose numbers then are the positions meant.
    positionless = isinstance(pattern, Full) or isinstance(a.pattern, BlockMask)
    if q_len != k_len and not positionless and a.query_positions is None and a.key_positions is None:
        raise ValueError(
            f"{q_len} queries and {k_len} keys do not line up by themselves under {pattern!r}: pass query_positions "
            "(and key_positions if they are not 0, 1, 2, ...)"
        )
    return pattern


def _integers(x: Any, name: str) -> jax.Array | None:
    if x is None:
        return None
    x = jnp.asarray(x)
    if not jnp.issubdtype(x.dtype, jnp.integer):
        raise ValueError(f"{name} must hold integers, got {x.dtype}")
    return x.astype(jnp.int32)


def _check_positions(a: Arguments) -> None:
    for name, tokens, heads in (
        ("query_positions", a.query.shape[1], a.query.shape[2]),
        ("key_positions", a.key.shape[1], a.key.shape[2]),
    ):
        x = getattr(a, name)
        if x is None:
            continue
        batch = a.query.shape[0]
        allowed = [
            (tokens,),
            (batch, tokens),
            (1, tokens),
            (batch, heads, tokens),
            (1, heads, tokens),
            (batch, 1, tokens),
        ]
        if x.shape not in allowed:
            raise ValueError(
                f"{name} must have shape [{tokens}], [{batch}, {tokens}] or [{batch}, {heads}, {tokens}], got {x.shape}"
            )


def _segments(a: Arguments) -> tuple[jax.Array, jax.Array] | None:
    if a.segment_ids is None:
        return None
    q_len, k_len, batch = a.query.shape[1], a.key.shape[1], a.query.shape[0]
    pair = a.segment_ids if isinstance(a.segment_ids, tuple | list) else (a.segment_ids, a.segment_ids)
    if len(pair) != 2:
        raise ValueError(f"segment_ids must be one array or a pair of arrays, got {len(pair)}")
    queries, keys = (_integers(x, "segment_ids") for x in pair)
    for x, tokens in ((queries, q_len), (keys, k_len)):
        if x.shape not in ((batch, tokens), (1, tokens)):
            raise ValueError(
                f"segment_ids must have shapes [{batch}, {q_len}] for queries and [{batch}, {k_len}] for keys, "
                f"got {queries.shape} and {keys.shape}"
            )
    return queries, keys


def _key_mask(a: Arguments) -> jax.Array | None:
    if a.key_mask is None:
        return None
    mask = jnp.asarray(a.key_mask)
    shapes = ((a.query.shape[0], a.key.shape[1]), (1, a.key.shape[1]))
    if mask.dtype != jnp.bool_ or mask.shape not in shapes:
        raise ValueError(f"key_mask must be bool of shape {shapes[0]}, got {mask.dtype} of shape {mask.shape}")
    return mask


def _bias(a: Arguments) -> Any:
    if a.bias is None:
        return None
    batch, q_len, heads, _ = a.query.shape
    if isinstance(a.bias, RelativeBias):
        shape = a.bias.values.shape
        if shape[:-1] not in ((heads,), (batch, heads, q_len), (1, heads, q_len)):
            raise ValueError(
                f"RelativeBias.values must be [{heads}, offsets] or [{batch}, {heads}, {q_len}, offsets], got shape {shape}"
            )
        return a.bias
    bias = jnp.asarray(a.bias)
    full = (batch, heads, q_len, a.key.shape[1])
    fits = bias.ndim == 4 and all(x in (1, y) for x, y in zip(bias.shape, full, strict=True))
    if not fits:
        raise ValueError(f"bias must have 4 axes that broadcast to {full}, got shape {bias.shape}")
    return bias


def settings_of(a: Arguments) -> Settings:
    """The static part of checked arguments."""
    scale = a.query.shape[-1] ** -0.5 if a.scale is None else float(a.scale)
    cap = None if a.logits_soft_cap is None else float(a.logits_soft_cap)
    return Settings(a.pattern, scale, cap, float(a.dropout_rate), a.block)


def problem_of(a: Arguments) -> Problem:
    """The arrays of checked arguments in the kernels' layout."""
    batch, _, heads, _ = a.query.shape
    keys = a.key.shape[2]
    groups = heads // keys
    grouped = lambda x, axis: x.reshape(*x.shape[:axis], *_split(x.shape[axis], keys, groups), *x.shape[axis + 1 :])  # noqa: E731
    key, value = hide(a.key, a.key_mask), hide(a.value, a.key_mask)
    problem = Problem(
        query=grouped(a.query, 2),
        key=key,
        value=value,
        query_positions=None if a.query_positions is None else grouped(_with_heads(a.query_positions), 1),
        key_positions=None if a.key_positions is None else _with_heads(a.key_positions)[:, :, None],
        key_mask=a.key_mask,
        query_segments=None if a.segment_ids is None else a.segment_ids[0],
        key_segments=None if a.segment_ids is None else a.segment_ids[1],
    )
    if a.dropout_rate > 0:
        numbers = jnp.arange(heads, dtype=jnp.int32).reshape(keys, groups)
        problem = problem.replace(
            seed=dropout.seed_of(a.dropout_key), batch_index=jnp.arange(batch, dtype=jnp.int32), head_index=numbers
        )
    if isinstance(a.bias, RelativeBias):
        field = {"bias": grouped(a.bias.values, 1)} if a.bias.per_query else {"offset_table": grouped(a.bias.values, 0)}
        return problem.replace(bias_first=a.bias.first, **field)
    return problem if a.bias is None else problem.replace(bias=grouped(a.bias, 1))


def _split(size: int, keys: int, groups: int) -> tuple[int, int]:
    """A heads axis as ``[K, G]``, or as ``[1, 1]`` where all heads share."""
    return (1, 1) if size == 1 and keys * groups != 1 else (keys, groups)


def _with_heads(positions: jax.Array) -> jax.Array:
    """``[T]``, ``[B, T]`` or ``[B, N, T]`` to ``[B|1, N|1, T]``."""
    if positions.ndim == 1:
        return positions[None, None]
    return positions[:, None] if positions.ndim == 2 else positions


def hide(x: jax.Array, key_mask: jax.Array | None) -> jax.Array:
    """Zeros in hidden slots: whatever lay there would otherwise meet a zero weight, and NaN times 0 is NaN."""
    return x if key_mask is None else jnp.where(key_mask[:, :, None, None], x, jnp.zeros((), x.dtype))
