"""Labelled texts from files in official formats, and what is said of files that are in none."""

import json
import re

import pytest

from efficient_attn.data import GLUE, LabelledLines, TFDSLabelled, write_submission
from efficient_attn.data.glue import GLUE_TABLES

# The headers of the published files, their training set's and their test set's, and a row of each.
PUBLISHED = {
    "cola": (None, "gj04\t1\t\tOur friends won't buy it.", "index\tsentence", "0\tBill said so."),
    "sst2": ("sentence\tlabel", "hide new secretions \t0", "index\tsentence", "0\tuneasy mishmash"),
    "mrpc": (
        "\ufeffQuality\t#1 ID\t#2 ID\t#1 String\t#2 String",
        '1\t70\t71\tHe said "no.\tHe said no.',
        "index\t#1 ID\t#2 ID\t#1 String\t#2 String",
        "0\t1\t2\tA.\tB.",
    ),
    "qqp": (
        "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate",
        "1\t2\t3\tWhy?\tWhat for?\t1",
        "id\tquestion1\tquestion2",
        "0\tA?\tB?",
    ),
    "stsb": (
        "index\tgenre\tfilename\tyear\told_index\tsource1\tsource2\tsentence1\tsentence2\tscore",
        "0\tmain\tMSR\t2012\t1\tnone\tnone\tA plane.\tA bird.\t5.000",
        "index\tgenre\tfilename\tyear\told_index\tsource1\tsource2\tsentence1\tsentence2",
        "0\tmain\tMSR\t2012\t1\tnone\tnone\tA girl.\tA boy.",
    ),
    "mnli": (
        "index\tpromptID\tpairID\tgenre\tsentence1\tsentence2\tlabel1\tgold_label",
        "0\t3\t3n\tgovernment\tOne.\tTwo.\tneutral\tneutral",
        "index\tpromptID\tpairID\tgenre\tsentence1\tsentence2",
        "0\t3\t3\ttravel\tA.\tB.",
    ),
    "qnli": ("index\tquestion\tsentence\tlabel", "0\tWho?\tHe.\tentailment", "index\tquestion\tsentence", "0\tA?\tB."),
    "rte": (
        "index\tsentence1\tsentence2\tlabel",
        "0\tA.\tB.\tnot_entailment",
        "index\tsentence1\tsentence2",
        "0\tA.\tB.",
    ),
    "wnli": ("index\tsentence1\tsentence2\tlabel", "0\tA.\tB.\t1", "index\tsentence1\tsentence2", "0\tA.\tB."),
}
PUBLISHED["mnli_mismatched"] = PUBLISHED["mnli"]


@pytest.mark.parametrize("task", GLUE_TABLES)
def test_the_published_files_of_glue(task, tmp_path):
    header, row, test_header, test_row = PUBLISHED[task]
    train, _, test = GLUE_TABLES[task].files
    (tmp_path / train).write_text("".join(f"{line}\n" for line in (header, row) if line), encoding="utf-8")
    (tmp_path / test).write_text(f"{test_header}\n{test_row}\n")
    source = GLUE(task=task, path=tmp_path)
    found, unlabelled = source.load("train"), source.load("test")
    cells = row.split("\t")
    assert found.labels is not None and found.labels[0] in cells
    assert GLUE_TABLES[task].labels == () or found.labels[0] in GLUE_TABLES[task].labels
    assert found.firsts[0] in cells and (found.seconds is None or found.seconds[0] in cells)
    assert unlabelled.labels is None and unlabelled.keys == ["0"]
    assert unlabelled.firsts[0] in test_row.split("\t")
    assert (found.seconds is None) == (len(GLUE_TABLES[task].texts) == 1) == (unlabelled.seconds is None)


def test_labels_of_lines_may_be_text_numbers_or_booleans(tmp_path):
    rows = [{"question": "q", "passage": "p", "label": label} for label in ("pos", 1, True, 2.5)]
    (tmp_path / "train.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n\n")
    found = LabelledLines(path=tmp_path, text="question", pair="passage").load("train")
    assert found.labels == ["pos", "1", "true", "2.5"]
    assert (found.firsts[0], found.seconds[0], len(found)) == ("q", "p", 4)


