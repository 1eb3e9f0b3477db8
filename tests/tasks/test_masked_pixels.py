"""Telling masked pixels: what it learns, what a masked pixel looks like, how it is scored, probed, and what is refused."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from efficient_attn import training
from efficient_attn.commands import probe as command
from efficient_attn.data import GreyDigits, TextFiles
from efficient_attn.decoding import SamplingOptions
from efficient_attn.experiment import Experiment, draw, evaluate, restore, train
from efficient_attn.models import DecoderConfig, Sparse, masked_logits
from efficient_attn.nn.embedding import TablePositions
from efficient_attn.pixel_experiment import MaskedPixelExperiment, masked_inputs
from efficient_attn.tasks.masked_pixels import MaskedPixels
from efficient_attn.training import Constant, Schedule

MODEL = DecoderConfig(
    vocab=4,
    depth=2,
    width=16,
    heads=2,
    attention=Sparse(patterns=("Full()",)),
    positions=TablePositions(sizes=(16,)),
    slot_positions="predicted",
)


def experiment(path, kind=MaskedPixelExperiment, **changes):
    fields = {
        "model": MODEL,
        "source": GreyDigits(path=path, shrink=7, levels=4),
        "context": 16,
        "batch_size": 8,
        "steps": 30,
        "schedule": Schedule(peak=1e-2, warmup_steps=5, decay=Constant()),
        "eval_batch_size": 16,
    }
    return kind(**fields | changes)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A trained experiment on even images, whose grey is the remainder of the digit by four, and its workdir and report."""
    folder = tmp_path_factory.mktemp("even")
    for digit in range(10):
        images = np.zeros((20, 28, 28)) + (digit % 4) / 3
        (folder / f"{digit}.json").write_text(json.dumps({"data": images.round(3).reshape(-1).tolist()}))
    config = experiment(folder)
    return config, str(folder / "run"), train(config, str(folder / "run"))


def test_it_learns_and_evaluates_to_the_same_score(run):
    config, workdir, report = run
    assert report["loss"] < 0.2
    # Twenty images, five masks each.
    assert 0.1 < report["tokens"] / (5 * 20 * 16) < 0.2
    again = evaluate(config, workdir, "validation")
    assert again["loss"] == pytest.approx(report["loss"], rel=1e-6)
    with pytest.raises(ValueError, match="tokens that see those after them cannot be drawn in turn"):
        draw(config, workdir, np.zeros((1, 3), np.uint8), 5, SamplingOptions(), 0)


def test_a_probe_reads_every_layer_with_five_masks(run):
    config, workdir, _ = run
    heard = []

    def fit(train, validation):
        heard.append((train.features.shape, validation.features.shape))
        return lambda features: np.rint(features[:, 0] * 0).astype(int)

    report = command.probe(config, workdir, command.Args(config="", workdir=workdir, images=30, batch_size=16), fit)
    assert heard == [((1, 30, 16), (1, 20, 16))] * 4
    assert report["layers"] == [0.1] * 3
    assert (report["pixels"], report["step"], report["images"]) == (0.1, 30, 30)


