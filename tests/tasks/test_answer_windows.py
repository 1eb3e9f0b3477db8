"""Windows of a text that is longer than the model reads: what is in each, and where the answers are."""

import dataclasses
import json

import pytest
from fine_tuned import WORDS, write_tokenizer

from efficient_attn.answer_reading import Answering
from efficient_attn.data import SQuAD
from efficient_attn.fine_tuning_experiment import FineTuningExperiment
from efficient_attn.models import EncoderConfig
from efficient_attn.nn.text_embedding import CountedPositions
from efficient_attn.training import Schedule

pytest.importorskip("tokenizers")

# "ij" stands twice, the second time at the end.
TEXT = "ab cd ef gh ij kl mn op qr st uv wx ij"
NAMES = ("<s>", "<pad>", "</s>", "<unk>", *WORDS)


@pytest.fixture
def windows(tmp_path):
    """The windows of ``TEXT`` with two tokens of a question, six of the text, two of them shared."""
    vocab = write_tokenizer(tmp_path)
    answers = [{"text": "ij kl", "answer_start": 12}, {"text": "ij", "answer_start": 36}]
    items = [
        {"id": "a", "question": "is the", "answers": answers},
        {"id": "b", "question": "is the of in", "answers": answers[1:]},
    ]
    (tmp_path / "train-v1.1.json").write_text(json.dumps({"data": [{"paragraphs": [{"context": TEXT, "qas": items}]}]}))
    model = EncoderConfig(
        depth=1,
        width=8,
        heads=1,
        ff_width=8,
        vocab=vocab,
        pad_token=1,
        positions=CountedPositions(rows=20),
        head="question_answering",
    )
    experiment = FineTuningExperiment(
        model=model,
        source=SQuAD(path=tmp_path),
        tokenizer=str(tmp_path),
        context=12,
        batch_size=1,
        steps=1,
        schedule=Schedule(peak=1.0),
        answering=Answering(question=2, stride=2),
    )

    def encoded(mentions="given", **fields):
        source = dataclasses.replace(experiment.source, mentions=mentions)
        answering = dataclasses.replace(experiment.answering, **fields)
        config = dataclasses.replace(experiment, source=source, answering=answering)
        return config.reading.encoded(source.load("train"))

    return encoded


def words(encoded, window):
    """The tokens of a window, those of the text after those of the question."""
    tokens = [NAMES[n] for n in encoded.arrays["tokens"][window][: encoded.lengths[window]]]
    assert tokens[:5] == ["<s>", "is", "the", "</s>", "</s>"] and tokens[-1] == "</s>"
    return tokens[5:-1]


def test_every_word_is_in_a_window_and_two_in_both(windows):
    found = windows()
    split = TEXT.split()
    assert [words(found, n) for n in range(3)] == [split[:6], split[4:10], split[8:13]]
    # The second question is cut to two tokens.
    assert (len(found), found.truncated) == (6, 1)


def test_the_first_answer_of_a_window_or_its_first_token(windows):
    targets = windows().arrays["targets"]
    assert targets[:3].tolist() == [[[9, 10]], [[5, 6]], [[9, 9]]]
    assert targets[3:].tolist() == [[[0, 0]], [[0, 0]], [[9, 9]]]


def test_every_place_of_an_answer_once(windows):
    targets = windows(learned="any", mentions="all").arrays["targets"]
    assert targets.shape == (6, 64, 2)
    # "ij" and "ij kl" begin at one token and end at two.
    assert targets[0, :3].tolist() == [[9, 9], [-1, 10], [-1, -1]]
    assert (targets[:, 2:] == -1).all()


def test_windows_that_are_not_read_are_told(windows):
    found = windows(windows=1)
    assert (len(found), found.truncated) == (2, 2)
    assert words(found, 1) == TEXT.split()[:6]
    assert windows(windows=3).truncated == 1
