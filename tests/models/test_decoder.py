"""The choices of a decoder: shift, norms, logits, heads, dropout, formats, recomputation, and what it refuses."""

import dataclasses
import math

import chex
import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest
from flax import nnx

from efficient_attn import patterns as P
from efficient_attn.models import LSH, Decoder, DecoderConfig, Functional, Sparse
from efficient_attn.models.functional import count
from efficient_attn.nn.embedding import TablePositions
from efficient_attn.precision import Precision
from efficient_attn.tasks.language_modelling import cross_entropy, token_losses

LENGTH = 13
BASE = DecoderConfig(depth=2, width=24, heads=4, vocab=31, logits="untied")
TOKENS = jax.random.randint(jax.random.key(1), (2, LENGTH), 0, 31)


def decoder(**changes):
    return Decoder(dataclasses.replace(BASE, **changes), key=jax.random.key(0))


def run(module, tokens=TOKENS, key=None):
    return nnx.jit(lambda module, tokens, key: module(tokens, key))(module, tokens, key)


@pytest.fixture(scope="module")
def base():
    return decoder()


def test_logits_are_shifted_float32_and_the_same_without_jit(base):
    found = run(base)
    chex.assert_shape(found, (2, LENGTH, 31))
    chex.assert_type(found, jnp.float32)
    chex.assert_trees_all_close(found, base(TOKENS), atol=1e-5)
    np.testing.assert_allclose(found[0, 0], found[1, 0], atol=1e-5)
    other = run(base, TOKENS.at[:, -1].add(1) % 31)
    np.testing.assert_allclose(other, found, atol=1e-6)
    assert float(jnp.abs(run(base, TOKENS.at[:, 4].set((TOKENS[:, 4] + 1) % 31)) - found)[:, 5].max()) > 1e-4


def test_a_zero_head_is_uniform_at_first():
    config = DecoderConfig(depth=1, width=8, heads=2)
    tokens = jnp.arange(7)[None]
    losses = cross_entropy(run(Decoder(config, key=jax.random.key(0)), tokens), tokens)
    np.testing.assert_allclose(losses, math.log(256), rtol=1e-6)


@pytest.mark.parametrize("logits", ["tied", "untied", "untied_zero"])
def test_heads_have_the_parameters_they_need(logits):
    module = decoder(logits=logits)
    leaves = nnx.to_pure_dict(nnx.split(module)[1])
    assert ("head" in leaves["embedding"]) == (logits != "tied")
    assert bool((run(module) == 0).all()) == (logits == "untied_zero")


@pytest.mark.parametrize("norm", ["pre", "post"])
def test_norms(norm):
    module = decoder(norm=norm)
    assert (module.final_norm is not None) == (norm == "pre")
    seen = module.stack(module.embedding.shifted(TOKENS), 0.0, None)
    normal = np.allclose(seen.mean(-1), 0, atol=1e-4) and np.allclose(seen.var(-1), 1, atol=1e-2)
    assert normal == (norm == "post")


@pytest.mark.parametrize("key_heads", [1, 2])
def test_grouped_heads_shrink_keys_and_values_only(key_heads):
    module = decoder(key_heads=key_heads, qk_width=16)
    block = module.stack.cycle[0].attention
    chex.assert_shape(block.query.kernel[...], (2, 24, 16))
    chex.assert_shape(block.key.kernel[...], (2, 24, 4 * key_heads))
    chex.assert_shape(block.value.kernel[...], (2, 24, 6 * key_heads))
    chex.assert_tree_all_finite(run(module))


def test_dropout_needs_a_key_and_follows_it():
    module = decoder(dropout=0.3)
    first, again, other = (run(module, key=jax.random.key(n)) for n in (0, 0, 1))
    chex.assert_trees_all_equal(first, again)
    assert float(jnp.abs(first - other).max()) > 1e-3
    chex.assert_trees_all_close(run(module), run(decoder()), atol=1e-6)


def test_without_a_rate_the_key_changes_nothing(base):
    chex.assert_trees_all_close(run(base, key=jax.random.key(5)), run(base), atol=1e-6)


def test_bfloat16_computes_close_and_keeps_float32_parameters(base):
    module = decoder(precision=Precision(compute="bfloat16"))
    assert {x.dtype for x in jax.tree.leaves(nnx.split(module)[1])} == {jnp.dtype("float32")}
    found, wanted = run(module), run(base)
    chex.assert_type(found, jnp.float32)
    assert float(jnp.abs(found - wanted).max()) < 0.05 * float(jnp.abs(wanted).max())
    assert not np.array_equal(found, wanted)


def test_the_same_key_gives_the_same_model(base):
    chex.assert_trees_all_equal(nnx.split(base)[1], nnx.split(decoder())[1])


def test_one_trace_for_one_shape(base):
    graph, state = nnx.split(base)

    @jax.jit
    @chex.assert_max_traces(n=1)
    def apply(state, tokens):
        return nnx.merge(graph, state)(tokens)

    chex.clear_trace_counter()
    apply(state, TOKENS)
    apply(jax.tree.map(lambda x: x + 1, state), TOKENS + 0)


