"""The objective of an encoder-decoder with experts: what is learned and what observed, eight devices and one, and decoding."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from efficient_attn import training
from efficient_attn.decoding import BeamOptions, beam_search
from efficient_attn.models import Experts, Seq2SeqConfig, Sequence, seq2seq_of
from efficient_attn.recipe import Mesh
from efficient_attn.tasks.routed_translation import RoutedTranslation

CONFIG = Seq2SeqConfig(
    vocab=24,
    width=8,
    ff_width=12,
    heads=2,
    head_size=6,
    encoder_depth=2,
    decoder_depth=2,
    longest=16,
    norm="pre",
    dropout=0.0,
    bos_token=3,
    experts=Experts(number=4, group=8, capacity_factor=1.0, z=1e-3),
)


def batch(seed, width=16):
    """Rows of two texts a side, of any lengths, and padding."""
    draw, found = np.random.default_rng(seed), {}
    for side in ("source", "target"):
        first, second = draw.integers(1, width // 2, (2, 8, 1))
        slot = np.arange(width)[None, :]
        segments = np.where(slot < first, 1, np.where(slot < first + second, 2, 0)).astype(np.int32)
        tokens = np.where(segments > 0, draw.integers(4, 24, (8, width)), 0).astype(np.int32)
        positions = np.where(segments == 2, slot - first, slot).astype(np.int32)
        found |= {side: tokens, f"{side}_segments": segments, f"{side}_positions": positions}
    return found


def steps(mesh, count):
    """Metrics of a few steps on a mesh."""
    form, optimizer = seq2seq_of(CONFIG), optax.adam(1e-2)
    objective = RoutedTranslation(form, 0.1, training.Mean, CONFIG)
    placement = mesh.placement(jax.devices()[: mesh.data * mesh.expert * mesh.model])
    state = training.TrainState.create(form.init(jax.random.key(0)), optimizer, jax.random.key(1))
    state = placement.put(state, optimizer)
    step = training.make_train_step(objective, optimizer, training.StepOptions(), placement, state)
    found = []
    with jax.set_mesh(placement.mesh):
        for seed in range(count):
            state, metrics = step(state, batch(seed))
            found.append(jax.device_get({**metrics["terms"], "loss": metrics["loss"]}))
    return found


@pytest.mark.parametrize(
    "mesh",
    [
        Mesh(data=2, expert=2, model=2, fsdp=True),
        pytest.param(Mesh(data=2, expert=4), marks=pytest.mark.slow),
    ],
    ids=["experts and heads", "experts"],
)
def test_eight_devices_give_the_terms_of_one(mesh):
    if len(jax.devices()) < 8:
        pytest.fail("the tests run on eight virtual devices")
    one, eight = steps(Mesh(data=1), 3), steps(mesh, 3)
    for ours, theirs in zip(one, eight, strict=True):
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), ours, theirs)


def test_what_is_observed_is_no_part_of_the_loss():
    form = seq2seq_of(CONFIG)
    objective = RoutedTranslation(form, 0.1, training.Mean, CONFIG)
    found = jax.jit(lambda params, some: objective(params, some, None, ())[0])(form.init(jax.random.key(0)), batch(0))
    means = {name: term.sum / term.count for name, term in found.items()}
    for stack, side in (("encoder", "source"), ("decoder", "target")):
        load = found[f"{stack}/load"]
        assert load.sum.sum() == load.count[0] == (batch(0)[f"{side}_segments"] > 0).sum()
        assert 0 < means[f"{stack}/dropped"] < 1
        # A group of half as many tokens as places has at most the square of that share of an even group's loss.
        assert 0 < means[f"{stack}/auxiliary"] < 0.04
    sums, counts = ({name: getattr(term, part) for name, term in found.items()} for part in ("sum", "count"))
    learned = {"loss", *(f"{stack}/{name}" for stack in ("encoder", "decoder") for name in ("auxiliary", "z"))}
    assert set(found) - objective.observed == learned
    total = training.objective.total(objective, sums, counts)
    np.testing.assert_allclose(total, sum(means[name] for name in learned), rtol=1e-5)


def test_rows_go_to_their_experts_by_all_to_all_and_no_expert_is_gathered():
    config = dataclasses.replace(CONFIG, experts=Experts(number=8, group=8))
    form, mesh = seq2seq_of(config), Mesh(data=2, expert=4)
    objective = RoutedTranslation(form, 0.1, training.Mean, config)
    placement = mesh.placement(jax.devices()[:8])

    def learned(params, some):
        terms, _ = objective(params, some, jax.random.key(0), ())
        return sum(terms[name].sum / terms[name].count for name in set(terms) - objective.observed)

    with jax.set_mesh(placement.mesh):
        places = placement.parameters(form.shapes())
        run = jax.jit(jax.grad(learned), in_shardings=(places, placement.batches()), out_shardings=places)
        program = run.lower(form.shapes(), batch(0)).compile().as_text()
    assert " all-to-all(" in program and " all-gather(" not in program


def test_a_beam_is_scored_as_the_whole_target_would_be():
    """Each token of a beam is a group by itself, so that beams do not take each other's room."""
    config = dataclasses.replace(CONFIG, experts=Experts(number=4, group=8, capacity_factor=4.0))
    form = seq2seq_of(config)
    params = form.init(jax.random.key(2))
    source = Sequence.of(np.random.default_rng(0).integers(4, 24, (3, 7)).astype(np.int32), 0)
    options = BeamOptions(beams=3, length_penalty=0.0, longest=6)
    found = beam_search(form, params, source, options)
    run = jax.jit(lambda params, source, target: form.module(params)(source, target))
    for beam in range(3):
        tokens = found.tokens[:, beam]
        logits = run(params, source, Sequence.of(tokens, 0))
        each = jnp.take_along_axis(jax.nn.log_softmax(logits), tokens[..., None], axis=-1)[..., 0]
        nats = jnp.where(jnp.cumsum(tokens == 1, axis=1) - (tokens == 1) > 0, 0.0, each).sum(1)
        ended = found.scores[:, beam] > -1e8
        assert ended.any()
        np.testing.assert_allclose(nats[ended], found.scores[:, beam][ended], rtol=1e-5)
