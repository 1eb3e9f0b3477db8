"""Questions about texts from files in SQuAD's format, and files that are not."""

import json
import re

import pytest

from efficient_attn.data import SQuAD

TEXT = "Ada wrote it. ADA, not Adam, read it."


def write(folder, items, name="train-v1.1.json", context=TEXT):
    whole = {"version": "1.1", "data": [{"title": "t", "paragraphs": [{"context": context, "qas": items}]}]}
    (folder / name).write_text(json.dumps(whole))


def item(**fields):
    return {"id": "1", "question": "Who?", "answers": [{"text": "Ada", "answer_start": 0}]} | fields


def test_answers_stand_where_the_file_says(tmp_path):
    write(tmp_path, [item(), item(id="q--page.txt", is_impossible=True, answers=[])])
    found = SQuAD(path=tmp_path).load("train")
    one, other = found.questions
    assert (one.key, one.question, one.context, one.answers, one.spans) == ("1", "Who?", TEXT, ("Ada",), ((0, 3),))
    assert (other.key, other.answers, other.spans) == ("q", (), ())
    assert found.unanswerable and found.labelled


def test_answers_stand_wherever_their_words_are(tmp_path):
    write(tmp_path, [item(answers=[{"text": "Ada", "answer_start": -1}, {"text": "it.", "answer_start": -1}])])
    found = SQuAD(path=tmp_path, mentions="all").load("train")
    (question,) = found.questions
    assert [TEXT[i:j] for i, j in question.spans] == ["Ada", "it.", "ADA", "it."]
    assert not found.unanswerable


def test_a_test_set_has_no_answers(tmp_path):
    unanswered = item()
    del unanswered["answers"]
    for name in ("test-v1.1.json", "dev-v1.1.json"):
        write(tmp_path, [unanswered], name)
    assert not SQuAD(path=tmp_path).load("test").labelled
    with pytest.raises(ValueError, match="has questions without 'answers'"):
        SQuAD(path=tmp_path).load("validation")


BAD = {
    "an empty file": ("", "is empty"),
    "not JSON": ("{", "is not JSON"),
    "another format": ('{"rows": []}', "is not in SQuAD's format"),
    "no question": ('{"data": []}', "has no question"),
    "no id": (
        '{"data": [{"paragraphs": [{"context": "a", "qas": [{"question": "b"}]}]}]}',
        "has a question without 'id'",
    ),
    "an answer elsewhere": (
        '{"data": [{"paragraphs": [{"context": "ab", "qas": [{"id": "7", "question": "b", '
        '"answers": [{"text": "b", "answer_start": 0}]}]}]}]}',
        "answer 'b' of question 7 is not at character 0 of its text",
    ),
}


@pytest.mark.parametrize("text, message", BAD.values(), ids=BAD)
def test_files_that_are_refused(text, message, tmp_path):
    (tmp_path / "train-v1.1.json").write_text(text)
    with pytest.raises(ValueError, match=re.escape(message)):
        SQuAD(path=tmp_path).load("train")
