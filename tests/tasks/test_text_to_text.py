"""Text-to-text tasks: scores by hand and by scikit-learn, files that benchmarks take, and models that learn every task by heart."""

import dataclasses
import json
import logging

import numpy as np
import pytest
from text_to_text_examples import EXAMPLES
from text_to_text_files import write_released

from efficient_attn.data import SentencePieces
from efficient_attn.data.text_to_text import EN_MIX, TEXT_TASKS, TextMixture
from efficient_attn.data.text_to_text.submissions import write_answers
from efficient_attn.experiment import evaluate, train
from efficient_attn.models import Seq2SeqConfig
from efficient_attn.results.synthesizer import GLUE, SUPERGLUE
from efficient_attn.tasks.text_to_text import answers, benchmark_averages, same_referent, task_scores
from efficient_attn.text_to_text_experiment import TextToTextExperiment
from efficient_attn.training import AdamW, Cosine, Schedule

pytest.importorskip("sentencepiece")
metrics = pytest.importorskip("sklearn.metrics")

VOCAB = 700


def scores(name, examples, written):
    task = TEXT_TASKS[name]
    return task_scores(task, examples, answers(task, examples, written))


def labelled(*labels):
    return [{"label": label} for label in labels]


def test_classes_are_right_or_not():
    found = scores("glue_mnli", labelled(0, 1, 2, 2), ["entailment", "neutral", "entailment", "Contradiction"])
    assert found == {"accuracy": 0.5}


def test_what_is_no_label_is_wrong():
    # Equivalent four times, of which two are found, one is missed and one has no label; one of two others has none either.
    right = [1, 1, 1, 1, 0, 0]
    written = ["equivalent", "equivalent", "not_equivalent", "equal", "not_equivalent", ""]
    found = scores("glue_mrpc", labelled(*right), written)
    assert found == {"f1": pytest.approx(2 * 2 / (2 * 2 + 2 + 1)), "accuracy": 0.5}
    assert found["f1"] == pytest.approx(metrics.f1_score(right, [1, 1, 0, 0, 0, 1]))


def test_matthews_correlation_and_f1_of_three_classes():
    right, written = [1, 1, 0, 0, 1], ["acceptable", "unacceptable", "unacceptable", "x", "acceptable"]
    found = scores("glue_cola", labelled(*right), written)
    assert found["mcc"] == pytest.approx(metrics.matthews_corrcoef(right, [1, 0, 0, -1, 1]))
    right, written = [0, 0, 1, 2, 2], ["entailment", "neutral", "contradiction", "neutral", "no"]
    found = scores("super_glue_cb", labelled(*right), written)
    # F1 of each: 2/3, 1, 2 / (2 + 1 + 1).
    assert found == {"macro_f1": pytest.approx((2 / 3 + 1 + 1 / 2) / 3), "accuracy": 0.6}


def test_similarities_are_correlated():
    task = TEXT_TASKS["glue_stsb"]
    examples, written = labelled(5.0, 0.0, 2.5, 3.75), ["5.0", "0.2", "two", "nan"]
    assert answers(task, examples, written) == [5.0, 0.2, -1.0, -1.0]
    found = scores(task.name, examples, written)
    expected = np.corrcoef([5.0, 0.2, -1.0, -1.0], [5.0, 0.0, 2.5, 3.75])[0, 1]
    # Ranks 4, 3, 1.5, 1.5 beside 4, 1, 2, 3.
    assert found == {"pearson": pytest.approx(expected), "spearman": pytest.approx(1.5 / np.sqrt(4.5 * 5))}


def test_answers_of_multirc():
    places = [(0, 0), (0, 0), (0, 0), (0, 1), (1, 0), (1, 0)]
    right = [1, 0, 1, 1, 0, 0]
    examples = [
        {"label": label, "idx": {"paragraph": p, "question": q, "answer": n}}
        for n, ((p, q), label) in enumerate(zip(places, right, strict=True))
    ]
    written = ["True", "False", "False", "True", "False", "perhaps"]
    # Two of three right ones are found, and one wrong one is as good as named. The second question is answered without a mistake;
    # the third has an answer that is none.
    found = scores("super_glue_multirc", examples, written)
    assert found == {"f1a": pytest.approx(2 * 2 / (2 * 2 + 1 + 1)), "exact": pytest.approx(1 / 3)}


def test_entities_of_record():
    examples = [{"answers": ["The Bank of England", "BoE"]}, {"answers": ["Ann Lee"]}, {"answers": ["Oslo"]}]
    found = scores("super_glue_record", examples, ["bank of England.", "Lee", "Bergen"])
    assert found == {"f1": pytest.approx((1 + 2 / 3 + 0) / 3), "exact": pytest.approx(1 / 3)}


