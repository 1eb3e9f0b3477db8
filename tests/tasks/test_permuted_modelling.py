"""MLM, PLM and MPNet behind one task: what they learn, what each tells a token from, and what is refused."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from efficient_attn import training
from efficient_attn.data import Masking, TextFiles, TokenStream
from efficient_attn.experiment import evaluate, train
from efficient_attn.models import EncoderConfig, Sparse
from efficient_attn.models.encoder import RelativeBuckets
from efficient_attn.nn.text_embedding import SlotPositions
from efficient_attn.permuted_experiment import PermutedExperiment
from efficient_attn.tasks.permuted_modelling import MLM, PLM, MPNet, PermutedModelling, told_logits
from efficient_attn.training import Constant, Schedule

MODEL = EncoderConfig(
    vocab=257,
    depth=1,
    width=16,
    heads=2,
    ff_width=32,
    positions=SlotPositions(rows=24),
    relative=RelativeBuckets(buckets=8, longest=9),
    head="masked_lm",
    pooler=False,
)
TEXT = b"abc de, " * 100


def experiment(path, **changes):
    config = PermutedExperiment(
        model=MODEL,
        source=TextFiles(path=path, splits=(0.8, 0.1, 0.1)),
        context=24,
        batch_size=8,
        steps=60,
        schedule=Schedule(peak=1e-2, warmup_steps=5, decay=Constant()),
        masking=Masking(rate=0.25),
    )
    return dataclasses.replace(config, **changes)


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    path = tmp_path_factory.mktemp("text") / "text.txt"
    path.write_bytes(TEXT * 6)
    return path


def test_it_learns_and_evaluates_to_the_same_score(text, tmp_path):
    report = train(experiment(text), str(tmp_path / "run"))
    # Seven characters, told apart by their neighbours.
    assert report["loss"] < 0.7 * math.log(7)
    # A quarter of each window of 24, and a row that is not full.
    assert report["tokens"] == 480 // 24 * 6
    again = evaluate(experiment(text), str(tmp_path / "run"), "validation")
    assert again["loss"] == pytest.approx(report["loss"], rel=1e-6)


@pytest.fixture(scope="module")
def batch(text):
    stream = TokenStream(tokens=np.frombuffer(TEXT, np.uint8), description="text", given=0)
    reading = experiment(text).reading
    batches = reading.batches(stream)
    first = batches.at(0)
    later = next(batches.iterate(0))
    for name in first:
        np.testing.assert_array_equal(first[name], later[name])
    return jax.tree.map(jnp.asarray, first)


@pytest.mark.parametrize(
    ("objective", "before", "places"), [(MLM(), False, True), (PLM(), True, False), (MPNet(), True, True)]
)
def test_what_a_token_is_told_from(text, batch, objective, before, places):
    """Whether a token depends on those before it in the order, and on what stands in the places of those after it."""
    form = experiment(text).form
    params = jax.tree.map(
        lambda x: x + 0.3 * jax.random.normal(jax.random.key(x.size), x.shape), form.init(jax.random.key(0))
    )
    run = jax.jit(lambda batch: told_logits(objective, form.module(params), batch))
    predicted, rows = batch["predicted"], jnp.arange(8)
    first, last = predicted[:, 0], predicted[:, -1]
    found = run(batch)
    other = run({**batch, "tokens": batch["tokens"].at[rows, first].set(7)})
    np.testing.assert_array_equal(other[:, 0], found[:, 0])
    assert bool((jnp.abs(other - found)[:, -1].max(-1) > 1e-4).all()) == before
    shown = run({**batch, "inputs": batch["inputs"].at[rows, last].set(7)})
    assert bool((jnp.abs(shown - found)[:, 0].max(-1) > 1e-4).all()) == places
    term = PermutedModelling(form, objective, 0.0, training.Mean)(params, batch, None, ())[0]["loss"]
    own = jnp.take_along_axis(batch["tokens"], predicted, axis=1)
    nats = -jnp.take_along_axis(jax.nn.log_softmax(found), own[..., None], -1).sum()
    np.testing.assert_allclose(term.sum, nats, rtol=1e-5)
    assert term.count == 48


def test_the_queries_of_plm_know_their_position_alone(text):
    stream = TokenStream(tokens=np.frombuffer(TEXT, np.uint8), description="text", given=0)
    plm, mpnet = (experiment(text, objective=o).reading.batches(stream).at(3) for o in (PLM(), MPNet()))
    np.testing.assert_array_equal(plm["predicted"], mpnet["predicted"])
    assert (plm["asked"] == 256).all()
    assert 0.6 < (mpnet["asked"] == 256).mean() < 1


WINDOWS = dataclasses.replace(MODEL, relative=None, attention=Sparse(patterns=("Window(3)",)))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"model": dataclasses.replace(MODEL, head="none")}, "needs head='masked_lm', got 'none'"),
        ({"model": WINDOWS}, "two streams need an encoder with attention"),
        ({"context": 1}, "leaves no token to tell of windows of 1"),
    ],
)
def test_choices_that_do_not_fit_are_refused(text, changes, reason):
    with pytest.raises(ValueError, match=reason):
        experiment(text, **changes)


def test_mlm_takes_any_attention(text):
    assert experiment(text, model=WINDOWS, objective=MLM()).objective == MLM()