def test_a_data_set_of_tfds(prepared):
    split_names = ("train", "train[10:]", "test")
    source = TFDSLabelled(name="notes", data_dir=prepared, split_names=split_names)
    found = source.load("validation")
    assert (found.firsts, found.labels, found.seconds) == (["note 10", "note 11"], ["even", "odd"], None)
    # Labels of the test split are not published.
    assert source.load("test").labels is None
    numbers = TFDSLabelled(name="notes", data_dir=prepared, pair="text", label="score", numbers=True)
    assert numbers.load("test").labels == [str(number / 2) for number in range(12, 17)]
    assert numbers.load("test").seconds == numbers.load("test").firsts
    for fields, message in {
        ("text", "score"): "feature 'score' of .* should be a class, got",
        ("words", "label"): "has no feature 'words'",
        ("raw", "label"): "feature 'raw' of notes should be text, got ndarray",
    }.items():
        with pytest.raises(ValueError, match=message):
            TFDSLabelled(name="notes", data_dir=prepared, text=fields[0], label=fields[1]).load("train")


def test_a_submission_has_the_benchmarks_columns(tmp_path):
    write_submission(tmp_path / "RTE.tsv", ["0", "1"], ["entailment", "not_entailment"])
    assert (tmp_path / "RTE.tsv").read_text() == "index\tprediction\n0\tentailment\n1\tnot_entailment\n"


# What a file holds, its source, and a part of the message.
LINES = {
    "no file": (None, {}, "no file"),
    "an empty file": ("", {}, "is empty"),
    "only blank lines": ("\n\n", {}, "has no example"),
    "not JSON": ("{text}", {}, "line 1 is not JSON"),
    "a list": ("[1]", {}, "line 1 should be a JSON object, got list"),
    "no text": ('{"label": 1, "body": "a"}', {}, "line 1 has no field 'text'; it has label, body"),
    "a pair for a task of single texts": ('{"text": ["a", "b"], "label": 1}', {}, 'should be one text, got ["a", "b"]'),
    "no second text": ('{"text": "a", "label": 1}', {"pair": "other"}, "has no field 'other'"),
    "no label": ('{"text": "a"}', {}, "has no field 'label': line 1 has text"),
    "a label that is missing once": ('{"text": "a", "label": 1}\n{"text": "b"}', {}, "line 2 has no field 'label'"),
}


@pytest.mark.parametrize("text, fields, message", LINES.values(), ids=LINES)
def test_lines_that_are_refused(text, fields, message, tmp_path):
    if text is not None:
        (tmp_path / "train.jsonl").write_text(text)
    with pytest.raises((ValueError, FileNotFoundError), match=_literally(message)):
        LabelledLines(path=tmp_path, **fields).load("train")


TABLES = {
    "an empty file": ("", "is empty"),
    "only a header": ("sentence\tlabel\n", "has 0 lines with the 2 columns"),
    "a column that is missing": ("text\tlabel\na\t1\n", "has no column 'sentence'; it has text, label"),
    "a pair for a task of single texts": ("sentence1\tsentence2\tlabel\na\tb\t1\n", "has no column 'sentence'"),
    "short lines": ("sentence\tlabel\na\t1\nb\n", "has 1 lines with the 2 columns sentence, label, of 2"),
}


@pytest.mark.parametrize("text, message", TABLES.values(), ids=TABLES)
def test_tables_that_are_refused(text, message, tmp_path):
    (tmp_path / "train.tsv").write_text(text)
    with pytest.raises(ValueError, match=_literally(message)):
        GLUE(task="sst2", path=tmp_path).load("train")


def test_a_few_broken_lines_are_told(tmp_path):
    lines = ["sentence\tlabel", *["a\t1"] * 199, "b"]
    (tmp_path / "train.tsv").write_text("\n".join(lines))
    found = GLUE(task="sst2", path=tmp_path).load("train")
    assert (len(found), found.description) == (199, "train of GLUE sst2: 199 texts, 1 broken lines")


def _literally(message):
    return re.escape(message)