def test_a_probe_of_other_images_and_of_neighbouring_blocks(run, tmp_path):
    config, workdir, _ = run
    other = tmp_path / "other.py"
    other.write_text(
        "from efficient_attn.data import GreyDigits, ImageClasses\n"
        "from efficient_attn.image_class_experiment import ImageClassExperiment, MaskedPixels\n"
        "from efficient_attn.models import DecoderConfig, ImageReaderConfig, Sparse\n"
        "from efficient_attn.nn.embedding import TablePositions\n"
        "from efficient_attn.training import Schedule\n"
        "decoder = DecoderConfig(vocab=4, depth=1, width=8, heads=1, attention=Sparse(patterns=('Full()',)),\n"
        "    positions=TablePositions(sizes=(16,)), slot_positions='predicted')\n"
        f"images = GreyDigits(path={str(config.source.path)!r}, shrink=7, levels=4)\n"
        "CONFIG = ImageClassExperiment(model=ImageReaderConfig(decoder=decoder, labels=10), context=16, batch_size=1,\n"
        "    source=ImageClasses(images=images, per_class=3), reads=MaskedPixels(), steps=1, schedule=Schedule(peak=1e-3))\n"
    )
    heard = []

    def fit(train, validation):
        heard.append(train.features.shape)
        return lambda features: np.rint(features[:, 0] * 0).astype(int)

    args = command.Args(config="", workdir=workdir, data=str(other), together=2, batch_size=16)
    report = command.probe(config, workdir, args, fit)
    assert (report["images"], report["probed"]) == (30, [0, 1])
    # Raw pixels, then blocks 0 and 1, then block 1 and the last norm.
    assert heard == [(1, 30, 16), (1, 30, 32), (1, 30, 32)]
    with pytest.raises(ValueError, match="together must be at most the 3 layers that are probed, got 4"):
        command.probe(config, workdir, dataclasses.replace(args, together=4), fit)
    other.write_text(other.read_text().replace("shrink=7", "shrink=4"))
    with pytest.raises(ValueError, match=r"have context=16 and vocab=4, and those that are probed \(49, 4\)"):
        command.probe(config, workdir, args, fit)


def test_a_masked_pixel_is_its_position_alone(run):
    config, workdir, _ = run
    decoder = config.form.module(restore(config, workdir)[0])
    tokens = np.arange(32).reshape(2, 16) % 4
    inputs = masked_inputs(config, tokens, 0)
    blank = inputs == 5
    assert blank.any(axis=1).all()
    np.testing.assert_array_equal(inputs[~blank], tokens[~blank])
    assert (masked_inputs(config, tokens, 1) != inputs).any()
    embedded = decoder.embedding.unshifted(jnp.asarray(inputs))
    expected = decoder.embedding.tokens[...][tokens] * ~blank[..., None] + decoder.embedding.tables[0][...]
    np.testing.assert_allclose(embedded, expected, atol=1e-6)


def test_the_loss_is_the_mean_of_means_of_images(run):
    config, workdir, _ = run
    params, _ = restore(config, workdir)
    batch = jax.tree.map(jnp.asarray, config.reading.batches(config.source.load("train")).at(0))
    objective = MaskedPixels(config.form, 0.0, training.Mean)
    terms, _ = jax.jit(lambda params, batch: objective(params, batch, None, ()))(params, batch)
    logits = jax.jit(lambda params, inputs: masked_logits(config.form.module(params), inputs))(params, batch["inputs"])
    nats = -np.take_along_axis(np.asarray(jax.nn.log_softmax(logits)), batch["tokens"][..., None], -1)[..., 0]
    means = [row[told].mean() for row, told in zip(nats, np.asarray(batch["told"]), strict=True)]
    np.testing.assert_allclose(terms["loss"].sum / terms["loss"].count, np.mean(means), rtol=1e-5)
    assert float(objective.counts(batch)["loss"]) == 8


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"model": dataclasses.replace(MODEL, attention=Sparse())}, "told from those after them too"),
        ({"model": dataclasses.replace(MODEL, slot_positions="given")}, "slot_positions='predicted', got 'given'"),
        ({"eval_masks": 0}, "eval_masks must be at least 1, got 0"),
        ({"eval_scored": 4}, "eval_scored must be None, got 4"),
        ({"rate": 0.0}, "rate must be above 0 and at most 1, got 0.0"),
    ],
)
def test_choices_that_do_not_fit_are_refused(tmp_path, changes, reason):
    with pytest.raises(ValueError, match=reason):
        experiment(tmp_path, **changes)


def test_a_probe_needs_classes(tmp_path):
    config = experiment(tmp_path, Experiment, source=TextFiles(path=tmp_path))
    with pytest.raises(
        ValueError, match=r"a source that knows the classes of its images.*got DecoderConfig and TextFiles"
    ):
        command.probe(config, "", command.Args(config="", workdir=""), lambda train, validation: None)
