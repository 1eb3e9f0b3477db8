"""A translation experiment: packed rows and single ones score alike, it learns, resumes, averages, and refuses what cannot be."""

import dataclasses
import json
import logging

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from efficient_attn import training
from efficient_attn.data import ParallelText, SentencePieces, SubwordPairs, by_length, pair_rows
from efficient_attn.decoding import BeamOptions
from efficient_attn.experiment import evaluate, parameters, train
from efficient_attn.models import Seq2SeqConfig, Synthesizer
from efficient_attn.tasks.translation import Translation, pair_score_step, texts
from efficient_attn.training import AdamW, Cosine, Keep, Schedule
from efficient_attn.translation_experiment import TranslationExperiment, translate

pytest.importorskip("sentencepiece")
pytest.importorskip("sacrebleu")
pytest.importorskip("sacremoses")

VOCAB = 21
MODEL = Seq2SeqConfig(
    vocab=VOCAB, width=32, ff_width=64, heads=2, encoder_depth=1, decoder_depth=1, longest=16, norm="pre", bos_token=3,
    dropout=0.0,
)  # fmt: skip


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """Letters whose translation says them in the opposite order."""
    folder = tmp_path_factory.mktemp("parallel")
    draw = np.random.default_rng(0)
    for split, count in {"train": 1500, "validation": 24, "test": 24}.items():
        some = [draw.choice(list("abcdefgh"), draw.integers(4, 8)).tolist() for _ in range(count)]
        for language, order in (("en", 1), ("de", -1)):
            text = "".join(" ".join(letters[::order]) + "\n" for letters in some)
            (folder / f"{split}.{language}").write_text(text)
    subwords = SentencePieces(file=folder / "x.model", unknown="token", coverage=1.0)
    pairs = ParallelText(path=folder)
    subwords.fit(pairs.load("train"), VOCAB).save(subwords.file)
    return SubwordPairs(pairs=pairs, subwords=subwords)


def experiment(source, **changes):
    fields = dict(
        model=MODEL,
        source=source,
        context=16,
        batch_size=16,
        steps=4,
        label_smoothing=0.0,
        schedule=Schedule(peak=1e-2, warmup_steps=20, decay=Cosine(), decay_steps=400),
        optimizer=AdamW(b2=0.98),
        decoding=None,
        tensorboard="off",
    )
    return TranslationExperiment(**(fields | changes))


@pytest.fixture(scope="module")
def learned(source, tmp_path_factory):
    """A model that has learned to turn letters around: its config, workdir and report."""
    config = experiment(source, steps=400, decoding=BeamOptions(beams=2, longest=16), resamples=50)
    workdir = str(tmp_path_factory.mktemp("runs") / "learned")
    return config, workdir, train(config, workdir)


def test_it_learns_to_translate(learned):
    config, workdir, report = learned
    assert report["bleu"] > 95
    assert report["chrf"] > 85
    assert "bits_per_byte" not in report
    found = evaluate(config, workdir, "test")
    assert found["bleu"] > 95 > found["bleu_of_copying"] + 50
    assert found["tokens"] == len(config.source.load("test").target.tokens)
    assert (found["step"], found["cut_sources"], found["cut_targets"]) == (400, 0, 0)
    assert found["bleu_low"] <= found["bleu"] <= found["bleu_high"]
    assert "tok:13a" in found["bleu_signature"]
    assert found["bleu_compound_split"] > 95
    assert "compounds:split" in found["bleu_compound_split_signature"]


def test_sentences_are_translated_in_their_order(learned):
    config, workdir, _ = learned
    sentences = ["a b c d e", "h g h g", "", "f a c e b d", "a " * 40]
    greedily = dataclasses.replace(config, decoding=BeamOptions(beams=1, longest=16))
    written, cut = translate(greedily, workdir, sentences)
    assert [written[n] for n in (0, 1, 3)] == ["e d c b a", "g h g h", "d b e c a f"]
    assert (len(written), cut) == (5, 1)


def test_more_checkpoints_than_there_are_cannot_be_averaged(learned):
    config, workdir, _ = learned
    with pytest.raises(ValueError, match=r"average_last=2 checkpoints are to be averaged, and there are 1: \[400\]"):
        evaluate(dataclasses.replace(config, average_last=2), workdir, "test")


def test_pieces_of_another_run_are_refused(learned, tmp_path):
    config, workdir, _ = learned
    other = SentencePieces(file=tmp_path / "x.model", kind="bpe", unknown="token", coverage=1.0)
    other.fit(config.source.pairs.load("train"), VOCAB).save(other.file)
    changed = dataclasses.replace(config, source=dataclasses.replace(config.source, subwords=other))
    with pytest.raises(ValueError, match="trained with another model: pieces differ"):
        translate(changed, workdir, ["a b c d"])


