"""Encoders with heads, fine-tuned on files in official formats through ``train.py`` and scored through ``eval.py``."""

import json
from pathlib import Path

import numpy as np
import pytest
from fine_tuned import WORDS, learned, write_config, write_lines, write_table

from efficient_attn.experiment import load_config

pytest.importorskip("tokenizers")
pytest.importorskip("sklearn")

SPARSE = 'attention=Sparse(patterns=("Full()",)), '
LONGFORMER = "token_types=1, attention=Longformer(windows=(4,), max_globals=16, sep_token=2), "


def sentences(number, words=5, seed=0):
    """Sentences of random words, each another."""
    drawn = np.random.default_rng(seed).choice(WORDS[:13], (number, words))
    return [" ".join(row) for row in drawn]


def test_a_class_of_a_text(tmp_path, capsys):
    rows = [("src", n % 2, "*", text) for n, text in enumerate(sentences(20))]
    write_table(tmp_path, None, rows)
    test = [(n, text) for n, (*_, text) in enumerate(rows)]
    write_table(tmp_path, ("index", "sentence"), test, ["test.tsv"])
    source = f"GLUE(task='cola', path={str(tmp_path)!r})"
    model = SPARSE + "head='pooled_classification', labels=('0', '1'),"
    config = write_config(tmp_path, source, model)
    scores = learned(config, tmp_path, capsys)
    assert min(scores["accuracy"], scores["mcc"], scores["f1"]) >= 0.95
    assert (scores["examples"], scores["truncated"], scores["majority"]) == (20, 0, 0.5)
    # The same sentences without their labels, as the benchmark has them.
    file = tmp_path / "CoLA.tsv"
    again = learned(config, tmp_path, capsys, "--predictions", str(file), split="test")
    assert "accuracy" not in again
    lines = [line.split("\t") for line in file.read_text().splitlines()]
    assert lines[0] == ["index", "prediction"]
    assert [number for number, _ in lines[1:]] == [str(n) for n in range(20)]
    assert np.mean([int(said) == n % 2 for n, (_, said) in enumerate(lines[1:])]) >= 0.95


def test_a_class_of_a_pair_with_a_longformer(tmp_path, capsys):
    pairs = list(zip(sentences(20, seed=1), sentences(20, seed=2), strict=True))
    rows = [(n, *pair, ("entailment", "not_entailment")[n % 2]) for n, pair in enumerate(pairs)]
    write_table(tmp_path, ("index", "sentence1", "sentence2", "label"), rows)
    source = f"GLUE(task='rte', path={str(tmp_path)!r})"
    model = LONGFORMER + "head='classification', labels=('entailment', 'not_entailment'),"
    # 10 words and 4 special tokens, of which one word of the longer text is cut.
    scores = learned(write_config(tmp_path, source, model, context=13), tmp_path, capsys)
    assert scores["accuracy"] >= 0.95
    assert scores["truncated"] == 20


def test_a_number_of_a_pair(tmp_path, capsys):
    right = np.random.default_rng(3).uniform(0, 5, 20).round(2)
    rows = [{"a": a, "b": b, "score": float(s)} for a, b, s in zip(sentences(20), sentences(20), right, strict=True)]
    write_lines(tmp_path, rows)
    source = f"LabelledLines(path={str(tmp_path)!r}, text='a', pair='b', label='score', numbers=True)"
    model = SPARSE + "head='classification', labels=('score',),"
    scores = learned(write_config(tmp_path, source, model, steps=150), tmp_path, capsys)
    assert min(scores["pearson"], scores["spearman"]) >= 0.95


def questions(number, words):
    """Questions whose answer is the word after the one that is asked for, in texts of more than one window."""
    rng, items = np.random.default_rng(5), []
    for n in range(number):
        text = " ".join(rng.permutation(WORDS[:13])[:words])
        asked, answer = text.split()[n % (words - 1) :][:2]
        answers = [{"text": answer, "answer_start": text.index(answer)}]
        items.append({"context": text, "qas": [{"id": f"q{n}", "question": f"is {asked}", "answers": answers}]})
    return items


