"""Tables of spans, against loops over all of them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from efficient_attn.ops.spans import crossing, distance_bucket, head_means, kept_spans, uncrossed

pytestmark = pytest.mark.fast

TOKENS, WIDTHS = 11, 4


def spans(tokens=TOKENS, widths=WIDTHS):
    return [(t, w) for t in range(tokens) for w in range(widths) if t + w < tokens]


def cross(one, other):
    (a, b), (c, d) = ((t, t + w) for t, w in (one, other))
    return a < c <= b < d or c < a <= d < b


def greedy(scores, allowed):
    taken = []
    for span in sorted((s for s in spans(*scores.shape) if allowed[s]), key=lambda s: -scores[s]):
        if not any(cross(span, other) for other in taken):
            taken.append(span)
    return taken


def drawn(seed, share=0.7, shape=(TOKENS, WIDTHS)):
    rng = np.random.default_rng(seed)
    inside = np.add.outer(np.arange(shape[0]), np.arange(shape[1])) < shape[0]
    return rng.normal(size=shape).astype(np.float32), inside & (rng.uniform(size=shape) < share)


def test_means_are_weighted_within_each_span():
    rng = np.random.default_rng(0)
    # Scores so far apart that a softmax over the whole text would leave nothing of most tokens.
    x, scores = rng.normal(size=(TOKENS, 3)), rng.normal(size=TOKENS) * 60
    found = head_means(jnp.asarray(x, jnp.float32), jnp.asarray(scores, jnp.float32), WIDTHS)
    for t, w in spans():
        weights = np.exp(scores[t : t + w + 1] - scores[t : t + w + 1].max())
        expected = (weights / weights.sum()) @ x[t : t + w + 1]
        np.testing.assert_allclose(found[w, t], expected, rtol=2e-4, atol=2e-4)
    gradient = jax.grad(lambda x, s: head_means(x, s, WIDTHS).sum(), (0, 1))(jnp.float32(x), jnp.float32(scores))
    assert all(np.isfinite(part).all() for part in gradient)


def test_the_best_of_those_that_cross():
    values = np.full((TOKENS, WIDTHS), -1, np.int32)
    for n, span in enumerate(np.random.default_rng(1).permutation(spans())[:25]):
        values[tuple(span)] = n
    found = crossing(jnp.asarray(values))
    for span in spans():
        others = [values[other] for other in spans() if cross(span, other)]
        assert found[span] == max(others, default=-1)


@pytest.mark.parametrize("seed", range(5))
def test_spans_are_taken_from_the_best_on(seed):
    scores, allowed = drawn(seed)
    found = np.asarray(jax.jit(uncrossed)(scores, allowed))
    assert set(zip(*np.nonzero(found), strict=True)) == set(greedy(scores, allowed))


def test_the_first_of_equal_spans_is_the_better():
    scores = np.zeros((TOKENS, WIDTHS), np.float32)
    _, allowed = drawn(0, share=1.1)
    assert set(zip(*np.nonzero(np.asarray(uncrossed(jnp.asarray(scores), jnp.asarray(allowed)))), strict=True)) == set(
        greedy(scores, allowed)
    )


def test_some_are_kept_in_the_order_of_the_text():
    scores, allowed = drawn(7)
    best = sorted(greedy(scores, allowed)[:5])
    scores, allowed = jnp.asarray(scores), jnp.asarray(allowed)
    found, held = jax.jit(kept_spans, static_argnums=3)(scores, allowed, jnp.int32(5), 8)
    assert held.tolist() == [True] * 5 + [False] * 3
    assert [divmod(int(n), WIDTHS) for n in found[:5]] == best
    # More places than there are spans.
    found, held = kept_spans(scores, allowed & (scores > 1), jnp.int32(40), 40)
    assert [divmod(int(n), WIDTHS) for n in found[held]] == sorted(greedy(scores, allowed & (scores > 1)))
    many = jax.vmap(lambda a, b: kept_spans(a, b, jnp.int32(5), 8))
    pair = [jnp.stack(both) for both in zip((scores, allowed), map(jnp.asarray, drawn(8)), strict=True)]
    np.testing.assert_array_equal(many(*pair)[0][0, :5], [t * WIDTHS + w for t, w in best])


def test_buckets_of_distances():
    distances = jnp.array([0, 1, 2, 3, 4, 5, 7, 8, 15, 16, 31, 32, 63, 64, 1000, -3])
    assert distance_bucket(distances).tolist() == [0, 1, 2, 3, 4, 5, 5, 6, 6, 7, 7, 8, 8, 9, 9, 0]
