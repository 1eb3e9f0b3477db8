"""A span-corruption experiment: what it learns, that it resumes exactly, how it is scored, and what it refuses."""

import dataclasses
import math

import jax
import numpy as np
import pytest

from efficient_attn.data import SentencePieces, SpanCorruption, SubwordText, TextFiles, TokenStream
from efficient_attn.experiment import evaluate, train
from efficient_attn.models import t5
from efficient_attn.recipe import Mesh
from efficient_attn.span_corruption_experiment import SpanCorruptionExperiment
from efficient_attn.training import Adafactor, AdamW, Constant, InverseSquareRoot, Schedule

PIECES = 20
MODEL = t5(
    vocab=40, width=16, heads=2, ff_width=32, encoder_depth=1, decoder_depth=1, longest=24, bos_token=3,
    dropout=0.0, end_dropout=0.0, attention_dropout=0.0, ff_dropout=0.0,
)  # fmt: skip


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    folder = tmp_path_factory.mktemp("text")
    words = ["ab", "cde", "fg", "hij", "ka", "lbc"]
    (folder / "text.txt").write_text("".join(f"{' '.join(words[n % 5 :] + words[: n % 5])}\n" for n in range(400)))
    text = SubwordText(text=TextFiles(path=folder / "text.txt"), subwords=SentencePieces(file=folder / "x.model"))
    pieces = dataclasses.replace(text.subwords, unknown="token").fit(text.sentences("train"), PIECES)
    pieces.save(text.subwords.file)
    return text


def experiment(source, **changes):
    settings = {
        "model": MODEL,
        "source": source,
        "context": 24,
        "learned_pieces": PIECES,
        "sentinels": 5,
        "batch_size": 8,
        "steps": 80,
        "schedule": Schedule(peak=1e-2, warmup_steps=5, decay=Constant()),
        "optimizer": AdamW(b2=0.98),
        "eval_batch_size": 16,
    }
    return SpanCorruptionExperiment(**settings | changes)


def test_pieces_of_lines_side_by_side(source):
    stream, pieces = source.load("validation"), source.subwords.load()
    lines = source.text.load("validation").tokens.tobytes().decode().split("\n")
    # What is cut off at the border of a split may be anything.
    whole = pieces.encode(lines[1:3])
    expected = np.concatenate([whole[0][:-1], whole[1][:-1]])
    first = len(pieces.encode(lines[:1])[0]) - 1
    np.testing.assert_array_equal(stream.tokens[first : first + len(expected)], expected)
    assert pieces.eos not in stream.tokens
    assert (stream.vocab_size, stream.unit) == (PIECES, "piece")
    pairs = source.sentences("train")
    assert [pairs.source[1], pairs.target[1]] == source.text.load("train").tokens.tobytes().decode().split("\n")[2:4]


def test_it_learns_and_evaluates_to_the_same_score(source, tmp_path):
    config = experiment(source)
    report = train(config, str(tmp_path / "run"))
    again = evaluate(config, str(tmp_path / "run"), "validation")
    # A code of shares needs more, though sentinels and ends are among what it has to tell.
    assert report["loss"] < 0.6 * again["frequency_loss"]
    assert 0.5 < report["accuracy"] <= 1.0
    assert again["loss"] == pytest.approx(report["loss"], rel=1e-6)
    # In batches of another size the same is drawn.
    other = evaluate(dataclasses.replace(config, eval_batch_size=8), str(tmp_path / "run"), "validation")
    assert (other["tokens"], other["loss"]) == (again["tokens"], pytest.approx(again["loss"], rel=1e-5))
    length, window = len(source.load("validation")), config.reading.window
    expected = sum(config.corruption.lengths(min(window, length - n))[1] for n in range(0, length, window))
    assert again["tokens"] == expected
    assert "bits_per_byte" not in report
    with pytest.raises(ValueError, match="trained with another model: heads differ"):
        changed = dataclasses.replace(config, model=dataclasses.replace(MODEL, heads=4))
        evaluate(changed, str(tmp_path / "run"), "validation")


def test_the_recipe_of_t5_takes_steps(source, tmp_path):
    config = experiment(
        source,
        model=dataclasses.replace(MODEL, dropout=0.1, end_dropout=0.1, attention_dropout=0.1, ff_dropout=0.1),
        optimizer=Adafactor(decay_cap=1.0, step_size="relative"),
        schedule=Schedule(peak=0.01, decay=InverseSquareRoot(flat=2)),
        clip_norm=None,
        steps=3,
    )
    assert math.isfinite(train(config, str(tmp_path / "run"))["loss"])


def test_batches_resume_and_are_shared_among_processes(source, monkeypatch):
    reading, stream = experiment(source).reading, source.load("train")
    batches = reading.batches(stream)
    later = batches.iterate(3)
    for step in (3, 4):
        found, expected = next(later), batches.at(step)
        assert found.keys() == expected.keys() == reading.blank().keys()
        for name, x in expected.items():
            np.testing.assert_array_equal(found[name], x)
            assert x.shape[1:] == reading.blank()[name].shape[1:]
    whole = batches.at(2)
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    for process in range(2):
        monkeypatch.setattr(jax, "process_index", lambda process=process: process)
        for name, x in reading.batches(stream).at(2).items():
            np.testing.assert_array_equal(x, whole[name][4 * process : 4 * process + 4])


def test_a_mesh_gives_the_loss_of_one_device(source):
    config = experiment(source)
    batch = config.reading.batches(source.load("train")).at(0)
    params, objective = config.form.init(jax.random.key(0)), config.reading.program()["objective"]

    def loss(mesh, devices):
        with jax.set_mesh(mesh.placement(jax.devices()[:devices]).mesh):
            terms, _ = jax.jit(objective)(params, batch, None, ())
        return float(terms["loss"].sum / terms["loss"].count)

    assert loss(Mesh(data=4, model=2), 8) == pytest.approx(loss(Mesh(data=1), 1), rel=1e-5)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        (
            {"sentinels": 1, "corruption": SpanCorruption(mean_span=1.0)},
            "has 3 spans: sentinels must be as many, got 1",
        ),
        ({"sentinels": 21}, "must fit the model's vocab=40, got 20 and 21"),
        ({"context": 25}, "takes a row of training texts of 1 to 24 tokens, got 25"),
        ({"corruption": SpanCorruption(density=0.8)}, "takes a target of a whole window of 1 to 24 tokens, got"),
        ({"mesh": Mesh(sequence=2)}, "mesh.sequence must be 1, got 2"),
    ],
)
def test_choices_that_do_not_fit_are_refused(source, changes, reason):
    with pytest.raises(ValueError, match=reason):
        experiment(source, **changes)


def test_other_pieces_are_refused(source):
    stream = TokenStream(tokens=np.ones(100, np.uint16), vocab_size=31, unit="piece", description="others")
    with pytest.raises(ValueError, match="there are 31 pieces, and learned_pieces=20"):
        experiment(source).reading.batches(stream)