def test_answers_in_texts_of_two_windows(tmp_path, capsys):
    items = questions(19, 8)
    # Version 2: one question has no answer.
    items.append(
        {"context": "ab cd ef", "qas": [{"id": "none", "question": "wx", "answers": [], "is_impossible": True}]}
    )
    for name in ("train-v1.1.json", "dev-v1.1.json"):
        (tmp_path / name).write_text(json.dumps({"version": "v2.0", "data": [{"paragraphs": items}]}))
    source = f"SQuAD(path={str(tmp_path)!r})"
    config = write_config(tmp_path, source, LONGFORMER + "head='question_answering',", context=13, steps=200)
    text = Path(config).read_text()
    answering = "answering=Answering(question=4, stride=3, learned='any'),\n    batch_size"
    text = text.replace("batch_size", answering, 1)
    Path(config).write_text(f"from efficient_attn.answer_reading import Answering\n{text}")
    file = tmp_path / "predictions.json"
    scores = learned(config, tmp_path, capsys, "--predictions", str(file))
    assert min(scores["exact"], scores["f1"], scores["best_exact"]) >= 0.95
    # 8 words in windows of 13 - 4 - 2 tokens, of which 3 are shared.
    assert (scores["examples"], scores["windows"], scores["truncated"]) == (20, 39, 0)
    said = json.loads(file.read_text())
    assert len(said) == 20 and said["none"] == ""
    best, odds = (json.loads((tmp_path / f"predictions.{name}.json").read_text()) for name in ("nbest", "null_odds"))
    assert set(best) == set(odds) == set(said)
    for key, spans in best.items():
        assert sum(span["probability"] for span in spans) == pytest.approx(1.0)
        assert len({span["text"] for span in spans}) == len(spans) <= 21
        assert spans == sorted(spans, key=lambda span: -span["score"])
        assert said[key] == spans[0]["text"]
        assert (odds[key] > 0) == (said[key] == "")


def test_tags_of_words(tmp_path, capsys):
    # "ab,cd" is of three tokens, of which the first is tagged.
    tags = {word: ("O", "B-X", "I-X")[n % 3] for n, word in enumerate(WORDS)} | {"ab,cd": "B-Y"}
    drawn = [[*text.split(), "ab,cd"][n % 2 :] for n, text in enumerate(sentences(20))]
    lines = [[(word, "NN", tags[word]) for word in words] for words in drawn]
    text = "-DOCSTART- -X- O\n\n" + "\n".join("".join(f"{' '.join(row)}\n" for row in line) for line in lines)
    for name in ("train.txt", "valid.txt"):
        (tmp_path / name).write_text(text)
    model = SPARSE + "head='token_classification', labels=('O', 'B-X', 'I-X', 'B-Y'),"
    config = write_config(tmp_path, f"CoNLL(path={str(tmp_path)!r})", model)
    file = tmp_path / "out.txt"
    scores = learned(config, tmp_path, capsys, "--predictions", str(file))
    assert min(scores["f1"], scores["accuracy"]) >= 0.95
    assert (scores["examples"], scores["truncated"]) == (20, 0)
    first = file.read_text().split("\n\n")[0].splitlines()
    assert [row.split()[:2] for row in first] == [[word, tag] for word, _, tag in lines[0]]


def test_one_of_three_choices(tmp_path, capsys):
    drawn = [text.split() for text in sentences(60, words=3, seed=4)]
    choices = [[" ".join(text) for text in drawn[n : n + 3]] for n in range(0, 60, 3)]
    rows = [
        {"text": text, "choices": some, "label": n % 3}
        for n, (text, some) in enumerate(zip(sentences(20), choices, strict=True))
    ]
    write_lines(tmp_path, rows)
    model = LONGFORMER + "head='multiple_choice',"
    config = write_config(tmp_path, f"ChoiceLines(path={str(tmp_path)!r})", model, steps=300)
    scores = learned(config, tmp_path, capsys)
    assert scores["accuracy"] >= 0.95
    assert (scores["examples"], scores["truncated"]) == (20, 0)


def wikihop(number):
    """Questions about one word, whose answer is the word after it in one of three texts, and three or four candidates."""
    rng, items = np.random.default_rng(6), []
    for n in range(number):
        texts = [" ".join(rng.permutation(WORDS[:13])[:4]) for _ in range(3)]
        asked, answer = texts[n % 3].split()[n % 2 : n % 2 + 2]
        others = [word for word in rng.permutation(WORDS[:13]) if word != answer][: 2 + n % 2]
        candidates = [str(word) for word in rng.permutation([answer, *others])]
        items.append(
            {"id": f"w{n}", "query": f"is {asked}", "candidates": candidates, "supports": texts, "answer": answer}
        )
    return items