def test_functional_is_the_module():
    model = Functional(lambda key: Decoder(BASE, key=key))
    params = model.init(jax.random.key(0))
    shapes = model.shapes()
    chex.assert_trees_all_equal_shapes_and_dtypes(params, shapes)
    assert count(shapes) == count(params) == sum(x.size for x in jax.tree.leaves(params))
    chex.assert_trees_all_close(run(model.module(params)), run(decoder()), atol=1e-6)


def test_a_form_makes_its_module_once_and_modules_share_nothing():
    made = []

    def make(key):
        made.append(key)
        return nnx.Linear(3, 5, rngs=nnx.Rngs(key))

    form = Functional(make)
    params = form.init(jax.random.key(0))
    assert form.shapes().keys() == form.trained().keys() == params.keys()
    one, other = form.module(params), form.module(params)
    one.bias[...] = jnp.ones(5)
    assert not other.bias[...].any() and not form.module(params).bias[...].any()
    # For the parameters, and for what all else is read off.
    assert len(made) == 2


BAD = {
    "depth": ({"depth": 0}, "depth must be at least 1, got 0"),
    "vocab": ({"vocab": -1}, "vocab must be at least 1, got -1"),
    "dropout": ({"dropout": 1.0}, r"dropout must be in \[0, 1\), got 1.0"),
    "heads": ({"heads": 5}, "heads must divide width and qk_width, got heads=5"),
    "qk_width": ({"qk_width": 18}, "qk_width=18"),
    "key_heads": ({"key_heads": 3}, "key_heads must divide heads, got key_heads=3"),
}


@pytest.mark.parametrize("name", BAD)
def test_refuses(name):
    changes, message = BAD[name]
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(BASE, **changes)


def test_refuses_patterns():
    with pytest.raises(ValueError, match="at least one expression"):
        Sparse(patterns=())
    with pytest.raises(ValueError, match="did you mean Causal"):
        Sparse(patterns=("Casual()",))
    with pytest.raises(ValueError, match="one pattern for each of 4 heads, got 2"):
        dataclasses.replace(BASE, attention=Sparse(patterns=("PerHead((Causal(), Causal()))",)))


@pytest.mark.parametrize("patterns", [P.Causal(), (P.Causal(),), ["Causal()"], "Causal()"], ids=repr)
def test_refuses_patterns_that_are_not_a_tuple_of_texts(patterns, monkeypatch):
    # A user's program does not check annotations as the tests do.
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    with pytest.raises(ValueError, match=r"must be a tuple of expressions in text, such as .*; got .*Causal"):
        Sparse(patterns=patterns)


def test_refuses_more_tokens_than_positions():
    module = decoder(positions=TablePositions(sizes=(LENGTH - 1,)))
    with pytest.raises(ValueError, match=f"positions for {LENGTH - 1} tokens, got a context of {LENGTH}"):
        module(TOKENS)
    with pytest.raises(ValueError, match="got a context of 99"):
        module.init_cache(1, 99)


REVERSIBLE = {"residual": "reversible", "attention_bias": False, "value_width": 16, "attention": LSH(chunk=4)}


def test_a_reversible_decoder_has_logits_of_both_streams():
    module = decoder(**REVERSIBLE)
    chex.assert_shape(run(module), (2, LENGTH, 31))
    shapes = jax.tree.map(jnp.shape, nnx.to_pure_dict(nnx.split(module)[1]))
    assert shapes["embedding"]["head"] == (48, 31) and shapes["final_norm"]["scale"] == (48,)
    assert set(shapes["stack"]["cycle"][0]["attention"]["value"]) == {"kernel"}
    assert shapes["stack"]["cycle"][0]["attention"]["output"]["kernel"] == (2, 16, 24)


def test_stretches_change_no_loss_and_no_gradient():
    def losses(**changes):
        model = Functional(lambda key: Decoder(dataclasses.replace(BASE, **REVERSIBLE, **changes), key=key))
        loss = lambda params: token_losses(model.module(params), TOKENS).sum()  # noqa: E731
        return jax.jit(jax.value_and_grad(loss))(model.init(jax.random.key(0)))

    chex.assert_trees_all_close(losses(ff_stretch=4, logits_stretch=5), losses(), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"residual": "reversible", "logits": "tied"}, "a reversible stack has norm='pre'"),
        ({"residual": "reversible", "norm": "post"}, "norm='post'"),
        ({"residual": "reversible", "remat": "block"}, "remat='block'"),
        ({"value_width": 10}, "heads must divide value_width, got heads=4, value_width=10"),
        ({"logits_stretch": 0}, "logits_stretch must be at least 1 token"),
    ],
)
def test_choices_that_do_not_go_together_are_refused(changes, reason):
    with pytest.raises(ValueError, match=reason):
        decoder(**changes)