def test_packed_rows_score_as_single_ones(source):
    # Scores by position must be those of the text's own.
    own = Synthesizer(patterns=("Full()",), scores=("random", "dot_product"), length=16)
    model = dataclasses.replace(
        MODEL, encoder_attention=own, decoder_attention=dataclasses.replace(own, patterns=("Causal()",))
    )
    config = experiment(source, model=model)
    pairs = source.load("validation")
    form = config.form
    params = form.init(jax.random.key(0))
    packed = dataclasses.replace(config, batch_size=1).reading.batches(pairs)
    objective = Translation(form, 0.0, training.Mean)
    loss = jax.jit(lambda params, batch: objective(params, batch, None, ())[0]["loss"])
    terms = [loss(params, packed.at(step)) for step in range(packed.rows_per_epoch)]
    assert packed.rows_per_epoch < 0.7 * len(pairs)
    step = pair_score_step(form)
    nats = tokens = 0.0
    for members, width in by_length(pairs.lengths.max(axis=1), len(pairs), 16):
        found = step(params, pair_rows(pairs, [members[n : n + 1] for n in range(len(members))], width))
        nats, tokens = nats + float(found[0].sum()), tokens + float(found[1].sum())
    assert sum(float(term.count) for term in terms) == tokens == len(pairs.target.tokens)
    assert sum(float(term.sum) for term in terms) == pytest.approx(nats, rel=1e-5)


def test_a_run_goes_on_where_it_stopped_and_averages_checkpoints(source, tmp_path):
    config = experiment(source, checkpoint_every=2, keep=Keep(last=2), label_smoothing=0.1)
    straight = train(config, str(tmp_path / "straight"))
    train(dataclasses.replace(config, steps=2), str(tmp_path / "stopped"))
    assert train(config, str(tmp_path / "stopped"))["loss"] == straight["loss"]
    saved = json.loads((tmp_path / "straight" / "config.json").read_text())
    assert saved["learned"]["pieces"] == source.subwords.load().digest
    assert "decoding" in saved["runs"]
    placement = config.mesh.placement()
    with training.Checkpoints(tmp_path / "straight" / "checkpoints") as checkpoints:
        both = [checkpoints.restore_params(step, placement.parameters) for step in (2, 4)]
    mean = jax.tree.map(lambda a, b: (a + b) / 2, *both)
    pairs, averaged = source.load("validation"), dataclasses.replace(config, average_last=2)
    found = evaluate(averaged, str(tmp_path / "straight"), "validation")
    with jax.set_mesh(placement.mesh):
        expected = config.reading.evaluator(placement)(mean, pairs)
    assert found["loss"] == pytest.approx(expected["loss"], rel=1e-6) != straight["loss"]


def test_what_is_not_learned_from_is_said(source, caplog):
    with caplog.at_level(logging.WARNING):
        experiment(source, context=6).reading.batches(source.load("train"))
    assert "1,500 pairs" in caplog.text
    assert "a side of more than 6 tokens and 0 an empty one: they are not learned from" in caplog.text


def test_long_held_out_sentences_are_cut_and_counted(source):
    config = experiment(source, model=dataclasses.replace(MODEL, longest=4), context=4)
    pairs, placement = source.load("test"), config.mesh.placement()
    lengths = pairs.lengths
    with jax.set_mesh(placement.mesh):
        found = config.reading.evaluator(placement)(config.form.init(jax.random.key(0)), pairs)
    assert found["tokens"] == np.minimum(lengths[:, 1], 4).sum()
    assert "bleu" not in found
    cut = (lengths > 4).sum(axis=0).tolist()
    assert config.reading.yardstick(pairs) == {"cut_sources": cut[0], "cut_targets": cut[1]}
    with pytest.raises(ValueError, match="it must not be None"):
        translate(config, "runs/none", ["a"])


def test_a_z_loss_is_added_to_every_token_of_training_alone(source):
    config = experiment(source, z_loss=0.25)
    batch = config.reading.batches(source.load("validation")).at(0)
    params = config.form.init(jax.random.key(0))
    losses = []
    for objective in (config.reading.program()["objective"], experiment(source).reading.program()["objective"]):
        losses.append(float(objective(params, batch, None, ())[0]["loss"].sum))
    target = texts(batch, "target")
    logits = config.form.module(params)(texts(batch, "source"), target)
    drift = jnp.where(target.segments > 0, jax.nn.logsumexp(logits, axis=-1) ** 2, 0.0).sum()
    assert losses[0] - losses[1] == pytest.approx(0.25 * float(drift), rel=1e-3)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"context": 17}, "row of training texts of 1 to 16 tokens, got 17"),
        ({"decoding": BeamOptions(longest=17)}, "decoding.longest must be at most the model's longest=16, got 17"),
        ({"label_smoothing": 1.0}, r"label_smoothing must be in \[0, 1\), got 1.0"),
        ({"z_loss": -1e-4}, "z_loss must be at least 0, got -0.0001"),
        ({"resamples": 0}, "resamples must be at least 1, got 0"),
        ({"average_last": 4}, r"average_last must be in 1..keep.last \(3\), got 4"),
    ],
)
def test_choices_that_do_not_fit_are_refused(source, changes, reason):
    with pytest.raises(ValueError, match=reason):
        experiment(source, **changes)


def test_pieces_that_the_model_does_not_know_are_refused(source):
    pairs = source.load("train")
    for changes, reason in (
        ({"vocab": 20}, "there are 21 pieces and the model has vocab=20"),
        ({"bos_token": 0}, "bos is token 3 of the pieces, and the model has bos_token=0"),
    ):
        config = experiment(source, model=dataclasses.replace(MODEL, **changes))
        with pytest.raises(ValueError, match=reason):
            config.reading.batches(pairs)
    assert set(parameters(experiment(source))["parts"]) >= {"embedding", "encoder", "decoder"}
