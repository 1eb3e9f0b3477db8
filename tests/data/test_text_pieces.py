"""Texts as tokens: frames of each family, what is cut, and files that are no tokenizer's."""

import json
import re

import numpy as np
import pytest

from efficient_attn.data import Pieces, padded
from efficient_attn.data.text_pieces import read_tokenizer

tokenizers = pytest.importorskip("tokenizers")

BERT = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "un", "##a", "b", "c"]
MPNET = ["<s>", "<pad>", "</s>", "<unk>", *BERT]


def ids(folder, firsts, seconds=None, context=16):
    return [found.ids for found in Pieces(folder=folder, context=context).framed(firsts, seconds)]


def test_the_pieces_of_bert(tmp_path):
    (tmp_path / "vocab.txt").write_text("\n".join(BERT))
    assert ids(tmp_path, ["UnA b"]) == [[2, 4, 5, 6, 3]]
    pieces = Pieces(folder=tmp_path, context=16)
    (pair,) = pieces.framed(["b"], ["c zz"])
    assert (pair.ids, pair.type_ids) == ([2, 6, 3, 7, 1, 3], [0, 0, 0, 1, 1, 1])
    (tmp_path / "tokenizer_config.json").write_text('{"do_lower_case": false}')
    cased = tmp_path / "cased"
    cased.mkdir()
    for name in ("vocab.txt", "tokenizer_config.json"):
        (cased / name).write_text((tmp_path / name).read_text())
    assert ids(cased, ["UnA"]) == [[2, 1, 3]]


def test_the_pieces_of_mpnet_are_framed_as_robertas(tmp_path):
    (tmp_path / "vocab.txt").write_text("\n".join(MPNET))
    assert ids(tmp_path, ["b"], ["c"]) == [[0, 10, 2, 2, 11, 2]]


def test_the_byte_pairs_of_roberta(tmp_path):
    vocab = {name: n for n, name in enumerate(["<s>", "<pad>", "</s>", "<unk>", "a", "b", "Ġ", "Ġa", "ab"])}
    (tmp_path / "vocab.json").write_text(json.dumps(vocab))
    (tmp_path / "merges.txt").write_text("#version: 0.2\nĠ a\na b\n")
    assert ids(tmp_path, ["ab a"], ["b"]) == [[0, 8, 7, 2, 2, 5, 2]]


def test_a_file_that_fills_up_and_cuts_texts_itself(tmp_path):
    (tmp_path / "vocab.txt").write_text("\n".join(BERT))
    found = read_tokenizer(tmp_path)
    found.enable_padding(pad_id=0, pad_token="[PAD]", length=9)
    found.enable_truncation(3)
    again = tmp_path / "again"
    again.mkdir()
    found.save(str(again / "tokenizer.json"))
    assert ids(again, ["b c b c"]) == [[2, 6, 7, 6, 7, 3]]


def test_what_is_cut_is_counted(tmp_path):
    (tmp_path / "vocab.txt").write_text("\n".join(BERT))
    pieces = Pieces(folder=tmp_path, context=5)
    rows = padded(pieces.framed(["b c b", "b c b c"], None), 5, 0)
    assert (rows.truncated, rows.lengths.tolist()) == (1, [5, 5])
    np.testing.assert_array_equal(rows.arrays["tokens"], [[2, 6, 7, 6, 3]] * 2)
    assert pieces.lengths(["b c b c"], ["b"]).tolist() == [5]


BAD = {
    "nothing": ({}, FileNotFoundError, "has no file of a tokenizer: one of tokenizer.json, vocab.json and merges.txt"),
    "not a tokenizer": ({"tokenizer.json": "{}"}, ValueError, "tokenizer.json is not a tokenizer"),
    "no special tokens": ({"vocab.txt": "a\nb\n[UNK]"}, ValueError, "its vocabulary has no [CLS] or no [SEP]"),
}


@pytest.mark.parametrize("files, kind, message", BAD.values(), ids=BAD)
def test_folders_that_are_refused(files, kind, message, tmp_path):
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(kind, match=re.escape(message)):
        ids(tmp_path, ["a"])


def test_a_tokenizer_without_a_frame_is_refused(tmp_path):
    tokenizers.Tokenizer(tokenizers.models.WordLevel({"a": 0}, unk_token="a")).save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(ValueError, match="does not say which special tokens frame a text"):
        ids(tmp_path, ["a"])


def test_a_context_without_room_is_refused(tmp_path):
    (tmp_path / "vocab.txt").write_text("\n".join(BERT))
    with pytest.raises(ValueError, match="context=3 leaves 0 tokens"):
        ids(tmp_path, ["b"], ["c"], context=3)
