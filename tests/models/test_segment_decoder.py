"""A decoder with adaptive spans: segments with a memory equal the whole text, what is cut changes nothing, rows begin afresh."""

import dataclasses

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from efficient_attn.models import AdaptiveSpan, Decoder, DecoderConfig, decoder_of
from efficient_attn.models.segment_decoder import (
    clamp_spans,
    empty_memory,
    forget,
    limits_of,
    mean_spans,
    multiply_adds,
    resize,
)
from efficient_attn.nn.sublayers import sandwich_order

BATCH, LENGTH, VOCAB, LIMIT = 2, 36, 31, 29
SPAN = AdaptiveSpan(limit=LIMIT, ramp=4.0, trim=6, coefficient=0.5)
BASE = DecoderConfig(
    depth=3, width=16, heads=4, key_heads=2, vocab=VOCAB, logits="untied", attention=SPAN, attention_bias=False
)
TOKENS = jax.random.randint(jax.random.key(1), (BATCH, LENGTH), 0, VOCAB)


def configured(**changes):
    return dataclasses.replace(BASE, attention=dataclasses.replace(SPAN, **changes))


def initial(config, longest=0.4):
    """Parameters with spans that differ from head to head, the lower layers' shorter."""
    params = decoder_of(config).init(jax.random.key(0))
    if config.attention.spans == "heads":
        for n, layer in params["layers"].items():
            if "attention" in layer:
                layer["attention"]["span"] = jnp.linspace(0, longest * (n + 1) / 3, 4)
    return params


def fresh(limits=None):
    return empty_memory(BASE, limits or (LIMIT,) * 3, BATCH)


def read(config, params, pieces, limits=None):
    model = decoder_of(config, limits)
    run = jax.jit(lambda p, t, m: model.module(p)(t, m))
    memory, logits = fresh(limits), []
    for piece in pieces:
        reading = run(params, piece, memory)
        memory = reading.memory
        logits.append(reading.logits)
    return jnp.concatenate(logits, axis=1), reading


@pytest.mark.parametrize("change", [{}, {"spans": "tokens"}, {"spans": "fixed"}])
@pytest.mark.parametrize("norm", ["pre", "post"])
def test_segments_with_a_memory_equal_the_whole_text(change, norm):
    config = dataclasses.replace(configured(**change), norm=norm)
    params = initial(config)
    whole, _ = read(config, params, [TOKENS])
    for size in (12, 7):
        found, _ = read(config, params, jnp.split(TOKENS, list(range(size, LENGTH, size)), axis=1))
        np.testing.assert_allclose(found, whole, atol=2e-5)


def test_cut_to_the_spans_nothing_changes_but_the_size():
    params = initial(BASE)
    limits = limits_of(BASE, params)
    assert limits == (12, 12, 18)
    pieces = jnp.split(TOKENS, 3, axis=1)
    whole, _ = read(BASE, params, pieces)
    cut, reading = read(BASE, params, pieces, limits)
    np.testing.assert_allclose(cut, whole, atol=2e-5)
    assert [layer["inputs"].shape[1] for layer in reading.memory["layers"]] == list(limits)
    for model in ((BASE, None), (BASE, limits)):
        chex.assert_trees_all_equal(
            decoder_of(*model).init(jax.random.key(0)), decoder_of(BASE).init(jax.random.key(0))
        )


def test_gradients_are_the_same_cut_or_not():
    params = initial(BASE)

    def slopes(limits):
        model = decoder_of(BASE, limits)
        memory = read(BASE, params, [TOKENS[:, :20]], limits)[1].memory
        loss = lambda p: (model.module(p)(TOKENS[:, 20:], memory).logits ** 2).mean()  # noqa: E731
        gradient = jax.jit(jax.grad(loss))(params)
        return gradient | {"position_keys": gradient["position_keys"][:, :12]}

    chex.assert_trees_all_close(slopes(limits_of(BASE, params)), slopes(None), atol=1e-5)


def test_a_memory_that_grows_knows_only_what_it_kept():
    params = initial(BASE)
    small = read(BASE, params, [TOKENS[:, :24]], (6, 6, 12))[1].memory
    grown = resize(small, (12, 12, 18))
    assert [layer["inputs"].shape[1] for layer in grown["layers"]] == [12, 12, 18]
    np.testing.assert_array_equal(grown["layers"][0]["known"], 6)
    model = decoder_of(BASE)
    from_small, from_grown = (model.module(params)(TOKENS[:, 24:], m).logits for m in (small, grown))
    # The first token sees what the smaller memory held, and no empty slot.
    np.testing.assert_allclose(from_grown[:, 0], from_small[:, 0], atol=1e-5)
    shrunk = resize(grown, (6, 6, 12))
    chex.assert_trees_all_equal(shrunk, small)


