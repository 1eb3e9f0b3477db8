"""What the conformance suite runs: patterns, inputs, and one measure of error."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from efficient_attn import RelativeBias, attend
from efficient_attn import patterns as P
from efficient_attn.kernels.attend import IMPLEMENTATIONS

ORACLE = "reference"
# The oracle answers for itself where a property needs no comparison.
ALL = tuple(IMPLEMENTATIONS)
TESTED = tuple(name for name in IMPLEMENTATIONS if name != ORACLE)
# What an implementation does not do: `attend` refuses it with the reason, and `test_refusals.py` sees that it does.
REFUSED = {name: ("positions", "relative bias") for name in ("pallas_tpu", "pallas_gpu")}


def taking(option, names=ALL):
    """Those of the implementations that take an option."""
    return tuple(name for name in names if option not in REFUSED.get(name, ()))


# Two blocks of 128 and a ragged end; every size is a different prime, so that a swapped axis fails.
LENGTH, BATCH, HEADS, SIZE, VALUE_SIZE = 131, 2, 3, 5, 7

NOTHING = P.Strided(7) & ~P.Strided(7)
CAUSAL = {
    "causal": P.Causal(),
    "causal window": P.Causal() & P.Window(left=127),
    "strided": P.Causal() & (P.Window(left=16) | P.Strided(17)),
    "fixed": P.Causal() & P.Fixed(stride=19, summary=3, group=1),
    "some empty rows": P.Causal() & ~P.Window(left=10),
}
PATTERNS = CAUSAL | {
    "full": P.Full(),
    "window": P.Window(left=13, right=5),
    "dilated": P.Dilated(left=7, right=3, dilation=5),
    "chunks and prefix": P.Chunk(37) | P.Prefix(11),
    "global": P.Window(9, 9) | P.Global([0, 23]),
    "block random": P.BlockRandom(16, 2, 7, LENGTH),
    "nothing": NOTHING,
    "per head": P.PerHead([P.Causal() & P.Window(left=31), NOTHING, P.Chunk(29)]),
}


def draw(seed: int, *shape: int, dtype=np.float32) -> np.ndarray:
    """Standard normal numbers."""
    return np.random.default_rng([seed, *shape]).normal(size=shape).astype(dtype)


def inputs(q_len=LENGTH, k_len=None, *, batch=BATCH, heads=HEADS, key_heads=None, size=SIZE, value_size=VALUE_SIZE):
    """Query, key and value."""
    k_len, key_heads = k_len or q_len, key_heads or heads
    return {
        "query": draw(1, batch, q_len, heads, size),
        "key": draw(2, batch, k_len, key_heads, size),
        "value": draw(3, batch, k_len, key_heads, value_size),
    }


def answers(implementation, pattern, differentiable, arrays=None, rows=None, **static):
    """Output, log-sum-exp and the gradients of every differentiable input, for one random cotangent of both.

    Args:
      implementation: its name.
      pattern: who may attend to whom.
      differentiable: arguments of ``attend`` by name.
      arrays: more of them, that have no gradient.
      rows: cotangents of these queries only; default all.
      static: options that are not arrays.
    """
    run = _compiled(implementation, pattern, tuple(sorted(static.items())))
    return _answers(run, differentiable, arrays or {}, rows)


def answers_of(function, differentiable, arrays, rows=None):
    """The same of any function that returns output and log-sum-exp."""
    return _answers(_with_gradients(function), differentiable, arrays, rows)


# Tests ask for the same answers, and every implementation is compared with the oracle's: a program is compiled once.
@functools.lru_cache(maxsize=512)
def _compiled(implementation, pattern, static):
    call = functools.partial(attend, pattern=pattern, return_lse=True, implementation=implementation, **dict(static))
    return _with_gradients(lambda d, a: call(**d, **a))


def _with_gradients(function):
    """Results and gradients of ``function(differentiable, arrays)``, compiled."""

    @jax.jit
    def run(differentiable, arrays, cotangents):
        results, pull = jax.vjp(lambda d: function(d, arrays), differentiable)
        (gradients,) = pull(tuple(c.astype(r.dtype) for c, r in zip(cotangents, results, strict=True)))
        return results, gradients

    return run


def _answers(run, differentiable, arrays, rows):
    (batch, q_len, heads), value_size = differentiable["query"].shape[:3], differentiable["value"].shape[3]
    cotangents = draw(4, batch, q_len, heads, value_size), draw(5, batch, q_len, heads)
    if rows is not None:
        cotangents = tuple(np.where(rows.reshape(1, -1, *[1] * (c.ndim - 2)), c, 0) for c in cotangents)
    (output, lse), gradients = run(differentiable, arrays, cotangents)
    named = {f"gradient of {name}": g for name, g in gradients.items()}
    return {"output": output, "log-sum-exp": lse} | named


def error(actual, expected) -> float:
    """Greatest absolute error over the greatest absolute value of what is expected; infinities must be the same."""
    actual, expected = (np.asarray(jnp.asarray(x), np.float64) for x in (actual, expected))
    assert actual.shape == expected.shape, f"shape {actual.shape} instead of {expected.shape}"
    finite = np.isfinite(expected)
    np.testing.assert_array_equal(actual[~finite], expected[~finite])
    scale = np.abs(expected[finite]).max(initial=0.0)
    difference = np.abs(actual[finite] - expected[finite]).max(initial=0.0)
    return float(difference / scale if scale > 0 else difference)


def assert_close(actual, expected, most=1e-5, context=""):
    """Every answer is within ``most`` of the expected one, relatively; RelativeBias gradients by their values."""
    actual, expected = (
        {name: x.values if isinstance(x, RelativeBias) else x for name, x in a.items()} for a in (actual, expected)
    )
    assert actual.keys() == expected.keys()
    errors = {name: error(actual[name], expected[name]) for name in expected}
    # Written so that NaN fails.
    assert all(e <= most for e in errors.values()), f"relative errors above {most}: {errors} {context}"
