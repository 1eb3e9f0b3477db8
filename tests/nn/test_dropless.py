"""Experts that drop nothing: as experts with room for all, in models, in decoding, and over eight devices."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from efficient_attn.models import Decoder, DecoderConfig, Experts, Seq2SeqConfig, decoder_of, seq2seq_of
from efficient_attn.nn.initializers import Initialization
from efficient_attn.nn.moe import MoE
from efficient_attn.precision import Precision
from efficient_attn.recipe import Mesh
from efficient_attn.tasks.routed_modelling import RoutedModelling
from efficient_attn.tasks.routed_translation import RoutedTranslation
from efficient_attn.training import Mean

EXPERTS = Experts(number=4, group=4, capacity="dropless", hidden=12, z=1e-3)
ROOMY = dataclasses.replace(EXPERTS, capacity="paper", capacity_factor=4.0)
WIDTH = 6
X = jax.random.normal(jax.random.key(0), (8, 11, WIDTH))
VALID = jnp.arange(11) < jnp.arange(4, 12)[:, None]


def mixture(experts):
    """A mixture of which all tokens ask for the last two experts first."""
    made = MoE(experts, WIDTH, 24, "relu", Initialization("code", 1), Precision(), rngs=nnx.Rngs(0))
    made.router[...] = made.router[...].at[0].add(jnp.array([0.0, 0.0, 5.0, 9.0]))
    return made


def run(experts, x=X):
    """What a mixture makes of tokens, what was seen of its routing, and gradients."""
    form, module = nnx.split(mixture(experts))

    def loss(module, x):
        y, seen = nnx.merge(form, module).routed(x, VALID, None)
        return jnp.sum(jnp.sin(y)), (y, seen)

    return jax.jit(jax.value_and_grad(loss, (0, 1), has_aux=True)), module, x


@functools.cache
def on_one():
    step, *arguments = run(EXPERTS)
    return jax.device_get(step(*arguments))


def close(found, expected):
    for ours, theirs in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)


@pytest.mark.fast
def test_all_ask_for_two_experts_and_none_is_dropped():
    x = X.at[..., 0].set(1.0)
    found, room, tight = (
        step(*arguments)
        for step, *arguments in (
            run(EXPERTS, x),
            run(ROOMY, x),
            run(dataclasses.replace(ROOMY, capacity_factor=1.0), x),
        )
    )
    seen = found[0][1][1]
    np.testing.assert_array_equal(seen.load, [0, 0, 0, VALID.sum()])
    assert seen.dropped == 0 and tight[0][1][1].dropped > 0
    close(found, room)


MESHES = (
    Mesh(data=8),
    Mesh(data=2, expert=4),
    Mesh(data=2, model=4),
    Mesh(data=2, expert=2, model=2, fsdp=True),
)


@pytest.mark.parametrize("mesh", MESHES, ids=["rows", "experts", "features", "all"])
def test_eight_devices_give_the_numbers_of_one(mesh):
    placement = mesh.placement()
    step, module, x = run(EXPERTS)
    with jax.set_mesh(placement.mesh):
        x = jax.device_put(x, placement.batches())
        found = step(module, x)
        text = step.lower(module, x).compile().as_text()
    close(jax.device_get(found), on_one())
    gathered = " all-gather(" in text or " all-gather-start(" in text
    assert gathered == (mesh.expert > 1)


def test_rows_that_do_not_divide_among_devices():
    moe = mixture(EXPERTS)
    expected = moe(X[:3])
    form, module = nnx.split(moe)
    with jax.set_mesh(Mesh(data=2, expert=2, model=2).placement().mesh):
        found = jax.jit(lambda module, x: nnx.merge(form, module)(x))(module, X[:3])
    np.testing.assert_allclose(found, expected, atol=1e-6)


def texts(width=12):
    rows = {}
    for side in ("source", "target"):
        tokens = np.random.default_rng(len(rows)).integers(4, 13, (2, width)).astype(np.int32)
        segments = np.where(np.arange(width) < np.array([[width], [5]]), 1, 0).astype(np.int32)
        places = np.broadcast_to(np.arange(width, dtype=np.int32), segments.shape)
        rows |= {side: tokens * segments, f"{side}_segments": segments, f"{side}_positions": places}
    return rows


def language_model(experts):
    config = DecoderConfig(depth=2, width=8, heads=2, vocab=13, experts=experts, initialization="unit", logits="untied")
    batch = {"tokens": texts()["source"], "valid": texts()["source_segments"] > 0}
    return RoutedModelling(decoder_of(config), 0.0, Mean, config), batch


def encoder_decoder(experts):
    config = Seq2SeqConfig(
        vocab=13,
        width=8,
        ff_width=12,
        heads=2,
        encoder_depth=2,
        decoder_depth=2,
        longest=16,
        experts=experts,
        dropout=0.0,
    )
    return RoutedTranslation(seq2seq_of(config), 0.1, Mean, config), texts()


@pytest.mark.parametrize("made", [language_model, encoder_decoder])
def test_a_model_learns_as_one_with_room_for_all(made):
    def learned(experts):
        objective, batch = made(experts)

        def loss(params, batch):
            terms, _ = objective(params, batch, jax.random.key(2), ())
            return sum(terms[name].sum / terms[name].count for name in set(terms) - objective.observed), terms

        return jax.jit(jax.value_and_grad(loss, has_aux=True))(objective.model.init(jax.random.key(1)), batch)

    found = learned(EXPERTS)
    assert [term.sum for name, term in found[0][1].items() if name.endswith("dropped")] == [0.0] * (
        1 if made is language_model else 2
    )
    close(found, learned(ROOMY))


def test_decoding_steps_are_the_rows_of_the_whole():
    config = DecoderConfig(depth=2, width=8, heads=2, vocab=13, experts=EXPERTS, initialization="unit", logits="untied")
    decoder = Decoder(config, key=jax.random.key(0))
    tokens = jax.random.randint(jax.random.key(1), (3, 5), 0, 13)
    logits, caches = decoder(tokens), decoder.init_cache(3, 5)
    step = jax.jit(lambda token, position, caches: decoder.step(token, position, caches, 5))
    for position in range(5):
        found, caches = step(tokens[:, position - 1], jnp.int32(position), caches)
        np.testing.assert_allclose(found, logits[:, position], atol=1e-5)


@pytest.mark.fast
def test_no_capacity_has_no_factor():
    with pytest.raises(ValueError, match="capacity_factor must be None, got 2"):
        dataclasses.replace(EXPERTS, capacity_factor=2.0)