@pytest.mark.parametrize(
    ("written", "referent", "same"),
    [
        ("the cat", "The cat", True),
        ("cat", "his old cat", True),
        ("fuzzy bunny", "the bunny", True),
        ("Bob", "Bob's hat", False),
        ("Bob's hat", "hat", False),
        ("the dog", "the cat", False),
        ("old dog", "old cat", False),
        ("", "Bob", False),
    ],
)
def test_which_outputs_name_a_referent(written, referent, same):
    assert same_referent(written, referent) is same


def test_wrong_referents_are_not_to_be_named():
    examples = [
        {"span1_text": name, "label": label} for name, label in (("Bob", 1), ("Bob", 0), ("Tom", 0), ("Tom", 1))
    ]
    assert scores("super_glue_wsc", examples, ["Bob", "Tom", "Tom", "Sue"]) == {"accuracy": 0.5}


@pytest.mark.parametrize(
    ("name", "said", "expected"),
    [
        ("glue_cola", [1, -1], ["0\t1", "1\t0"]),
        ("glue_stsb", [5.4, 3.75], ["0\t5.000", "1\t3.750"]),
        ("glue_qnli", [1, -1], ["0\tnot_entailment", "1\tentailment"]),
        ("super_glue_boolq", [1, 0], [{"idx": 0, "label": "true"}, {"idx": 1, "label": "false"}]),
        ("super_glue_copa", [1, -1], [{"idx": 0, "label": 1}, {"idx": 1, "label": 0}]),
        ("super_glue_cb", [2, 1], [{"idx": 0, "label": "neutral"}, {"idx": 1, "label": "contradiction"}]),
        ("super_glue_wsc", [1, 0], [{"idx": 0, "label": "True"}, {"idx": 1, "label": "False"}]),
        ("super_glue_record", ["Holt", "Turin"], [{"idx": 0, "label": "Holt"}, {"idx": 1, "label": "Turin"}]),
    ],
)
def test_what_benchmarks_take(name, said, expected, tmp_path):
    task = TEXT_TASKS[name]
    write_answers(tmp_path / "new", task, EXAMPLES[name][:2], said)
    lines = (tmp_path / "new" / task.submission).read_text().splitlines()
    found = lines[1:] if task.benchmark == "glue" else list(map(json.loads, lines))
    assert found == expected


def test_answers_of_multirc_go_below_their_questions(tmp_path):
    task, some = TEXT_TASKS["super_glue_multirc"], EXAMPLES["super_glue_multirc"]
    chosen = [some[0], some[1], some[4], some[12]]
    write_answers(tmp_path, task, chosen, [1, 0, -1, 1])
    lines = [json.loads(line) for line in (tmp_path / "MultiRC.jsonl").read_text().splitlines()]
    first = [
        {"idx": 0, "answers": [{"idx": 0, "label": 1}, {"idx": 1, "label": 0}]},
        {"idx": 1, "answers": [{"idx": 4, "label": 0}]},
    ]
    assert lines == [
        {"idx": 0, "passage": {"questions": first}},
        {"idx": 1, "passage": {"questions": [{"idx": 3, "answers": [{"idx": 12, "label": 1}]}]}},
    ]


COLUMNS = {"glue": ("GLUE", GLUE), "super_glue": ("SuperGLUE", SUPERGLUE)}


@pytest.mark.parametrize("benchmark", COLUMNS)
def test_averages_are_those_of_the_published_rows(benchmark):
    # A task of two figures counts as their mean; averages are printed to one digit.
    _, table = COLUMNS[benchmark]
    for row in table.rows:
        found = {}
        for task in TEXT_TASKS.values():
            if task.benchmark != benchmark:
                continue
            figures = [float(x) for x in row.published[task.column].split("/")]
            if task.column == "MNLI":
                figures = figures[1:] if "mismatched" in task.name else figures[:1]
            found[task.name] = dict(zip(task.metrics, figures, strict=True))
        averages = benchmark_averages(found)
        assert averages == {f"{benchmark}_average": pytest.approx(float(row.published["avg"]), abs=0.15)}
        assert benchmark_averages(dict(list(found.items())[1:])) == {}


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """All tasks, every split of which has the same twenty examples, in pieces of their own text."""
    folder = tmp_path_factory.mktemp("benchmarks")
    subwords = SentencePieces(file=folder / "x.model", coverage=1.0)
    mixture = TextMixture(benchmarks=write_released(folder, EXAMPLES), subwords=subwords)
    subwords.fit(mixture.sentences("train"), VOCAB).save(subwords.file)
    return mixture


def experiment(source, tasks, **changes):
    model = Seq2SeqConfig(
        vocab=VOCAB, width=64, ff_width=128, heads=2, encoder_depth=1, decoder_depth=1, longest=128, norm="pre",
        bos_token=3, dropout=0.0,
    )  # fmt: skip
    fields = dict(
        model=model,
        source=dataclasses.replace(source, tasks=tuple(tasks)),
        context=128,
        target_context=64,
        longest_output=12,
        batch_size=8,
        steps=120,
        eval_batch_size=40,
        schedule=Schedule(peak=5e-3, warmup_steps=20, decay=Cosine(final=0.1)),
        optimizer=AdamW(b2=0.98),
        tensorboard="off",
    )
    return TextToTextExperiment(**(fields | changes))


