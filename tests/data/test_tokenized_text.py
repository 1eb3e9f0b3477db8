"""Text in the tokens of a pretrained model: what is kept of it, whole words, and models that read it."""

import numpy as np
import pytest

from efficient_attn.data import Masking, PieceWords, TextFiles, TokenizedText, masked, permuted
from efficient_attn.decoding import SamplingOptions
from efficient_attn.experiment import Experiment, draw, evaluate, train
from efficient_attn.masked_experiment import MaskedExperiment
from efficient_attn.models import DecoderConfig, EncoderConfig, Sparse
from efficient_attn.nn.text_embedding import SlotPositions
from efficient_attn.training import Schedule

tokenizers = pytest.importorskip("tokenizers")
pytestmark = pytest.mark.fast

TEXT = "unhappy people, unhappy dogs\n\nhappy people\tand 12 dogs \nlast happy dog"


@pytest.fixture(scope="module")
def byte_level(tmp_path_factory):
    """A small tokenizer of RoBERTa's kind, learned from the text, and the text in a file."""
    folder = tmp_path_factory.mktemp("roberta")
    (folder / "text").mkdir()
    (folder / "text" / "one.txt").write_text(TEXT * 20)
    learned = tokenizers.ByteLevelBPETokenizer()
    learned.train([str(folder / "text" / "one.txt")], 280, special_tokens=["<s>", "<pad>", "</s>", "<unk>", "<mask>"])
    learned.save_model(str(folder))
    return folder


@pytest.fixture(scope="module")
def word_pieces(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bert")
    pieces = [
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "[MASK]",
        "un",
        "##happy",
        "happy",
        "people",
        "dog",
        "##s",
        ",",
        "and",
        "last",
    ]
    (folder / "vocab.txt").write_text("\n".join(pieces))
    return folder


def source(folder):
    return TokenizedText(text=TextFiles(path=folder / "text", splits=(0.6, 0.2, 0.2)), tokenizer=str(folder))


def test_byte_level_tokens_are_the_text(byte_level):
    found = source(byte_level)
    for text in (TEXT, TEXT + "\n", "\n", " a", "é\r\n\n"):
        tokens = found.numbered(np.frombuffer(text.encode(), np.uint8))
        assert found.written(tokens).decode() == text.replace("\r", "")
    stream = found.load("train")
    assert stream.tokens.dtype == np.uint16
    assert stream.unit == "piece"
    assert stream.raw_bytes == len(found.text.load("train"))
    assert stream.vocab_size == 280
    assert stream.tokens.min() > 4


def test_words_move_whole(byte_level, word_pieces):
    found = source(byte_level)
    tokens = found.numbered(np.frombuffer(TEXT.encode(), np.uint8))[None]
    begins = PieceWords(tokenizer=str(byte_level)).begins(tokens)[0]
    units = [found.written(part).decode() for part in np.split(tokens[0], np.flatnonzero(begins)[1:])]
    assert "".join(units) == TEXT
    assert [u.strip() for u in units if u.strip().isalpha()] == (
        ["unhappy", "people", "unhappy", "dogs", "happy", "people", "and", "dogs", "last", "happy", "dog"]
    )
    pieces = np.array([[5, 6, 8, 10, 11, 9, 10]])
    np.testing.assert_array_equal(
        PieceWords(tokenizer=str(word_pieces)).begins(pieces), [[True, False, True, False, True, True, False]]
    )
    batch = {"tokens": np.repeat(pieces, 50, 0), "valid": np.ones((50, 7), bool)}
    masking = Masking(token=4, rate=2 / 7, kinds=14)
    drawn = permuted(batch, masking, PieceWords(tokenizer=str(word_pieces)), (0,), 0)
    told = {tuple(sorted(row)) for row in drawn["predicted"].tolist()}
    # Whole words of two pieces, or the last piece of a word and one more.
    assert (0, 1) in told and (5, 6) in told
    assert not {(0, 2), (0, 3), (0, 5)} & told


def test_another_token_is_any_of_the_text(word_pieces):
    batch = {"tokens": np.full((4, 200), 7), "valid": np.ones((4, 200), bool)}
    below = masked(batch, Masking(token=4, rate=1.0, hidden=0.0, changed=1.0), (0,), 0)["inputs"]
    assert below.max() == 3
    every = masked(batch, Masking(token=4, rate=1.0, hidden=0.0, changed=1.0, kinds=14), (0,), 0)["inputs"]
    assert (every.min(), every.max()) == (0, 13)
    with pytest.raises(ValueError, match="kinds must be at least 1, or None, got 0"):
        Masking(kinds=0)


def run(kind, model, byte_level, **fields):
    return kind(
        model=model,
        source=source(byte_level),
        context=16,
        batch_size=8,
        steps=2,
        schedule=Schedule(peak=1e-3),
        tensorboard="off",
        **fields,
    )


def test_models_are_trained_scored_and_drawn(byte_level, tmp_path):
    for name in ("two", "three", "four", "five"):
        (byte_level / "text" / f"{name}.txt").write_text((TEXT + name) * 20)
    encoder = EncoderConfig(
        **{"depth": 1, "width": 8, "heads": 1, "ff_width": 8, "vocab": 280, "head": "masked_lm", "pooler": False},
        positions=SlotPositions(rows=16),
    )
    config = run(MaskedExperiment, encoder, byte_level, masking=Masking(token=4, kinds=280))
    train(config, str(tmp_path / "masked"))
    report = evaluate(config, str(tmp_path / "masked"), "test")
    assert 6 < report["bits_per_byte"] < 10
    decoder = DecoderConfig(depth=1, width=8, heads=1, vocab=280, attention=Sparse(patterns=("Causal()",)))
    config = run(Experiment, decoder, byte_level)
    train(config, str(tmp_path / "decoder"))
    prompt = config.source.prompt(np.frombuffer(b"happy people", np.uint8)).astype(np.uint32)
    (drawn,) = draw(config, str(tmp_path / "decoder"), prompt[None], 12, SamplingOptions(), 0)
    assert config.source.written(drawn).startswith(b"happy people")
