"""Who sees whom, tested through the answers: the support, causality, hidden slots and rows that see nothing."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conformance_cases import ALL, BATCH, CAUSAL, HEADS, LENGTH, NOTHING, PATTERNS, answers, draw, inputs

from efficient_attn import attend
from efficient_attn import patterns as P

each_implementation = pytest.mark.parametrize("implementation", ALL)


def jacobian(implementation, pattern):
    """``d output[i] / d value[j]`` as ``[heads, i, j]``, forward and by the backward pass: both are the weights."""
    given = inputs(batch=1)
    eye = np.broadcast_to(np.eye(LENGTH, dtype=np.float32)[None, :, None], (1, LENGTH, HEADS, LENGTH))
    run = lambda v: attend(given["query"], given["key"], v, pattern, implementation=implementation)  # noqa: E731
    forward, pull = jax.vjp(run, eye)
    return np.moveaxis(forward[0], 1, 0), np.transpose(pull(eye)[0][0], (1, 2, 0))


@each_implementation
@pytest.mark.parametrize("pattern", PATTERNS.values(), ids=PATTERNS)
def test_the_support_is_the_pattern(implementation, pattern):
    allowed = np.broadcast_to(pattern.dense(LENGTH, LENGTH), (HEADS, LENGTH, LENGTH))
    for weights in jacobian(implementation, pattern):
        np.testing.assert_array_equal(weights != 0, allowed)


@each_implementation
@pytest.mark.parametrize("pattern", CAUSAL.values(), ids=CAUSAL)
def test_no_gradient_comes_from_the_future(implementation, pattern):
    last = 128
    got = answers(implementation, pattern, inputs(), rows=np.arange(LENGTH) <= last)
    for name in ("query", "key", "value"):
        gradient = np.asarray(got[f"gradient of {name}"])
        assert not gradient[:, last + 1 :].any(), name
        assert gradient[:, :last].any(), name


@each_implementation
@pytest.mark.parametrize("pattern", ["full", "causal window", "per head"])
def test_what_a_hidden_slot_holds_changes_nothing(implementation, pattern):
    visible = draw(6, BATCH, LENGTH) > 0
    clean = inputs()
    dirty = {n: np.where(visible[..., None, None], x, np.nan) for n, x in clean.items() if n != "query"}
    results = [
        answers(implementation, PATTERNS[pattern], clean | other, {"key_mask": visible}) for other in ({}, dirty)
    ]
    jax.tree.map(np.testing.assert_array_equal, *results)
    assert all(np.isfinite(x).all() for name, x in results[1].items() if name != "log-sum-exp")
    assert not np.isnan(results[1]["log-sum-exp"]).any()
    for name in ("key", "value"):
        assert not results[1][f"gradient of {name}"][~visible].any()


@each_implementation
def test_a_hidden_key_is_an_absent_key(implementation):
    visible = np.broadcast_to(np.arange(LENGTH) < 101, (BATCH, LENGTH))
    whole = inputs()
    short = whole | {name: whole[name][:, :101] for name in ("key", "value")}
    masked = answers(implementation, P.Full(), whole, {"key_mask": visible})
    absent = answers(implementation, P.Full(), short)
    for name in ("output", "log-sum-exp", "gradient of query"):
        np.testing.assert_allclose(masked[name], absent[name], rtol=1e-4, atol=1e-5)


def empty(kind):
    """Ways in which a query sees nothing: pattern, arrays, and which queries of which batch rows those are."""
    batch, token = np.arange(BATCH)[:, None], np.arange(LENGTH)[None]
    if kind == "pattern":
        return NOTHING, {}, (batch >= 0) & (token >= 0)
    if kind == "some rows of the pattern":
        return P.Causal() & ~P.Window(left=10), {}, (batch >= 0) & (token <= 10)
    if kind == "key mask":
        return P.Causal(), {"key_mask": (batch == 1) & (token >= 0)}, (batch == 0) & (token >= 0)
    if kind == "key mask of first keys":
        return P.Causal(), {"key_mask": (batch >= 0) & (token >= 20)}, (batch >= 0) & (token < 20)
    keys = np.where(batch == 0, 1, 0) + 0 * token
    return P.Full(), {"segment_ids": (np.zeros_like(keys), keys)}, (batch == 0) & (token >= 0)


@each_implementation
@pytest.mark.fast
@pytest.mark.parametrize(
    "kind", ["pattern", "some rows of the pattern", "key mask", "key mask of first keys", "segments"]
)
def test_a_query_that_sees_nothing(implementation, kind):
    pattern, arrays, rows = empty(kind)
    got = {name: np.asarray(x) for name, x in answers(implementation, pattern, inputs(), arrays).items()}
    assert not got["output"][rows].any()
    assert not got["gradient of query"][rows].any()
    np.testing.assert_array_equal(np.isneginf(got["log-sum-exp"]).all(-1), rows)
    assert all(np.isfinite(x).all() for name, x in got.items() if name != "log-sum-exp")
    if rows.all():
        assert not got["gradient of key"].any() and not got["gradient of value"].any()


@each_implementation
def test_segments_are_separate_sequences(implementation):
    cut = 53
    ids = (jnp.arange(LENGTH) >= cut).astype(jnp.int32)[None]
    whole = answers(implementation, P.Causal(), inputs(), {"segment_ids": ids})
    parts = [
        answers(implementation, P.Causal(), {name: x[:, part] for name, x in inputs().items()})
        for part in (slice(None, cut), slice(cut, None))
    ]
    for name in ("output", "log-sum-exp"):
        joined = np.concatenate([part[name] for part in parts], axis=1)
        np.testing.assert_allclose(whole[name], joined, rtol=1e-4, atol=1e-5)