def test_a_row_that_begins_again_remembers_nothing():
    params = initial(BASE)
    memory = read(BASE, params, [TOKENS[:, :20]])[1].memory
    model = decoder_of(BASE).module(params)
    first = model(TOKENS[:, 20:], fresh()).logits
    again = model(TOKENS[:, 20:], forget(memory, jnp.array([True, False]))).logits
    np.testing.assert_allclose(again[0], first[0], atol=1e-5)
    assert float(jnp.abs(again[1] - first[1]).max()) > 1e-3


def test_a_memory_has_no_gradient_and_the_future_no_influence():
    params, model = initial(BASE), decoder_of(BASE)
    run = lambda p, t: model.module(p)(t, fresh())  # noqa: E731
    remembered = jax.jit(
        jax.grad(lambda p: sum(jnp.sum(layer["inputs"]) for layer in run(p, TOKENS).memory["layers"]))
    )(params)
    assert all(not np.any(x) for x in jax.tree.leaves(remembered))
    other = TOKENS.at[:, 20].add(1) % VOCAB
    moved = jnp.abs(run(params, other).logits - run(params, TOKENS).logits).max((0, 2))
    np.testing.assert_array_equal(moved[:21], 0)
    assert float(moved[21]) > 1e-4


@pytest.mark.parametrize("change", [{}, {"spans": "tokens"}, {"spans": "fixed"}])
def test_every_step_equals_its_training_row(change):
    config = configured(**change)
    params = initial(config)
    limits = limits_of(config, params)
    rows, _ = read(config, params, [TOKENS])
    model = decoder_of(config, limits)

    @jax.jit
    def step(params, token, position, caches):
        return model.module(params).step(token, position, caches, LENGTH)

    caches = model.module(params).init_cache(BATCH, LENGTH)
    assert [cache.key.shape[1] for cache in caches] == [limit + 1 for limit in limits]
    for position in range(LENGTH):
        before = TOKENS[:, max(position - 1, 0)]
        logits, caches = step(params, before, jnp.asarray(position), caches)
        np.testing.assert_allclose(logits, rows[:, position], atol=1e-4, err_msg=f"position {position}")


def test_the_penalty_is_the_mean_span_over_heads_summed_over_layers():
    params = initial(BASE)
    means = [LIMIT * 0.4 * n / 3 / 2 for n in (1, 2, 3)]
    np.testing.assert_allclose(mean_spans(BASE, params), means, rtol=1e-5)
    np.testing.assert_allclose(read(BASE, params, [TOKENS])[1].penalty, 0.5 * sum(means), rtol=1e-5)
    fixed, dynamic = configured(spans="fixed"), configured(spans="tokens")
    assert mean_spans(fixed, initial(fixed)) == [LIMIT] * 3
    assert mean_spans(dynamic, initial(dynamic)) is None
    np.testing.assert_array_equal(read(fixed, initial(fixed), [TOKENS])[1].penalty, 0)
    # Published: a dynamic span begins at the sigmoid of -4.
    np.testing.assert_allclose(
        read(dynamic, initial(dynamic), [TOKENS])[1].penalty, 0.5 * 3 * LIMIT / (1 + np.exp(4)), rtol=1e-5
    )


def test_spans_are_clamped_and_nothing_else():
    params = initial(BASE)
    out = jax.tree.map(lambda x: x + 2, params)
    clamped = clamp_spans(out)
    for n in range(3):
        np.testing.assert_array_equal(clamped["layers"][n]["attention"].pop("span"), 1)
        out["layers"][n]["attention"].pop("span")
    chex.assert_trees_all_equal(clamped, out)


def test_dropout_follows_its_key():
    config = configured(dropout=0.3)
    params, model = initial(config), decoder_of(config)
    run = lambda key: model.module(params)(TOKENS, fresh(), key).logits  # noqa: E731
    first, again, other = (run(jax.random.key(n)) for n in (0, 0, 1))
    chex.assert_trees_all_equal(first, again)
    assert float(jnp.abs(first - other).max()) > 1e-3
    np.testing.assert_allclose(run(None), read(BASE, initial(BASE), [TOKENS])[0], atol=1e-5)


