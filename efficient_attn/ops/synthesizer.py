"""Synthesizer: attention scores that do not compare queries with keys.

    Y = softmax(S + mask) G(X),   G the ordinary value projection, S without the factor 1 / sqrt(H)

    dense             S_i  = W2 relu(W1 x_i)                               row i from token i alone
    factorized dense  S_ij = A_i[j mod a] B_i[j div a],  a b >= S          the two factors from token i alone
    random            S    = R                                            a table; frozen, it is "fixed random"
    factorized random S    = R1 R2^T                                      rank k
    mixture           S    = sum_m softmax(w)_m S_m                        of scores, before the one softmax

Tables have a longest length L; shorter inputs use their first rows and columns, longer ones are errors.

Where we differ from released code: both factors of the random factorization keep their own row axis (Mesh TensorFlow's einsum
broadcasts the query axis away); heads and positions of the dense form are not mixed by a reshape and padding is masked in every
variant (Long Range Arena); the factors of the dense form are tiled in two ways, so that all a b products occur. Mixtures whose
scores are just added are ``S_1 + S_2``; Mesh TensorFlow's one weight for all heads is ``mix_logits`` with ``[2, 1]`` weights.

References:
  Tay et al., "Synthesizer: Rethinking Self-Attention in Transformer Models", 2020, section 3 and table 1.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from efficient_attn.kernels import attend
from efficient_attn.patterns.algebra import Pattern


def dense_logits(
    x: Float[Array, "B T D"],
    hidden_kernel: Float[Array, "D N H"],
    output_kernel: Float[Array, "N H L"] | Float[Array, "H L"],
    *,
    length: int,
    hidden_bias: Float[Array, "N H"] | None = None,
    output_bias: Float[Array, "N L"] | Float[Array, " L"] | None = None,
) -> Float[Array, "B N T S"]:
    """Scores of each token for every key position, from that token alone: ``W2 relu(W1 x + b1) + b2``.

    Args:
      x: tokens.
      hidden_kernel: ``W1``, a hidden layer of size ``H`` per head.
      output_kernel: ``W2`` for up to ``L`` key positions, per head or shared by the heads.
      length: number of key positions ``S``.
      hidden_bias: ``b1``, 0 by default.
      output_bias: ``b2``, 0 by default.

    Raises:
      ValueError: if ``length`` exceeds ``L``.

    Cost: O(B T N H (D + S)) time, O(B N T S) memory.
    """
    _check_length("dense_logits", length, output_kernel.shape[-1])
    hidden = _hidden(x, hidden_kernel, hidden_bias)
    logits = _per_head(hidden, output_kernel[..., :length])
    return logits if output_bias is None else logits + _rows(output_bias[..., :length])


def factorized_dense_logits(
    x: Float[Array, "B T D"],
    hidden_kernel: Float[Array, "D N H"],
    first_kernel: Float[Array, "N H a"] | Float[Array, "H a"],
    second_kernel: Float[Array, "N H b"] | Float[Array, "H b"],
    *,
    length: int,
    hidden_bias: Float[Array, "N H"] | None = None,
) -> Float[Array, "B N T S"]:
    """Scores of each token for every key position as products of two short vectors: ``S_ij = A_i[j mod a] B_i[j div a]``.

    Args:
      x: tokens.
      hidden_kernel: a hidden layer of size ``H`` per head, followed by a ReLU.
      first_kernel: gives ``A``, repeated as a whole along the key positions.
      second_kernel: gives ``B``, each element repeated ``a`` times.
      length: number of key positions ``S``, at most ``a * b``.
      hidden_bias: 0 by default.

    Raises:
      ValueError: if ``length`` exceeds ``a * b``.

    Cost: O(B T N (H (D + a + b) + S)) time, O(B N T S) memory.
    """
    a, b = first_kernel.shape[-1], second_kernel.shape[-1]
    _check_length("factorized_dense_logits", length, a * b)
    hidden = _hidden(x, hidden_kernel, hidden_bias)
    first, second = _per_head(hidden, first_kernel), _per_head(hidden, second_kernel)
    products = second[..., :, None] * first[..., None, :]
    return products.reshape(*products.shape[:-2], a * b)[..., :length]


def random_logits(
    table: Float[Array, "N L L"], *, query_length: int, key_length: int, first_query: int | jax.Array = 0
) -> Float[Array, "N T S"]:
    """Scores that are parameters: rows ``first_query ...`` and the first columns of ``table``, the same for every input.

    Args:
      table: trained or, under ``jax.lax.stop_gradient``, fixed.
      query_length: number of queries ``T``.
      key_length: number of keys ``S``.
      first_query: position of the first query, for decoding step by step. If traced, the caller keeps it in range.

    Raises:
      ValueError: if queries or keys lie beyond ``L``.

    Cost: O(N T S) memory, no products.
    """
    _check_rows("random_logits", first_query, query_length, key_length, table.shape[-1])
    return jax.lax.dynamic_slice_in_dim(table, first_query, query_length, axis=1)[:, :, :key_length]


def factorized_random_logits(
    left: Float[Array, "N L k"],
    right: Float[Array, "N L k"],
    *,
    query_length: int,
    key_length: int,
    first_query: int | jax.Array = 0,
) -> Float[Array, "N T S"]:
    """Scores that are parameters of rank ``k`` (8 in the paper): ``R1 R2^T``. Arguments are those of ``random_logits``.

    Raises:
      ValueError: if queries or keys lie beyond ``L``.

    Cost: O(N T S k) time, O(N T S) memory.
    """
    _check_rows("factorized_random_logits", first_query, query_length, key_length, left.shape[1])
    rows = jax.lax.dynamic_slice_in_dim(left, first_query, query_length, axis=1)
    return jnp.einsum("ntk,nsk->nts", rows, right[:, :key_length])


def mix_logits(
    logits: Sequence[Float[Array, "... N T S"]], weights: Float[Array, "M N"] | Float[Array, "M 1"]
) -> Float[Array, "... N T S"]:
    """Mixes scores with weights that sum to 1: ``sum_m softmax(weights)_m S_m``.

    Args:
      logits: of each kind, with or without a batch axis. Dot products bring their own scale.
      weights: free numbers, per kind and head, or per kind.

    Raises:
      ValueError: if there is not one row of weights for each kind.

    Cost: O(M B N T S).
    """
    if len(logits) != weights.shape[0]:
        raise ValueError(f"mix_logits needs one row of weights for each of {len(logits)} kinds, got {weights.shape[0]}")
    shares = jax.nn.softmax(weights.astype(jnp.float32), axis=0)[:, :, None, None]
    return sum(share.astype(x.dtype) * x for share, x in zip(shares, logits, strict=True))


def synthesized_attention(
    logits: Float[Array, "B N T S"] | Float[Array, "N T S"],
    value: Float[Array, "B S K H"],
    pattern: Pattern,
    **options: Any,
) -> Float[Array, "B T N H"]:
    """Attention with given scores over the keys that ``pattern`` lets each query see.

    Args:
      logits: from the functions of this module.
      value: values, ``K`` heads of which each serves ``N / K`` query heads.
      pattern: ``Causal()`` for language models, ``Full()`` for encoders.
      options: of ``attend``: ``key_mask``, ``segment_ids``, positions, dropout, ``implementation``.

    Raises:
      ValueError: as ``attend`` does.

    Cost: O(B N T S H) time.
    """
    heads, queries = logits.shape[-3:-1]
    # Products of empty features: attend's masks, dropout and kernels serve scores that come as a bias.
    query = jnp.zeros((value.shape[0], queries, heads, 1), value.dtype)
    key = jnp.zeros((*value.shape[:3], 1), value.dtype)
    bias = logits if logits.ndim == 4 else logits[None]
    return attend(query, key, value, pattern, bias=bias, **options)


def _check_length(name: str, length: int, longest: int) -> None:
    if not 1 <= length <= longest:
        raise ValueError(f"{name} was given parameters for 1 to {longest} positions, got a length of {length}")


def _check_rows(name: str, first: int | jax.Array, queries: int, keys: int, longest: int) -> None:
    _check_length(name, keys, longest)
    _check_length(name, queries + (first if isinstance(first, int) else 0), longest)


def _hidden(x: jax.Array, kernel: jax.Array, bias: jax.Array | None) -> jax.Array:
    hidden = jnp.einsum("btd,dnh->bnth", x, kernel)
    return jax.nn.relu(hidden if bias is None else hidden + bias[:, None])


def _per_head(hidden: jax.Array, kernel: jax.Array) -> jax.Array:
    return jnp.einsum("bnth,nhl->bntl" if kernel.ndim == 3 else "bnth,hl->bntl", hidden, kernel)


def _rows(bias: jax.Array) -> jax.Array:
    return bias[:, None] if bias.ndim == 2 else bias
