"""Image classifiers: both losses, what masked ones read, and whole runs from a pre-trained decoder."""

import dataclasses
import json

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from efficient_attn import data, training
from efficient_attn.experiment import Experiment, evaluate, train
from efficient_attn.image_class_experiment import ImageClassExperiment, MaskedPixels, NextPixels
from efficient_attn.models import DecoderConfig, ImageReaderConfig, Sparse, decoder_of, image_reader_of, started
from efficient_attn.nn.embedding import TablePositions
from efficient_attn.tasks.image_classes import ClassAndPixels
from efficient_attn.tasks.language_modelling import token_losses

pytestmark = pytest.mark.fast


def decoder(**changed) -> DecoderConfig:
    fields = {
        "depth": 2,
        "width": 8,
        "heads": 2,
        "vocab": 4,
        "attention": Sparse(patterns=("Causal()",)),
        "attention_bias": False,
        "ff_bias": False,
        "positions": TablePositions(sizes=(16,)),
        "slot_positions": "predicted",
        "norm_kind": "rms",
        "initialization": "image_gpt",
    }
    return DecoderConfig(**fields | changed)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Of three classes, 4 x 4 pixels of four greys: a bright column, of which the place is the class, in noise."""
    from PIL import Image

    folder, rng = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0)
    for split, count in (("train", 90), ("validation", 30), ("test", 30)):
        for number in range(count):
            place = number % 3
            image = rng.integers(0, 100, (4, 4, 1)).repeat(3, 2).astype(np.uint8)
            image[:, place] = 230
            held = folder / split / f"class{place}"
            held.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(held / f"{number}.png")
    data.Palette(np.linspace(-0.75, 0.75, 4, dtype=np.float32)[:, None].repeat(3, 1)).save(folder / "greys.npy")
    return data.PaletteImages(images=data.ImageFolder(path=folder, size=4), palette=folder / "greys.npy")


def experiment(pictures, **changed) -> ImageClassExperiment:
    fields = {
        "model": ImageReaderConfig(decoder=decoder(), labels=3),
        "source": data.ImageClasses(images=pictures),
        "context": 16,
        "batch_size": 16,
        "steps": 60,
        "schedule": training.Schedule(peak=1e-2, warmup_steps=5, decay=training.Constant()),
        "checkpoint_every": 1000,
    }
    return ImageClassExperiment(**fields | changed)


def test_the_folders_are_the_classes_and_the_splits(pictures):
    train, test = (pictures.labelled(split) for split in ("train", "test"))
    assert train.classes == ("class0", "class1", "class2")
    chex.assert_shape(train.tokens, (90, 16))
    np.testing.assert_array_equal(np.bincount(test.labels), [10, 10, 10])
    bright = train.tokens.reshape(-1, 4, 4)[:, :, :3].min(1).argmax(1)
    np.testing.assert_array_equal(bright, train.labels)


def test_the_loss_is_that_of_the_decoder_and_that_of_the_head(pictures):
    config = experiment(pictures)
    form = image_reader_of(config.model)
    params = form.init(jax.random.key(0))
    params["score"]["kernel"] = jax.random.normal(jax.random.key(1), (8, 3))
    embedding = params["decoder"]["embedding"]
    embedding["head"] = jax.random.normal(jax.random.key(2), embedding["head"].shape)
    batch = jax.tree.map(jnp.asarray, config.reading.batches(config.source.load("train")).at(0))
    np.testing.assert_array_equal(batch["inputs"], started(batch["tokens"], 4))
    terms, _ = ClassAndPixels(form, 0.5, training.Mean)(params, batch, None, ())
    pixels = token_losses(decoder_of(decoder()).module(params["decoder"]), batch["tokens"]).mean(1)
    np.testing.assert_allclose(terms["generative"].sum, 0.5 * pixels.sum(), rtol=1e-5)
    logits = form.module(params)(batch["inputs"])
    nats = -jax.nn.log_softmax(logits)[np.arange(16), batch["targets"]]
    np.testing.assert_allclose(terms["loss"].sum, nats.sum(), rtol=1e-5)
    assert {float(term.count) for term in terms.values()} == {16.0}
    alone, _ = ClassAndPixels(form, 0.0, training.Mean)(params, batch, None, ())
    assert set(alone) == {"loss"}
    np.testing.assert_allclose(alone["loss"].sum, nats.sum(), rtol=1e-5)


def test_a_pretrained_decoder_is_tuned_and_scored(pictures, tmp_path):
    shared = {"context": 16, "batch_size": 16, "schedule": training.Schedule(peak=1e-2, warmup_steps=2)}
    before = Experiment(model=decoder(), source=pictures, steps=3, checkpoint_every=3, **shared)
    train(before, str(tmp_path / "before"))
    config = experiment(pictures, start=str(tmp_path / "before"), checkpoint_every=60)
    begun = config.completed(before.form.init(jax.random.key(0)))
    chex.assert_trees_all_equal_shapes(begun, config.form.shapes())
    assert not begun["score"]["kernel"].any()
    train(config, str(tmp_path / "tuned"))
    written = tmp_path / "said.tsv"
    report = evaluate(config, str(tmp_path / "tuned"), "test", str(written))
    assert report["accuracy"] > 0.9
    assert (report["majority"], report["examples"]) == (pytest.approx(1 / 3), 30)
    assert report["token_loss"] < np.log(4)
    lines = written.read_text().splitlines()
    labels = [f"class{n}" for n in pictures.labelled("test").labels]
    right = np.mean([line.split("\t")[1] == label for line, label in zip(lines[1:], labels, strict=True)])
    assert right == pytest.approx(report["accuracy"])
    assert evaluate(config, str(tmp_path / "tuned"), "test") == report
    # Other ways of computing the same are no other model.
    other = dataclasses.replace(
        config, model=dataclasses.replace(config.model, decoder=decoder(remat="block")), eval_batch_size=7
    )
    assert evaluate(other, str(tmp_path / "tuned"), "test")["accuracy"] == report["accuracy"]


def test_masked_pixels_are_read_several_times(pictures, tmp_path):
    both = ImageReaderConfig(decoder=decoder(attention=Sparse(patterns=("Full()",))), labels=3)
    config = experiment(pictures, model=both, reads=MaskedPixels(rate=0.3, draws=3), moving=None, steps=80)
    batch = config.reading.batches(config.source.load("train")).at(0)
    assert set(np.unique(batch["inputs"][batch["told"]])) == {5}
    np.testing.assert_array_equal(batch["inputs"][~batch["told"]], batch["tokens"][~batch["told"]])
    report = train(config, str(tmp_path / "masked"))
    assert report["accuracy"] > 0.8
    assert json.dumps(report)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"model": ImageReaderConfig(decoder=decoder())}, "got labels=None"),
        ({"generative": -1.0}, "generative must be at least 0, got -1.0"),
        ({"reads": MaskedPixels()}, r"masked pixels are told from those after them too, as by Full\(\)"),
        ({"context": 17}, "17"),
    ],
)
def test_what_is_refused(pictures, changed, message):
    with pytest.raises(ValueError, match=message):
        experiment(pictures, **changed)


def test_data_of_another_kind_is_refused(pictures):
    for changed, message in [
        ({"model": ImageReaderConfig(decoder=decoder(), labels=4)}, "the data has labels=3 and the model labels=4"),
        (
            {"model": ImageReaderConfig(decoder=decoder(vocab=5), labels=3)},
            "the data has vocab=4 and the model vocab=5",
        ),
    ]:
        config = experiment(pictures, **changed)
        with pytest.raises(ValueError, match=message):
            config.reading.batches(config.source.load("train"))
    with pytest.raises(ValueError, match="read in one way: draws must be 1, got 2"):
        NextPixels(draws=2)
