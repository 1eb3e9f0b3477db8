"""LSH attention against loops in numpy, and against dense attention where every token sees every other."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from efficient_attn.ops import lsh

B, T, K, H, HV = 2, 24, 2, 6, 5


def draw(seed, *shape):
    return jax.random.normal(jax.random.key(seed), shape)


@pytest.fixture(scope="module")
def inputs():
    return draw(0, B, T, K, H), draw(1, B, T, K, HV)


def pair_scores(query):
    size = np.sqrt((query**2).mean(-1, keepdims=True) + 1e-6) * query.shape[-1] ** 0.5
    return query @ (query / size).T


def by_loops(query, value, buckets, chunk, back, ahead, causal, visible, same_bucket=False, count_once=False):
    """One head of one row, float64: ``buckets`` is ``[T, rounds]``."""
    tokens, rounds = buckets.shape
    scores = pair_scores(query)
    order = np.concatenate([np.argsort(buckets[:, r], kind="stable") for r in range(rounds)])
    chunks = order.reshape(-1, chunk)
    meetings = [[] for _ in range(tokens)]
    for c, members in enumerate(chunks):
        seen = np.concatenate([chunks[(c + o) % len(chunks)] for o in range(-back, ahead + 1)])
        round_of_seen = np.repeat([(c + o) % len(chunks) * chunk // tokens for o in range(-back, ahead + 1)], chunk)
        for i in members:
            meetings[i].append((c * chunk // tokens, seen, round_of_seen))
    output = np.zeros((tokens, value.shape[-1]))
    for i in range(tokens):
        times = np.bincount(np.concatenate([seen for _, seen, _ in meetings[i]]), minlength=tokens)
        parts, lses = [], []
        for r, seen, round_of_seen in meetings[i]:
            s = scores[i, seen] - (np.log(times[seen]) if count_once else 0)
            hidden = ~visible[seen] | (causal & (seen > i))
            if same_bucket:
                hidden |= (buckets[seen, r] != buckets[i, r]) | (round_of_seen != r)
            s = np.where(seen == i, -1e5, np.where(hidden, -1e9, s))
            lses.append(s.max() + np.log(np.exp(s - s.max()).sum()))
            parts.append(np.exp(s - lses[-1]) @ value[seen])
        weights = np.exp(np.array(lses) - max(lses))
        output[i] = weights @ np.array(parts) / weights.sum()
    return output


def dense(query, value, causal, mask=None):
    """Shared query-key attention over all pairs."""
    size = jnp.sqrt((query**2).mean(-1, keepdims=True) + 1e-6) * query.shape[-1] ** 0.5
    scores = jnp.einsum("btkh,bskh->bkts", query, query / size)
    i, j = jnp.arange(query.shape[1])[:, None], jnp.arange(query.shape[1])
    visible = (j <= i) | (not causal)
    if mask is not None:
        visible = visible & mask[:, None, None]
    weights = jax.nn.softmax(jnp.where(i == j, -1e5, jnp.where(visible, scores, -1e9)), axis=-1)
    return jnp.einsum("bkts,bskh->btkh", weights, value)


def test_a_bucket_is_the_largest_of_both_signs_and_digits_multiply():
    vectors, one, two = draw(0, B, T, K, H), draw(1, K, H, 3, 2), draw(2, K, H, 3, 4)
    found = lsh.hash_vectors(vectors, one)
    chex.assert_shape(found, (B, T, K, 3))
    turned = np.einsum("btkh,khrc->btkrc", vectors, one)
    np.testing.assert_array_equal(found, np.argmax(np.concatenate([turned, -turned], -1), -1))
    both = lsh.hash_vectors(vectors, (one, two))
    np.testing.assert_array_equal(both % 4, found)
    np.testing.assert_array_equal(both // 4, lsh.hash_vectors(vectors, two))
    np.testing.assert_array_equal(lsh.hash_vectors(3 * vectors, one), found)


@pytest.mark.parametrize(
    "causal,back,ahead,rounds,option",
    [
        (True, 1, 0, 1, {}),
        (True, 1, 0, 3, {}),
        (False, 1, 1, 3, {}),
        (True, 2, 0, 3, {"same_bucket": True}),
        (False, 1, 0, 1, {"same_bucket": True}),
        (True, 1, 0, 3, {"count_once": True}),
        (False, 1, 1, 2, {"count_once": True}),
    ],
)
def test_the_loops(inputs, causal, back, ahead, rounds, option):
    rotations = draw(2, K, H, rounds, 2)
    mask = np.arange(T) < np.array([[T], [17]])
    found = lsh.lsh_attention(
        *inputs,
        rotations=rotations,
        chunk=4,
        look_back=back,
        look_ahead=ahead,
        causal=causal,
        key_mask=jnp.asarray(mask),
        **option,
    )
    query, value = (np.where(mask[:, :, None, None], np.asarray(x, np.float64), 0) for x in inputs)
    buckets = np.where(mask[:, :, None, None], lsh.hash_vectors(inputs[0], rotations), 4)
    for b in range(B):
        for k in range(K):
            heads = query[b, :, k], value[b, :, k], buckets[b, :, k]
            expected = by_loops(*heads, 4, back, ahead, causal, mask[b], **option)
            np.testing.assert_allclose(found[b, :, k], expected, atol=1e-5)


@pytest.mark.parametrize("causal,rounds,option", [(True, 1, {}), (False, 2, {}), (True, 2, {"count_once": True})])
def test_one_chunk_of_everything_is_dense_attention_and_so_are_its_gradients(inputs, causal, rounds, option):
    mask = jnp.arange(T) < jnp.array([[T], [17]])
    run = jax.jit(
        lambda q, v: lsh.lsh_attention(
            q, v, rotations=draw(2, K, H, rounds, 2), chunk=T, causal=causal, key_mask=mask, **option
        )
    )
    keep = mask[:, :, None, None]
    expect = jax.jit(lambda q, v: dense(jnp.where(keep, q, 0), jnp.where(keep, v, 0), causal, mask))
    chex.assert_trees_all_close(run(*inputs), expect(*inputs), atol=1e-5)
    grads = [jax.grad(lambda *a, f=f: (f(*a) ** 2).sum(), (0, 1))(*inputs) for f in (run, expect)]
    chex.assert_trees_all_close(*grads, atol=1e-4)


def test_gradients_agree_with_differences_while_the_buckets_stand_still():
    with jax.enable_x64(True):
        query, value, g = (draw(seed, 1, 10, K, size).astype(jnp.float64) for seed, size in ((3, H), (4, HV), (5, HV)))
        rotations = draw(6, K, H, 2, 2).astype(jnp.float64)
        buckets = lsh.hash_vectors(query, rotations)
        run = jax.jit(
            lambda q, v: (lsh.lsh_attention(q, v, rotations=rotations, chunk=4, causal=True, buckets=buckets) * g).sum()
        )
        slopes = jax.grad(run, (0, 1))(query, value)
        towards = draw(7, *query.shape).astype(jnp.float64), draw(8, *value.shape).astype(jnp.float64)
        # Scores are float32 inside, so the step is wide.
        step = 1e-2
        ahead, behind = (run(query + s * towards[0], value + s * towards[1]) for s in (step, -step))
        along = sum((a * b).sum() for a, b in zip(slopes, towards, strict=True))
        np.testing.assert_allclose(along, (ahead - behind) / (2 * step), rtol=2e-3)


def test_later_values_never_reach_earlier_tokens(inputs):
    query, value = inputs
    run = jax.jit(lambda v: lsh.lsh_attention(query, v, rotations=draw(2, K, H, 2, 2), chunk=4, causal=True))
    changed = value.at[:, 16:].add(1.0)
    np.testing.assert_array_equal(run(changed)[:, :16], run(value)[:, :16])
    assert bool(jnp.any(run(changed)[:, 16:] != run(value)[:, 16:]))


def test_hidden_tokens_may_hold_anything_and_lengths_need_not_be_multiples(inputs):
    mask = jnp.arange(T) < jnp.array([[21], [0]])
    options = {"rotations": draw(2, K, H, 2, 2), "chunk": 4, "causal": False, "key_mask": mask}
    found = lsh.lsh_attention(*inputs, **options)
    spoiled = [jnp.where(mask[:, :, None, None], x, jnp.nan) for x in inputs]
    again, pullback = jax.vjp(lambda q, v: lsh.lsh_attention(q, v, **options), *spoiled)
    np.testing.assert_array_equal(again, found)
    np.testing.assert_array_equal(found[1], 0)
    chex.assert_tree_all_finite(pullback(jnp.ones_like(found)))
    short = lsh.lsh_attention(*(x[:, :21] for x in inputs), **options | {"key_mask": None})
    chex.assert_trees_all_close(short[0], found[0, :21], atol=1e-6)


def test_a_single_token_attends_to_itself():
    query, value = draw(0, 1, 1, K, H), draw(1, 1, 1, K, HV)
    found = lsh.lsh_attention(query, value, rotations=draw(2, K, H, 2, 2), chunk=4, causal=True)
    chex.assert_trees_all_close(found, value, atol=1e-6)


def test_bfloat16_and_vmap(inputs):
    rotations = draw(2, K, H, 2, 2)
    buckets = lsh.hash_vectors(inputs[0], rotations)
    full = lsh.lsh_attention(*inputs, rotations=rotations, chunk=4, causal=True, buckets=buckets)
    low = lsh.lsh_attention(
        *(x.astype(jnp.bfloat16) for x in inputs), rotations=rotations, chunk=4, causal=True, buckets=buckets
    )
    chex.assert_type(low, jnp.bfloat16)
    chex.assert_trees_all_close(low.astype(jnp.float32), full, atol=1e-1)
    rows = jax.vmap(lambda q, v: lsh.lsh_attention(q[None], v[None], rotations=rotations, chunk=4, causal=True)[0])(
        *inputs
    )
    chex.assert_trees_all_close(rows, full, atol=1e-6)


def test_bad_input(inputs):
    with pytest.raises(ValueError, match=r"\[2, 6, rounds, buckets / 2\], got shape \(3, 6, 1, 2\)"):
        lsh.lsh_attention(*inputs, rotations=jnp.ones((3, H, 1, 2)), chunk=4, causal=True)
    with pytest.raises(ValueError, match="got chunk 0, look_back 1, look_ahead 0"):
        lsh.lsh_attention(*inputs, rotations=jnp.ones((K, H, 1, 2)), chunk=0, causal=True)
