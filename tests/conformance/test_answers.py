"""Every implementation gives the oracle's output, log-sum-exp and gradients, for any pattern and shape."""

import chex
import jax.numpy as jnp
import numpy as np
import pytest
from conformance_cases import ALL, BATCH, LENGTH, ORACLE, PATTERNS, TESTED, answers, assert_close, inputs

from efficient_attn import patterns as P

each_implementation = pytest.mark.parametrize("implementation", TESTED)


@each_implementation
@pytest.mark.parametrize("pattern", PATTERNS.values(), ids=PATTERNS)
def test_answers_are_the_oracles(implementation, pattern):
    assert_close(answers(implementation, pattern, inputs()), answers(ORACLE, pattern, inputs()))


@each_implementation
@pytest.mark.fast
@pytest.mark.parametrize("length", [1, 2, 7, 8, 127, 128, 129, 257])
def test_any_length(implementation, length):
    pattern = P.Causal() & P.Window(left=40)
    assert_close(answers(implementation, pattern, inputs(length)), answers(ORACLE, pattern, inputs(length)))


@each_implementation
@pytest.mark.parametrize(("q_len", "k_len"), [(1, 131), (131, 1), (137, 263), (263, 137)])
def test_other_keys_than_queries(implementation, q_len, k_len):
    given = inputs(q_len, k_len)
    assert_close(answers(implementation, P.Full(), given), answers(ORACLE, P.Full(), given))


@each_implementation
@pytest.mark.parametrize(("heads", "key_heads"), [(6, 1), (6, 2), (6, 3)])
@pytest.mark.parametrize("per_head", [False, True], ids=["one pattern", "per head"])
def test_grouped_heads(implementation, heads, key_heads, per_head):
    near, far = P.Causal() & P.Window(left=20), P.Strided(5)
    pattern = P.PerHead([near, near, far, near, far, far]) if per_head else near
    given = inputs(heads=heads, key_heads=key_heads)
    assert_close(answers(implementation, pattern, given), answers(ORACLE, pattern, given))


@pytest.mark.parametrize("implementation", ALL)
def test_grouped_heads_are_repeated_keys(implementation):
    given = inputs(heads=6, key_heads=2)
    repeated = given | {name: np.repeat(given[name], 3, axis=2) for name in ("key", "value")}
    few, many = (answers(implementation, P.Causal(), x) for x in (given, repeated))
    for name in ("key", "value"):
        each = many[f"gradient of {name}"]
        many[f"gradient of {name}"] = each.reshape(BATCH, LENGTH, 2, 3, -1).sum(3)
    assert_close(few, many)


@pytest.mark.parametrize("implementation", ALL)
@pytest.mark.parametrize("value_size", [1, 5, 11])
def test_shapes_and_formats_of_the_answers(implementation, value_size):
    got = answers(implementation, P.Causal(), inputs(heads=6, key_heads=2, value_size=value_size))
    chex.assert_shape(got["output"], (BATCH, LENGTH, 6, value_size))
    chex.assert_shape(got["log-sum-exp"], (BATCH, LENGTH, 6))
    chex.assert_shape(got["gradient of query"], (BATCH, LENGTH, 6, 5))
    chex.assert_shape(got["gradient of key"], (BATCH, LENGTH, 2, 5))
    chex.assert_shape(got["gradient of value"], (BATCH, LENGTH, 2, value_size))
    chex.assert_type(list(got.values()), jnp.float32)


@each_implementation
@pytest.mark.parametrize("pattern", ["causal window", "some empty rows", "per head"])
def test_bfloat16_is_as_near_as_its_format_allows(implementation, pattern):
    # The oracle computes the same inputs in float32. Twice the spacing of bfloat16 covers rounded weights and outputs.
    most = 2 * float(jnp.finfo(jnp.bfloat16).eps)
    given = {name: jnp.asarray(x, jnp.bfloat16) for name, x in inputs().items()}
    got, expected = (answers(name, PATTERNS[pattern], given) for name in (implementation, ORACLE))
    chex.assert_type([got["output"], got["gradient of query"]], jnp.bfloat16)
    chex.assert_type(got["log-sum-exp"], jnp.float32)
    assert_close(got, expected, most)


@each_implementation
def test_large_scores_do_not_overflow(implementation):
    given = inputs()
    given["query"] = given["query"] * 1e3
    got, expected = (answers(name, P.Causal(), given) for name in (implementation, ORACLE))
    # Scores of 1,000 carry an absolute rounding error of 1e-4, and so do the weights.
    assert_close(got, expected, 1e-3)


@pytest.mark.parametrize("implementation", ALL)
def test_the_definition_by_hand(implementation):
    given = inputs(11, batch=1, heads=1)
    query, key, value = (given[name][0, :, 0].astype(np.float64) for name in ("query", "key", "value"))
    scores = np.where(np.tri(11, dtype=bool), 0.5 * query @ key.T, -np.inf)
    weights = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    got = answers(implementation, P.Causal(), given, scale=0.5)
    np.testing.assert_allclose(got["output"][0, :, 0], weights @ value, atol=1e-5)
    np.testing.assert_allclose(got["log-sum-exp"][0, :, 0], np.log(np.exp(scores).sum(1)), atol=1e-5)