def test_recomputation_changes_no_gradient():
    params = initial(BASE)
    slopes = []
    for remat in ("none", "block"):
        model = decoder_of(dataclasses.replace(BASE, remat=remat))
        memory = fresh()
        loss = lambda p, model=model, memory=memory: (model.module(p)(TOKENS, memory).logits ** 2).mean()  # noqa: E731
        slopes.append(jax.jit(jax.grad(loss))(params))
    chex.assert_trees_all_close(*slopes, atol=1e-6)


@pytest.mark.parametrize("order", [*(sandwich_order(3, k) for k in (1, 3)), "fsssfss"])
def test_orders_of_sublayers_in_segments_cut_and_step_by_step(order):
    config = dataclasses.replace(BASE, order=order, norm="post")
    params = initial(config)
    limits = limits_of(config, params)
    assert len(limits) == len(mean_spans(config, params)) == order.count("s")
    whole, full = read(config, params, [TOKENS], (LIMIT,) * len(limits))
    cut, reading = read(config, params, jnp.split(TOKENS, [7, 19, 31], axis=1), limits)
    np.testing.assert_allclose(cut, whole, atol=3e-5)
    assert [layer["inputs"].shape[1] for layer in reading.memory["layers"]] == list(limits)
    np.testing.assert_allclose(full.penalty, 0.5 * sum(mean_spans(config, params)), rtol=1e-5)
    model = decoder_of(config, limits)
    step = jax.jit(lambda p, token, place, caches: model.module(p).step(token, place, caches, LENGTH))
    caches = model.module(params).init_cache(BATCH, LENGTH)
    assert len(caches) == order.count("s")
    for position in range(LENGTH):
        logits, caches = step(params, TOKENS[:, max(position - 1, 0)], jnp.asarray(position), caches)
        np.testing.assert_allclose(logits, whole[:, position], atol=1e-4, err_msg=f"position {position}")


def test_in_turn_is_the_plain_model_bit_for_bit():
    config = dataclasses.replace(configured(dropout=0.2), dropout=0.1)
    in_turn = dataclasses.replace(config, order=sandwich_order(3, 0))
    params = initial(config)
    chex.assert_trees_all_equal(initial(in_turn), params)
    run = lambda model: model.module(params)(TOKENS, fresh(), jax.random.key(3))  # noqa: E731
    chex.assert_trees_all_equal(run(decoder_of(in_turn)), run(decoder_of(config)))


def test_spans_of_a_sandwich_are_clamped_and_its_dropout_drops():
    config = dataclasses.replace(configured(dropout=0.3), order=sandwich_order(3, 2))
    params, model = initial(config), decoder_of(config)
    clamped = clamp_spans(jax.tree.map(lambda x: x + 2, params))["layers"]
    spans = [layer["attention"]["span"] for layer in clamped.values() if "attention" in layer]
    np.testing.assert_array_equal(np.stack(spans), 1)
    assert sorted(clamped) == list(range(5))
    run = lambda key: model.module(params)(TOKENS, fresh(), key).logits  # noqa: E731
    chex.assert_trees_all_equal(run(jax.random.key(0)), run(jax.random.key(0)))
    assert float(jnp.abs(run(jax.random.key(0)) - run(None)).max()) > 1e-3
    # As many multiply-adds as in turn.
    plain = dataclasses.replace(config, order=None)
    assert multiply_adds(config, span=5.0) == pytest.approx(multiply_adds(plain, span=5.0))


def test_multiply_adds_are_those_the_paper_prints():
    small = dataclasses.replace(BASE, depth=12, width=512, heads=8, vocab=28, ff_width=2048)
    large = dataclasses.replace(BASE, depth=24, width=768, heads=8, vocab=28, ff_width=4096)
    assert round(multiply_adds(small, 314.0) / 1e6) == 42
    assert round(multiply_adds(large, 245.0, ff_width=4 * 768) / 1e6) == 179


@pytest.mark.parametrize(
    "change,message",
    [
        ({"limit": 0}, "limit must be at least 1, got 0"),
        ({"ramp": 0.0}, "ramp must be at least 1, got 0.0"),
        ({"trim": 0}, "trim must be at least 1, got 0"),
        ({"coefficient": -1.0}, "coefficient must be at least 0, got -1.0"),
        ({"dropout": 1.0}, r"dropout must be in \[0, 1\), got 1.0"),
    ],
)
def test_refuses(change, message):
    with pytest.raises(ValueError, match=message):
        configured(**change)


def test_each_decoder_refuses_the_attention_of_the_other():
    with pytest.raises(ValueError, match="AdaptiveSpan has a decoder of its own"):
        Decoder(BASE, key=jax.random.key(0))
