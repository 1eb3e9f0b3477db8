"""``attend``: the one attention function, over any pattern, in whichever implementation fits the machine."""

import functools
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import jax
from jaxtyping import Array, Bool, Float, Int

from efficient_attn.kernels.arguments import Arguments, check, problem_of, settings_of
from efficient_attn.kernels.automatic import attend_automatic, on_gpu, on_tpu, with_xla
from efficient_attn.kernels.heads import for_each_pattern
from efficient_attn.kernels.problem import Problem, Settings
from efficient_attn.kernels.reference import attend_reference
from efficient_attn.kernels.shards import attend_sharded
from efficient_attn.patterns.algebra import Pattern
from efficient_attn.patterns.block_mask import BlockMask

Implementation = Callable[[Settings, Problem], tuple[jax.Array, jax.Array]]

# Every implementation there is. `None` takes the first that the device can run; XLA runs everywhere.
IMPLEMENTATIONS: Mapping[str, Implementation] = MappingProxyType(
    {
        "pallas_tpu": on_tpu,
        "pallas_gpu": on_gpu,
        "xla": with_xla,
        "reference": for_each_pattern(attend_reference),
    }
)


def attend(
    query: Float[Any, "B T N H"],
    key: Float[Any, "B S K H"],
    value: Float[Any, "B S K Hv"],
    pattern: Pattern | BlockMask,
    *,
    query_positions: Int[Any, "..."] | None = None,
    key_positions: Int[Any, "..."] | None = None,
    key_mask: Bool[Any, "B S"] | None = None,
    segment_ids: Any = None,
    bias: Any = None,
    scale: float | None = None,
    logits_soft_cap: float | None = None,
    dropout_rate: float = 0.0,
    dropout_key: jax.Array | None = None,
    query_spec: jax.P | None = None,
    return_lse: bool = False,
    implementation: str | None = None,
) -> Float[Array, "B T N Hv"] | tuple[Float[Array, "B T N Hv"], Float[Array, "B T N"]]:
    """Softmax attention of each query over the keys that ``pattern`` lets it see.

        o_i = sum_j p_ij v_j,   p_ij = exp(s_ij - L_i),   s_ij = scale * q_i . k_j + bias_ij,   L_i = log sum_j exp(s_ij)

    A query that may see no key gives 0, log-sum-exp minus infinity and zero gradients.

    Args:
      query: ``N`` heads, a multiple of the ``K`` heads of key and value; query head ``n`` reads key head ``n // (N / K)``.
      key: keys.
      value: values; their size may differ from that of the keys.
      pattern: who may attend to whom, by position; or its ``BlockMask`` for these lengths, whose blocks the TPU kernels then take.
        Where ``T != S``, a pattern needs positions; a ``BlockMask`` does not, for its numbers of queries and keys are those meant.
      query_positions: position of each query, ``[T]``, ``[B, T]`` or ``[B, N, T]``; default: its index. They carry decode
        offsets, ring caches, token orders and packing, and may be traced.
      key_positions: position of each key, ``[S]``, ``[B, S]`` or ``[B, K, S]``.
      key_mask: False hides a key from every query; what it holds, NaN included, changes nothing.
      segment_ids: queries see keys of their own segment only: ``[B, T]`` where ``T == S``, or a pair ``([B, T], [B, S])``.
      bias: added to the scores: an array broadcastable to ``[B, N, T, S]``, or a ``RelativeBias``. Differentiable.
      scale: factor of the products; default ``H ** -0.5``.
      logits_soft_cap: scores become ``cap * tanh(score / cap)``, after the bias.
      dropout_rate: probability of dropping an attention weight. Needs ``dropout_key``.
      dropout_key: PRNG key; the weights dropped depend on it and on batch row, head and slots, not on the implementation.
      query_spec: how ``B, T, N, H`` lie on the current mesh; read from the type on an Explicit mesh. Batch, heads and, in
        self-attention without bias, positions and dropout, tokens may be sharded. A sharded sequence is never gathered: the keys
        that a device's queries see are sent to it (``kernels/ring.py``).
      return_lse: also return the log-sum-exp, float32, differentiable.
      implementation: a name from ``IMPLEMENTATIONS``: that one runs or raises. None takes the best that works here.

    Returns:
      The output in the format of ``value``; with ``return_lse`` a pair of it and the log-sum-exp.

    Raises:
      ValueError: shapes, positions, rates or names that do not fit, with what was expected and what came.
      NotImplementedError: the named implementation cannot do this here, with the reason.

    Cost: time O(live pairs * (H + Hv)), memory O((T + S) * N * H) beside the arguments; ``"reference"`` is dense.
    """
    # `query`, `key` and the rest are gathered once, so that no helper has a signature this long.
    arguments = Arguments(
        query, key, value, pattern, query_positions, key_positions, key_mask, segment_ids, bias,
        scale, logits_soft_cap, dropout_rate, dropout_key,
    )  # fmt: skip
    arguments = check(arguments)
    run = functools.partial(_run, _implementation(implementation))
    output, lse = attend_sharded(run, settings_of(arguments), problem_of(arguments), query_spec)
    output = output.reshape(*output.shape[:2], -1, output.shape[-1])
    lse = lse.reshape(*lse.shape[:2], -1)
    return (output, lse) if return_lse else output


def _implementation(name: str | None) -> Implementation:
    if name is None:
        return attend_automatic
    if name not in IMPLEMENTATIONS:
        raise ValueError(f"implementation must be None or one of {', '.join(IMPLEMENTATIONS)}, got {name!r}")
    return IMPLEMENTATIONS[name]


@functools.partial(jax.jit, static_argnums=(0, 1))
def _run(implementation: Implementation, settings: Settings, problem: Problem) -> tuple[jax.Array, jax.Array]:
    return implementation(settings, problem)
