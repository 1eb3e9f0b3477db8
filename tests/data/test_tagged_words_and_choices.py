"""Tagged words in columns and texts with choices, and files that are neither."""

import json
import re

import pytest

from efficient_attn.data import ChoiceLines, CoNLL, write_tagged

COLUMNS = "-DOCSTART- -X- -X- O\n\nEU NNP B-NP B-ORG\nrejects VBZ B-VP O\n\n\nPeter NNP B-NP B-PER\n"


def test_columns(tmp_path):
    (tmp_path / "train.txt").write_text(COLUMNS)
    found = CoNLL(path=tmp_path).load("train")
    assert found.words == [("EU", "rejects"), ("Peter",)]
    assert found.tags == [("B-ORG", "O"), ("B-PER",)]
    assert CoNLL(path=tmp_path, column=1).load("train").tags == [("NNP", "VBZ"), ("NNP",)]
    (tmp_path / "test.txt").write_text("EU\nrejects\n")
    assert CoNLL(path=tmp_path).load("test").tags is None
    write_tagged(tmp_path / "out.txt", found, [("B-LOC", "O"), ("B-PER",)])
    assert (tmp_path / "out.txt").read_text() == "EU B-ORG B-LOC\nrejects O O\n\nPeter B-PER B-PER\n\n"


WORDS = {
    "an empty file": ("", {}, "is empty"),
    "no sentence": ("\n-DOCSTART- O\n", {}, "has no sentence"),
    "no column of tags": ("EU B-ORG\nrejects\n", {}, "line 2 has no column -1 of tags: rejects"),
    "a column that is not there": ("EU B-ORG\n", {"column": 3}, "line 1 has no column 3 of tags"),
}


@pytest.mark.parametrize("text, fields, message", WORDS.values(), ids=WORDS)
def test_columns_that_are_refused(text, fields, message, tmp_path):
    (tmp_path / "train.txt").write_text(text)
    with pytest.raises(ValueError, match=re.escape(message)):
        CoNLL(path=tmp_path, **fields).load("train")


def test_choices_in_a_list_or_in_fields_of_their_own(tmp_path):
    row = {"text": "t", "choices": ["a", "b", "c"], "label": 2, "idx": 7}
    (tmp_path / "train.jsonl").write_text(json.dumps(row))
    found = ChoiceLines(path=tmp_path).load("train")
    assert (found.texts, found.choices, found.labels, found.keys) == (["t"], [("a", "b", "c")], [2], ["7"])
    row = {"premise": "p", "question": "why", "choice1": "a", "choice2": "b"}
    (tmp_path / "test.jsonl").write_text(json.dumps(row))
    fields = {"text": "premise", "question": "question", "choices": ("choice1", "choice2")}
    found = ChoiceLines(path=tmp_path, **fields).load("test")
    assert (found.choices, found.labels) == ([("why a", "why b")], None)


CHOICES = {
    "one choice": ([{"text": "t", "choices": ["a"], "label": 0}], "line 1 should have a list of at least 2 texts"),
    "no list": ([{"text": "t", "choices": "ab", "label": 0}], "line 1 should have a list of at least 2 texts"),
    "another number of choices": (
        [{"text": "t", "choices": ["a", "b"], "label": 0}, {"text": "t", "choices": ["a", "b", "c"], "label": 0}],
        "line 2 has 3 choices, and the first has 2",
    ),
    "a label beyond them": ([{"text": "t", "choices": ["a", "b"], "label": 2}], "a choice from 0 to 1, got 2"),
    "no label": ([{"text": "t", "choices": ["a", "b"]}], "a choice from 0 to 1, got null"),
}


@pytest.mark.parametrize("rows, message", CHOICES.values(), ids=CHOICES)
def test_choices_that_are_refused(rows, message, tmp_path):
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(ValueError, match=re.escape(message)):
        ChoiceLines(path=tmp_path).load("train")
