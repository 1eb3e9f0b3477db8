"""Synthesized attention as a layer: the equation with its own parameters, padding, which parameters exist, what is refused."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from efficient_attn.models import Decoder, DecoderConfig, Functional, Synthesizer
from efficient_attn.models.functional import count
from efficient_attn.nn import SynthesizerAttention
from efficient_attn.nn.initializers import Initialization
from efficient_attn.patterns import Causal, Full
from efficient_attn.precision import Precision
from efficient_attn.training import AdamW, chain

B, T, N, D, LONGEST = 2, 11, 3, 12, 13
X = jax.random.normal(jax.random.key(5), (B, T, D))
ALONE = ("random", "fixed_random", "factorized_random", "dense", "factorized_dense", "dot_product")


def layer(*scores, bias=True, **options):
    mechanism = Synthesizer(scores=scores, length=LONGEST, rank=2, **options)
    init = Initialization("unit", 1)
    made = SynthesizerAttention(
        D, N, N, D, init, Precision(), mechanism=mechanism, bias=bias, rngs=nnx.Rngs(jax.random.key(0))
    )
    # Weights that are not all alike.
    if made.weights is not None:
        made.weights[...] = jax.random.normal(jax.random.key(7), made.weights.shape)
    return made


def scores_of(made, kind, x):
    head = D // N
    if kind == "dot_product":
        query, key = (p(x).reshape(B, T, N, head) for p in (made.query, made.key))
        return jnp.einsum("btnh,bsnh->bnts", query, key) / head**0.5
    parts = made.scores[kind]
    if kind.endswith("fixed_random") or kind == "random":
        return parts.table[...][None, :, :T, :T]
    if kind == "factorized_random":
        return jnp.einsum("ntk,nsk->nts", parts.left[...], parts.right[...])[None, :, :T, :T]
    hidden = jax.nn.relu(jnp.einsum("btd,dnh->bnth", x, parts.hidden[...]))
    if kind == "dense":
        return jnp.einsum("bnth,nhl->bntl", hidden, parts.outward[...])[..., :T]
    a, b = (jnp.einsum("bnth,nhl->bntl", hidden, w[...]) for w in (parts.first, parts.second))
    j = jnp.arange(T)
    return a[..., j % a.shape[-1]] * b[..., j // a.shape[-1]]


def oracle(made, x, visible):
    kinds, mix = made.mechanism.scores, made.mechanism.mix
    shares = jnp.ones((len(kinds), N))
    if len(kinds) > 1 and mix == "softmax":
        shares = jax.nn.softmax(made.weights[...], axis=0)
    if mix == "sigmoid":
        a = jax.nn.sigmoid(made.weights[0])
        shares = jnp.array([[1 - a] * N, [a] * N])
    logits = sum(share[:, None, None] * scores_of(made, k, x) for k, share in zip(kinds, shares, strict=True))
    weights = jax.nn.softmax(jnp.where(visible, logits, -jnp.inf), axis=-1)
    value = made.value(x).reshape(B, T, N, D // N)
    return made.output(jnp.einsum("bnts,bsnh->btnh", weights, value).reshape(B, T, D))


CASES = {kind: ((kind,), {}) for kind in ALONE} | {
    "R+D": (("random", "dense"), {}),
    "D+V": (("dense", "dot_product"), {}),
    "R+V": (("random", "dot_product"), {}),
    "R+V, sum": (("random", "dot_product"), {"mix": "sum"}),
    "D+V, sigmoid": (("dot_product", "dense"), {"mix": "sigmoid"}),
    "three": (("factorized_random", "factorized_dense", "dot_product"), {"factors": (3, 5)}),
}


@pytest.mark.parametrize("name", CASES)
def test_the_equation_and_its_gradients_causal_and_padded(name):
    scores, options = CASES[name]
    made = layer(*scores, **options)
    graph, state = nnx.split(made)
    causal = jnp.arange(T)[:, None] >= jnp.arange(T)
    mask = jnp.arange(T) < jnp.array([[T], [T - 4]])
    for pattern, seen, key_mask in ((Causal(), causal, None), (Full(), mask[:, None, None], mask)):
        run = jax.jit(lambda s, x, p=pattern, m=key_mask: nnx.merge(graph, s)(x, p, m))
        wanted = jax.jit(lambda s, x, seen=seen: oracle(nnx.merge(graph, s), x, seen))
        np.testing.assert_allclose(run(state, X), wanted(state, X), atol=2e-5)
        found, expected = (jax.jit(jax.grad(lambda s, x, f=f: (f(s, x) ** 2).sum()))(state, X) for f in (run, wanted))
        if "fixed_random" not in scores:
            chex.assert_trees_all_close(found, expected, atol=2e-4)


def test_padding_is_seen_by_none():
    mask = jnp.arange(T) < jnp.array([[T], [T - 4]])
    other = jnp.where(mask[..., None], X, X + 3.0)
    for kind in ALONE:
        made = layer(kind)
        first, second = made(X, Full(), mask), made(other, Full(), mask)
        np.testing.assert_allclose(first[1, : T - 4], second[1, : T - 4], atol=1e-6, err_msg=kind)


def test_only_the_parameters_that_the_scores_need_exist():
    def size(*scores):
        return sum(x.size for x in jax.tree.leaves(nnx.split(layer(*scores, bias=False), nnx.Param, ...)[1]))

    head, both = D // N, 2 * D * D
    assert size("fixed_random") == both
    assert size("random") == both + N * LONGEST**2
    assert size("factorized_random") == both + 2 * N * LONGEST * 2
    assert size("dense") == both + D * D + D * LONGEST
    assert size("factorized_dense") == both + D * D + D * (4 + 4)
    assert size("dot_product") == 2 * both
    assert size("random", "dot_product") == 2 * both + N * LONGEST**2 + 2 * N
    assert layer("random").query is None
    assert layer("random").sizes == (0, head)
    assert layer("random", "dot_product", mix="sum").weights is None
    assert layer("random", "dot_product", mix="sigmoid").weights.shape == (1,)


def test_dot_products_alone_are_the_transformer():
    sizes = {"depth": 2, "width": 16, "heads": 2, "vocab": 31, "logits": "untied"}
    plain = Decoder(DecoderConfig(**sizes), key=jax.random.key(0))
    alone = Synthesizer(scores=("dot_product",), length=T)
    same = Decoder(DecoderConfig(attention=alone, **sizes), key=jax.random.key(0))
    tokens = jax.random.randint(jax.random.key(1), (2, T), 0, 31)
    chex.assert_trees_all_close(same(tokens), plain(tokens), atol=1e-5)


def test_a_fixed_table_is_saved_but_never_moved_nor_given_optimizer_state():
    config = DecoderConfig(
        depth=2, width=12, heads=3, vocab=31, attention=Synthesizer(scores=("fixed_random",), length=T)
    )
    model = Functional(lambda key: Decoder(config, key=key))
    params, trained = model.init(jax.random.key(3)), model.trained()
    chex.assert_trees_all_equal(params, model.init(jax.random.key(3)))
    table = lambda tree: tree["stack"]["cycle"][0]["attention"]["scores"]["fixed_random"]["table"]  # noqa: E731
    assert table(trained) is False
    assert not np.array_equal(table(params)[0], table(params)[1])
    assert count(params, trained) == count(params) - 2 * 3 * T**2
    optimizer = chain(AdamW(weight_decay=0.1).build(lambda step: 0.1), clip_norm=1.0, trained=trained)
    state = optimizer.init(params)
    assert not any(x.shape == table(params).shape for x in jax.tree.leaves(state))
    tokens = jax.random.randint(jax.random.key(1), (2, T), 0, 31)
    gradient = jax.jit(jax.grad(lambda p: ((model.module(p)(tokens)[..., 0] - 1) ** 2).sum()))(params)
    moved = optax.apply_updates(params, optimizer.update(gradient, state, params)[0])
    np.testing.assert_array_equal(table(moved), table(params))
    assert float(jnp.abs(moved["embedding"]["head"] - params["embedding"]["head"]).max()) > 0.01


def test_bfloat16_stays_close():
    sizes = {"depth": 1, "width": 12, "heads": 3, "vocab": 31, "logits": "untied"}
    tokens = jax.random.randint(jax.random.key(1), (2, T), 0, 31)
    for scores in (("random", "dense"), ("factorized_dense", "dot_product")):
        attention = Synthesizer(scores=scores, length=T)
        both = [
            Decoder(DecoderConfig(attention=attention, precision=Precision(compute=f), **sizes), key=jax.random.key(0))
            for f in ("float32", "bfloat16")
        ]
        wanted, found = (module(tokens) for module in both)
        assert float(jnp.abs(found - wanted).max()) < 0.05 * float(jnp.abs(wanted).max())


@pytest.mark.parametrize(
    "change,message",
    [
        ({"scores": ()}, "one or more different kinds"),
        ({"scores": ("random", "random")}, "one or more different kinds"),
        ({"mix": "sigmoid"}, "mix='sigmoid' weighs two kinds"),
        ({"length": 0}, "length must be at least 1, got 0"),
        ({"rank": 0}, "rank must be at least 1, got 0"),
        ({"factors": (3, 4)}, r"at least length=13, got \(3, 4\)"),
        ({"deviation": -1.0}, "deviation must be at least 0, got -1.0"),
    ],
)
def test_refuses(change, message):
    with pytest.raises(ValueError, match=message):
        Synthesizer(**({"length": LONGEST} | change))


def test_refuses_more_tokens_than_scores():
    config = DecoderConfig(depth=1, width=12, heads=3, attention=Synthesizer(length=T))
    module = Decoder(config, key=jax.random.key(0))
    with pytest.raises(ValueError, match=f"Synthesizer has scores for {T} tokens, got a context of {T + 1}"):
        module(jnp.zeros((1, T + 1), jnp.int32))
    with pytest.raises(ValueError, match="got a context of 99"):
        module.init_cache(1, 99)
