"""Documents with mentions in the format of CoNLL-2012: read, written, and files that are refused."""

import re

import pytest

from efficient_attn.data import CoreferenceDocument, OntoNotes, write_clusters

pytestmark = pytest.mark.fast


def row(word, brackets="-", speaker="-", name="bc/a/00/a_0000", part=0, place=0):
    """A word's columns, as OntoNotes has them of a word with one predicate in its sentence."""
    return f"{name}   {part}   {place}   {word}   NN   (TOP*   -   -   -   {speaker}   *   (V*)   {brackets}\n"


def document(*sentences, name="bc/a/00/a_0000", part="000"):
    """A document of sentences, each of rows."""
    return f"#begin document ({name}); part {part}\n" + "\n".join(map("".join, sentences)) + "\n#end document\n"


# Mentions within one another, of one cluster too, crossing, of one word, and three that end at once.
NESTED = document(
    [row("a", "(12", "Ann"), row("b", "(3)|(4", "Ann"), row("c", "12)", "Ann"), row("d", "4)|(12)")],
    [row("e", "(7|(3"), row("f", "(7"), row("g", "(3)|7)|3)|7)")],
)
CLUSTERS = (
    ((0, 2), (3, 3)),
    ((1, 1), (4, 6), (6, 6)),
    ((1, 3),),
    ((4, 6), (5, 6)),
)


def read(tmp_path, text, split="train"):
    source = OntoNotes(path=tmp_path)
    (tmp_path / source.files[("train", "validation", "test").index(split)]).write_text(text)
    return source.load(split)


def test_mentions_within_one_another_and_across_each_other(tmp_path):
    found = read(tmp_path, NESTED + document([row("h", "(0)"), row("i")], part="001"))
    first, second = found.documents
    assert (first.name, first.part, first.genre) == ("bc/a/00/a_0000", "000", "bc")
    assert first.words == tuple("abcdefg")
    assert first.speakers == ("Ann", "Ann", "Ann", "-", "-", "-", "-")
    assert first.sentences == (0, 0, 0, 0, 1, 1, 1)
    # That of 4 to 6 stands in two clusters, and counts in the first one that ends.
    assert first.clusters == (*CLUSTERS[:3], ((5, 6),))
    assert (second.part, second.words, second.clusters) == ("001", ("h", "i"), (((0, 0),),))
    assert (len(found), found.labelled, found.description[:8]) == (2, True, "train of")


def test_what_is_written_is_read_again(tmp_path):
    words = {"words": tuple("abcdefg"), "speakers": ("Ann",) * 7, "sentences": (0, 0, 1, 1, 1, 1, 2)}
    clusters = (((0, 0), (2, 5), (2, 3)), ((0, 1), (2, 2)), ((3, 5), (5, 5), (6, 6)))
    documents = [CoreferenceDocument(name="nw/x", part="002", **words, clusters=())]
    file = tmp_path / "test.english.v4_gold_conll"
    write_clusters(file, documents, [clusters])
    again = OntoNotes(path=tmp_path).load("test").documents[0]
    assert [set(cluster) for cluster in again.clusters] == [set(cluster) for cluster in clusters]
    assert (again.name, again.part, again.words) == ("nw/x", "002", words["words"])
    assert (again.speakers, again.sentences) == (words["speakers"], words["sentences"])
    lines = file.read_text().split("\n")
    assert lines[0] == "#begin document (nw/x); part 002"
    assert lines[1].split() == ["nw/x", "2", "0", "a", "-", "-", "-", "-", "-", "Ann", "*", "(1|(0)"]
    # The longest is first of what begins at a word, and last of what ends there.
    assert [line.split()[-1] for line in lines if line.startswith("nw/x")] == [
        *("(1|(0)", "1)", "(0|(0|(1)", "(2|0)", "-", "(2)|2)|0)", "(2)")
    ]
    assert lines[-3:] == ["", "#end document", ""]


def test_a_test_file_may_have_no_mentions(tmp_path):
    assert not read(tmp_path, document([row("a")]), "test").labelled


REFUSED = {
    "no document": ("\n", "has no document"),
    "no mention": (document([row("a")]), "has no mention in its last column"),
    "a word outside": (row("a"), "line 1 should begin a document, as"),
    "few columns": (document(["bc/a 0 0 a (0)\n"]), "line 2 should have at least 12 columns, got 'bc/a 0 0 a (0)'"),
    "no bracket": (document([row("a", "12")]), "line 2 has '12' in its last column, which should be as"),
    "no number": (document([row("a", "(x)")]), "line 2 has '(x)' in its last column"),
    "an end without a beginning": (document([row("a", "3)")]), "line 2 ends a mention of 3 that has not begun"),
    "no end": (document([row("a", "(3")]), "line 4 ends a document in which a mention of 3 has not ended"),
    "no end of the document": ("#begin document (a); part 000\n" + row("a", "(3)"), "ends within document a"),
    "one in another": ("#begin document (a); part 000\n" + NESTED, "line 2 begins a document within another"),
    "an end of none": ("#end document\n", "line 1 ends a document that has not begun"),
    "no word": ("#begin document (a); part 000\n#end document\n", "line 2 ends a document without a word"),
}


@pytest.mark.parametrize("text, message", REFUSED.values(), ids=REFUSED)
def test_files_that_are_refused(text, message, tmp_path):
    with pytest.raises(ValueError, match=re.escape(message)):
        read(tmp_path, text)
