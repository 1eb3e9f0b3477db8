"""A masked experiment: what it learns, that it resumes exactly, and what it refuses."""

import dataclasses
import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from efficient_attn import training
from efficient_attn.data import Masking, TextFiles, TokenStream
from efficient_attn.decoding import SamplingOptions
from efficient_attn.experiment import draw, evaluate, parameters, train
from efficient_attn.masked_experiment import MaskedExperiment
from efficient_attn.models import EncoderConfig
from efficient_attn.nn.text_embedding import SlotPositions
from efficient_attn.recipe import Mesh
from efficient_attn.tasks.masked_modelling import MaskedModelling
from efficient_attn.training import Constant, Schedule

MODEL = EncoderConfig(
    vocab=257, depth=1, width=16, heads=2, ff_width=32, positions=SlotPositions(rows=24), head="masked_lm", pooler=False
)


def experiment(path, **changes):
    return MaskedExperiment(
        model=MODEL,
        source=TextFiles(path=path, splits=(0.8, 0.1, 0.1)),
        context=24,
        batch_size=8,
        steps=60,
        schedule=Schedule(peak=1e-2, warmup_steps=5, decay=Constant()),
        **changes,
    )


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    path = tmp_path_factory.mktemp("text") / "text.txt"
    path.write_bytes(b"abcdef" * 800)
    return path


def test_tokens_over_a_mesh_give_the_loss_of_one_device(text):
    config = experiment(text)
    batch = config.reading.batches(config.source.load("train")).at(0)
    params, objective = config.form.init(jax.random.key(0)), config.reading.program()["objective"]

    def loss(mesh):
        with jax.set_mesh(mesh.placement(jax.devices()[: mesh.data * mesh.sequence]).mesh):
            terms, _ = jax.jit(objective)(params, batch, None, ())
        return float(terms["loss"].sum / terms["loss"].count)

    assert loss(Mesh(data=2, sequence=4)) == pytest.approx(loss(Mesh(data=1)), rel=1e-5)


def test_it_learns_and_evaluates_to_the_same_score(text, tmp_path):
    config = experiment(text, masking=Masking(rate=0.2))
    report = train(config, str(tmp_path / "run"))
    # Six letters, told apart by their neighbours.
    assert report["loss"] < 0.5 * math.log(6)
    assert report["bits_per_byte"] == pytest.approx(report["loss"] / math.log(2))
    assert 480 * 0.1 < report["tokens"] < 480 * 0.3
    again = evaluate(config, str(tmp_path / "run"), "validation")
    assert again["loss"] == pytest.approx(report["loss"], rel=1e-6)
    assert parameters(config)["parts"].keys() == {"embedding", "stack", "head"}
    with pytest.raises(ValueError, match="trained with another model: heads differ"):
        evaluate(
            dataclasses.replace(config, model=dataclasses.replace(MODEL, heads=4)), str(tmp_path / "run"), "validation"
        )
    with pytest.raises(ValueError, match="only a decoder continues a text, got a model of type EncoderConfig"):
        draw(config, str(tmp_path / "run"), np.zeros((1, 3), np.uint8), 5, SamplingOptions(), 0)
    learned = json.loads((tmp_path / "run" / "config.json").read_text())["learned"]
    assert learned["masking"]["rate"] == 0.2


def test_batches_resume_and_count_what_is_told(text):
    reading = experiment(text).reading
    stream = TokenStream(tokens=np.arange(4000).astype(np.uint8), description="numbers", given=0)
    batches = reading.batches(stream)
    later = batches.iterate(3)
    for step in (3, 4):
        found, expected = next(later), batches.at(step)
        for name in ("tokens", "inputs", "told", "valid"):
            np.testing.assert_array_equal(found[name], expected[name])
    objective = MaskedModelling(experiment(text).form, 0.0, training.Mean)
    params = experiment(text).form.init(jax.random.key(0))
    batch = batches.at(0)
    terms, _ = objective(params, jax.tree.map(jnp.asarray, batch), None, ())
    assert float(objective.counts(batch)["loss"]) == batch["told"].sum()
    logits = experiment(text).form.module(params)(batch["inputs"]).logits
    nats = -jnp.take_along_axis(jax.nn.log_softmax(logits), batch["tokens"][..., None], -1)[..., 0]
    np.testing.assert_allclose(terms["loss"].sum, nats[batch["told"]].sum(), rtol=1e-5)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"model": dataclasses.replace(MODEL, head="none")}, "needs head='masked_lm', got 'none'"),
        ({"masking": Masking(token=257)}, "masking.token must be below vocab=257, got 257"),
        ({"eval_scored": 4}, "eval_scored must be None, got 4"),
        ({"context": 25}, "positions for 1 to 24 tokens, got 25"),
    ],
)
def test_choices_that_do_not_fit_are_refused(text, changes, reason):
    with pytest.raises(ValueError, match=reason):
        dataclasses.replace(experiment(text), **changes)