def marked_config(folder, source, model, marks, **fields):
    """Writes a config whose vocabulary has room for so many marks, and whose texts have more global tokens."""
    config = Path(write_config(folder, f"{source}(path={str(folder)!r})", LONGFORMER + model, **fields))
    vocab = len(WORDS) + 4
    text = config.read_text().replace(f"vocab={vocab}", f"vocab={vocab + marks}")
    config.write_text(text.replace("max_globals=16", "max_globals=24"))
    return str(config)


def test_one_of_several_candidates_after_reading_texts_in_two_parts(tmp_path, capsys):
    items = wikihop(20)
    for name in ("train.json", "dev.json"):
        (tmp_path / name).write_text(json.dumps(items))
    file = tmp_path / "predictions.json"
    model = "head='token_classification', labels=('score',),"
    config = marked_config(tmp_path, "WikiHop", model, 4, context=28, steps=300)
    text = Path(config).read_text().replace("batch_size", "choosing=Choosing(parts=2),\n    batch_size", 1)
    Path(config).write_text(f"from efficient_attn.candidate_reading import Choosing\n{text}")
    scores = learned(config, tmp_path, capsys, "--predictions", str(file))
    assert scores["accuracy"] >= 0.95
    # 14 tokens of three texts, after 14 or 17 and two separators: two parts.
    assert (scores["examples"], scores["truncated"]) == (20, 0)
    said = json.loads(file.read_text())
    assert np.mean([said[item["id"]] == item["answer"] for item in items]) >= 0.95


def hotpot(number):
    """Questions about one word, after which the answer follows in one paragraph, and whose last sentences say so."""
    rng, items = np.random.default_rng(8), []
    for n in range(number):
        paragraphs = [
            [f"{WORDS[p]} of", [" ".join(rng.permutation(WORDS[:13])[:3]) for _ in range(2)]] for p in range(3)
        ]
        first, second = rng.permutation(3)[:2]
        asked, answer = paragraphs[first][1][n % 2].split()[:2]
        facts = [[paragraphs[first][0], n % 2], [paragraphs[second][0], 1]]
        answer = ("yes", "no", answer, answer)[n % 4]
        question = f"is {asked} {WORDS[second]}"
        items.append(
            {"_id": f"h{n}", "question": question, "context": paragraphs, "answer": answer, "supporting_facts": facts}
        )
    return items


def test_answers_from_three_paragraphs_with_their_sentences_in_two_stages(tmp_path, capsys):
    items = hotpot(20)
    for name in ("hotpot_train_v1.1.json", "hotpot_dev_distractor_v1.json"):
        (tmp_path / name).write_text(json.dumps(items))
    config = marked_config(
        tmp_path, "HotpotQA", "head='evidence', labels=('span', 'yes', 'no'),", 5, context=48, steps=400
    )
    file = tmp_path / "train.json"
    scores = learned(config, tmp_path, capsys, "--predictions", str(file))
    assert min(scores["exact"], scores["facts_exact"], scores["joint_exact"], scores["joint_f1"]) >= 0.95
    assert (scores["examples"], scores["truncated"]) == (20, 0)
    said = json.loads(file.read_text())
    assert np.mean([said["answer"][item["_id"]] == item["answer"] for item in items]) >= 0.95
    assert np.mean([said["sp"][item["_id"]] == sorted(item["supporting_facts"]) for item in items]) >= 0.95
    # The second stage reads what the first has handed on.
    kept = json.loads((tmp_path / "train.kept.json").read_text())
    (tmp_path / "validation.kept.json").write_text(json.dumps(kept))
    text = Path(config).read_text().replace("HotpotQA(", f"HotpotQA(kept={str(tmp_path)!r}, ")
    # It reads in two parts what has no room in one.
    text = text.replace("context=48", "context=30,\n    concluding=Concluding(parts=2)")
    text = f"from efficient_attn.evidence_reading import Concluding\n{text}"
    second = tmp_path / "second.py"
    second.write_text(text.replace("steps=400", "steps=10"))
    learned(str(second), tmp_path / "second", capsys, split="validation")
    read = load_config(str(second)).source.load("train").questions
    assert {len(question.paragraphs) for question in read} <= {1, 2, 3}
    assert np.mean([{t for t, _ in q.facts} <= {p.title for p in q.paragraphs} for q in read]) >= 0.95
