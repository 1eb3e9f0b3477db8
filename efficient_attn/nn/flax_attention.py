"""Sparse attention inside ``flax.nnx.MultiHeadAttention``: a function for its ``attention_fn``."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax.nnx.nn.dtypes import promote_dtype as promote
from jaxtyping import Array, Bool, Float

from efficient_attn.kernels import attend
from efficient_attn.patterns import Causal
from efficient_attn.patterns.algebra import Pattern


def flax_attention_fn(
    pattern: Pattern, *, query_spec: jax.P | None = None, implementation: str | None = None
) -> Callable[..., Float[Array, "... T N Hv"]]:
    """Attention over ``pattern`` with the signature of ``flax.nnx.dot_product_attention``.

    Three things differ from flax's own: a query that sees no key gives 0, not the mean of all values; dropout draws for every
    weight, ``broadcast_dropout`` or not; and what would need the dense weights is refused.

    Args:
      pattern: who may attend to whom.
      query_spec: mesh axes of batch, tokens, heads and head size, for ``attend``.
      implementation: for ``attend``.

    Returns:
      A function for ``MultiHeadAttention(attention_fn=...)``. Its ``mask`` may hide keys, ``[..., 1, 1, S]``; its ``bias`` may be
      whatever broadcasts to ``[..., N, T, S]``.

    Raises:
      ValueError: when called with a mask by query or head, with ``T != S``, or to sow the weights.
    """

    def attention_fn(
        query: Float[Any, "*batch T N H"],
        key: Float[Any, "*batch S K H"],
        value: Float[Any, "*batch S K Hv"],
        bias: Any = None,
        mask: Any = None,
        broadcast_dropout: bool = True,
        dropout_rng: jax.Array | None = None,
        dropout_rate: float = 0.0,
        deterministic: bool = False,
        dtype: Any = None,
        precision: Any = None,
        module: Any = None,
        promote_dtype: Any = promote,
        is_causal: bool = False,
    ) -> Float[Array, "*batch T N Hv"]:
        _refuse(query, key, module)
        query, key, value = promote_dtype((query, key, value), dtype=dtype)
        batch, tokens = query.shape[:-3], key.shape[-3]
        flat = [x.reshape(-1, *x.shape[-3:]) for x in (query, key, value)]
        rate = 0.0 if deterministic else dropout_rate
        with jax.default_matmul_precision(_precision(precision)):
            output = attend(
                *flat,
                pattern & Causal() if is_causal else pattern,
                key_mask=None if mask is None else _key_mask(mask, batch, tokens),
                bias=None if bias is None else _flat(bias, batch),
                dropout_rate=rate,
                dropout_key=dropout_rng if rate > 0 else None,
                query_spec=query_spec,
                implementation=implementation,
            )
        return output.reshape(*batch, *output.shape[1:])

    return attention_fn


def _refuse(query: Any, key: Any, module: Any) -> None:
    if query.shape[-3] != key.shape[-3]:
        raise ValueError(
            f"a pattern is over positions, and {query.shape[-3]} queries have none among {key.shape[-3]} keys here: for decoding "
            "and cross attention call efficient_attn.attend with query_positions"
        )
    if module is not None:
        raise ValueError(
            "sow_weights needs the dense attention weights, which are never computed: use sow_weights=False"
        )


def _precision(precision: Any) -> str | None:
    """The name of a ``jax.lax.Precision``; None keeps what is in force."""
    if precision is None or isinstance(precision, str):
        return precision or jax.config.jax_default_matmul_precision
    if isinstance(precision, jax.lax.Precision):
        return precision.name.lower()
    raise ValueError(f"precision must be None, a name or one jax.lax.Precision for all products, got {precision!r}")


def _key_mask(mask: Any, batch: Sequence[int], tokens: int) -> Bool[Array, "B S"]:
    """A mask ``[..., 1, 1, S]`` as ``[B, S]``."""
    mask = jnp.asarray(mask).astype(bool)
    expected = f"{[*batch, 1, 1, tokens]}"
    if mask.ndim >= 2 and any(size != 1 for size in mask.shape[-3:-1]):
        raise ValueError(
            f"mask must only hide keys, of shape {expected}, got {mask.shape}: a mask of pairs is as large as the dense scores. "
            "Say who attends to whom by the pattern, and separate packed sequences by efficient_attn.attend's segment_ids"
        )
    keys = mask.reshape(*mask.shape[:-3], mask.shape[-1])
    try:
        return jnp.broadcast_to(keys, (*batch, tokens)).reshape(-1, tokens)
    except ValueError as error:
        raise ValueError(f"mask must broadcast to {expected}, got {mask.shape}") from error


def _flat(bias: Any, batch: Sequence[int]) -> Float[Array, "B N T S"]:
    """A bias that broadcasts to ``[..., N, T, S]`` with its batch axes made one."""
    bias = jnp.asarray(bias)
    bias = bias.reshape(*[1] * (len(batch) + 3 - bias.ndim), *bias.shape)
    leading = bias.shape[:-3]
    if all(size == 1 for size in leading):
        return bias.reshape(1, *bias.shape[-3:])
    return jnp.broadcast_to(bias, (*batch, *bias.shape[-3:])).reshape(math.prod(batch), *bias.shape[-3:])
