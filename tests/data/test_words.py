"""A text as words: the vocabulary, the numbers, and what they stand for."""

import numpy as np
import pytest

from efficient_attn.data import TextFiles, Words, words

TEXT = b"the cat saw the dog\n\nthe dog ran .\n"


@pytest.fixture
def folder(tmp_path):
    for split, text in {"a": TEXT, "b": b"the bird saw it\n"}.items():
        (tmp_path / f"{split}.txt").write_bytes(text)
    return tmp_path


@pytest.fixture
def source(folder, monkeypatch):
    """Its training split is one file, all others the other."""
    load = TextFiles.load
    monkeypatch.setattr(
        TextFiles,
        "load",
        lambda self, split: load(
            TextFiles(path=folder / ("a.txt" if split == "train" else "b.txt"), splits=(1.0, 0.0, 0.0)), "train"
        ),
    )
    return Words(of=TextFiles(path=folder))


def test_words_are_numbered_from_the_most_frequent(source):
    assert source.vocabulary() == (b"</s>", b"the", b"dog", b".", b"cat", b"ran", b"saw", b"<unk>")
    stream = source.load("train")
    np.testing.assert_array_equal(stream.tokens, [1, 4, 6, 1, 2, 0, 0, 1, 2, 5, 3, 0])
    assert (stream.vocab_size, stream.words, stream.xz_bits) == (8, 12, None)
    assert stream.bytes_per_token == pytest.approx(len(TEXT) / 12)
    assert source.written(stream.tokens) == TEXT


def test_a_word_that_training_lacks_is_unknown(source):
    np.testing.assert_array_equal(source.load("validation").tokens, [1, 7, 6, 7, 0])


def test_a_smaller_vocabulary_counts_what_it_leaves_out_as_unknown(source):
    smaller = Words(of=source.of, most=4)
    # Five words of twelve are left out: as frequent as nothing else.
    assert smaller.vocabulary() == (b"<unk>", b"</s>", b"the", b"dog")
    np.testing.assert_array_equal(smaller.load("train").tokens, [2, 0, 0, 2, 3, 1, 1, 2, 3, 0, 0, 1])
    assert smaller.fingerprint() != source.fingerprint()
    with pytest.raises(ValueError, match="most must be at least 2 words"):
        Words(of=source.of, most=1)


def test_words_may_lie_across_the_parts_that_are_read_at_a_time(source, monkeypatch):
    whole = source.numbered(np.frombuffer(TEXT, np.uint8))
    monkeypatch.setattr(words, "_PART", 5)
    np.testing.assert_array_equal(source.numbered(np.frombuffer(TEXT, np.uint8)), whole)
    # A last line without an end has one all the same.
    np.testing.assert_array_equal(source.numbered(np.frombuffer(TEXT[:-1], np.uint8)), whole)