@pytest.fixture(scope="module")
def learned(source, tmp_path_factory):
    """A model that knows two tasks by heart: its config, workdir and report."""
    config = experiment(source, ("glue_rte", "super_glue_wsc"))
    workdir = str(tmp_path_factory.mktemp("runs") / "learned")
    return config, workdir, train(config, workdir)


def test_it_learns_tasks_together(learned):
    config, workdir, report = learned
    assert min(report[f"{task}_accuracy"] for task in ("glue_rte", "super_glue_wsc")) >= 0.95
    assert report["loss"] < 0.2
    found = evaluate(config, workdir, "validation")
    assert found.items() >= {name: value for name, value in report.items() if name != "workdir"}.items()
    assert (found["examples"], found["cut_sources"], found["cut_targets"]) == (40, 0, 0)
    # Targets of right referents alone have a likelihood.
    split = config.source.load("validation")
    assert found["tokens"] == split.asked.target.lengths[split.answered].sum()
    # Whole benchmarks were not scored.
    assert not any("average" in name for name in found)


def test_predictions_are_files_for_the_benchmarks(learned, tmp_path):
    config, workdir, _ = learned
    with pytest.raises(ValueError, match="there is nothing to score, as the data has no labels"):
        evaluate(config, workdir, "test")
    report = evaluate(config, workdir, "test", predictions=str(tmp_path / "said"))
    assert "loss" not in report
    assert report["examples"] == 40
    assert {path.name for path in (tmp_path / "said").iterdir()} == {"RTE.tsv", "WSC.jsonl"}
    lines = (tmp_path / "said" / "RTE.tsv").read_text().splitlines()
    assert (lines[0], lines[1].split("\t")) == ("index\tprediction", ["0", "entailment"])
    referents = [json.loads(line)["label"] for line in (tmp_path / "said" / "WSC.jsonl").read_text().splitlines()]
    assert referents[:4] == ["True", "False", "True", "False"]


def test_a_run_begins_from_another_and_goes_on(learned, source, tmp_path):
    config, workdir, _ = learned
    begun = dataclasses.replace(config, start=workdir, steps=2, schedule=Schedule(peak=1e-9))
    report = train(begun, str(tmp_path / "begun"))
    assert report["glue_rte_accuracy"] >= 0.95
    with pytest.raises(ValueError, match="width differ"):
        wide = dataclasses.replace(config.model, width=32)
        evaluate(dataclasses.replace(config, model=wide), workdir, "validation")


def test_long_texts_are_cut_and_counted(source, caplog):
    config = experiment(source, EN_MIX, context=40, target_context=5)
    with caplog.at_level(logging.WARNING):
        batches = config.reading.batches(config.source.load("train"))
    assert all(batches.cut)
    assert (
        f"of 314 pairs {batches.cut[0]} sources are cut to 40 tokens and {batches.cut[1]} targets to 5" in caplog.text
    )
    split = config.source.load("validation")
    assert config.reading.yardstick(split)["cut_sources"] == (split.asked.source.lengths > 40).sum() > 0
    assert {name: array.shape for name, array in config.reading.blank().items()} == {
        f"{side}{what}": (1, width)
        for side, width in (("source", 40), ("target", 5))
        for what in ("", "_segments", "_positions")
    }


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"context": 129}, "row of training texts of 1 to 128 tokens, got 129"),
        ({"target_context": 200}, "row of training targets of 1 to 128 tokens, got 200"),
        ({"longest_output": 0}, "longest_output of 1 to 128 tokens, got 0"),
        ({"label_smoothing": 1.0}, r"label_smoothing must be in \[0, 1\), got 1.0"),
    ],
)
def test_choices_that_do_not_fit_are_refused(source, changes, reason):
    with pytest.raises(ValueError, match=reason):
        experiment(source, EN_MIX, **changes)


# Longer than ten seconds each.
@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in EN_MIX if name != "glue_mnli_mismatched"])
def test_every_task_is_learned_by_heart(source, name, tmp_path):
    report = train(experiment(source, [name]), str(tmp_path))
    assert min(report[f"{name}_{metric}"] for metric in TEXT_TASKS[name].metrics) >= 0.95


@pytest.mark.slow
def test_all_tasks_are_learned_by_heart_at_once(source, tmp_path):
    report = train(experiment(source, EN_MIX, steps=600, batch_size=16), str(tmp_path))
    for name, task in TEXT_TASKS.items():
        if name != "glue_mnli_mismatched":
            assert min(report[f"{name}_{metric}"] for metric in task.metrics) >= 0.95
    assert report["super_glue_average"] >= 0.95
    assert report["glue_average"] >= 0.95
