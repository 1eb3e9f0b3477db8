"""Questions about several paragraphs: what is read, what is learned of it, HotpotQA's scores, and what is refused."""

import dataclasses
import json

import jax.numpy as jnp
import numpy as np
import pytest
from fine_tuned import SPECIAL, WORDS, write_tokenizer

from efficient_attn.data import HotpotQA
from efficient_attn.evidence_reading import Concluding
from efficient_attn.fine_tuning_experiment import FineTuningExperiment
from efficient_attn.models import EncoderConfig, EncoderOutput, Longformer
from efficient_attn.nn.text_embedding import CountedPositions
from efficient_attn.tasks.evidence import EvidenceLoss, evidence_scores
from efficient_attn.training import Schedule

pytest.importorskip("tokenizers")
pytestmark = pytest.mark.fast

SIZE = len(SPECIAL) + len(WORDS)
ITEM = {
    "_id": "x1",
    "question": "is ab",
    "answer": "gh ij",
    "supporting_facts": [["the", 1], ["of", 0]],
    "context": [["the", ["ab cd", "ef gh ij"]], ["of", ["gh ij kl"]], ["in", ["gh ij"]]],
}


def number(word):
    return (*SPECIAL, *WORDS).index(word)


# Arrays as wide as the data has candidates.
CHANGING = ()


@pytest.fixture
def folder(tmp_path):
    write_tokenizer(tmp_path)
    yes = ITEM | {"_id": "x2", "answer": "yes"}
    for name in ("hotpot_train_v1.1.json", "hotpot_dev_distractor_v1.json"):
        (tmp_path / name).write_text(json.dumps([ITEM, yes]))
    return tmp_path


def experiment(folder, context=40, **changes):
    model = EncoderConfig(
        **{"vocab": SIZE + 5, "pad_token": 1, "positions": CountedPositions(rows=50), "labels": ("span", "yes", "no")},
        **{"depth": 1, "width": 8, "heads": 2, "ff_width": 16, "head": "evidence"},
    )
    fields = {"batch_size": 2, "steps": 1, "schedule": Schedule(peak=1e-3), "source": HotpotQA(path=str(folder))}
    return FineTuningExperiment(**{"model": model, "tokenizer": str(folder), "context": context} | fields | changes)


def test_what_is_read_and_learned(folder):
    config = experiment(folder)
    examples = config.reading.encoded(config.source.load("train"))
    q, q_end, t, t_end, s = range(SIZE, SIZE + 5)
    words = lambda text: [number(word) for word in text.split()]  # noqa: E731
    page = [0, q, *words("is ab"), q_end, t, *words("the"), t_end, *words("ab cd"), s, *words("ef gh ij"), s]
    page += [t, *words("of"), t_end, *words("gh ij kl"), s, t, *words("in"), t_end, *words("gh ij"), s, 2]
    arrays = examples.arrays
    assert arrays["tokens"][0, : len(page)].tolist() == page
    assert examples.lengths.tolist() == [len(page)] * 2
    assert np.flatnonzero(arrays["marks"][0] == 1).tolist() == [5, 15, 22]
    assert np.flatnonzero(arrays["marks"][0] == 2).tolist() == [10, 14, 21, 27]
    assert np.flatnonzero(arrays["marks"][0] == 3).tolist() == [0, 1, 2, 3, 4]
    assert np.flatnonzero(arrays["facts"][0]).tolist() == [5, 14, 15, 21]
    assert arrays["kinds"].tolist() == [0, 1]
    # Where the answer stands in the sentences that answer, and not in the third paragraph.
    assert arrays["targets"][0, :3].tolist() == [[12, 13], [18, 19], [-1, -1]]
    assert (arrays["targets"][1] == -1).all()


def test_what_does_not_fit_is_left_out(folder):
    config = experiment(folder, context=16)
    examples = config.reading.encoded(config.source.load("train"))
    assert (examples.truncated, examples.lengths.tolist()) == (2, [16, 16])
    assert examples.arrays["tokens"][0, -2:].tolist() == [SIZE + 4, 2]
    assert examples.arrays["targets"][0, :2].tolist() == [[12, 13], [-1, -1]]


def test_paragraphs_in_parts_with_the_question_before_each(folder):
    config = experiment(folder, context=20, concluding=Concluding(parts=3))
    split = config.source.load("train")
    examples = config.reading.encoded(split)
    q, q_end, t, t_end, s = range(SIZE, SIZE + 5)
    words = lambda text: [number(word) for word in text.split()]  # noqa: E731
    begin = [0, q, *words("is ab"), q_end]
    first = [*begin, t, *words("the"), t_end, *words("ab cd"), s, *words("ef gh ij"), s, 2]
    # The second and the third paragraph have room in one part.
    second = [*begin, t, *words("of"), t_end, *words("gh ij kl"), s, t, *words("in"), t_end, *words("gh ij"), s, 2]
    arrays = examples.arrays
    assert examples.lengths.tolist() == [[len(first), len(second), 0]] * 2
    assert examples.truncated == 0
    assert arrays["tokens"][0].tolist() == [[*part, *[1] * (20 - len(part))] for part in (first, second, [])]
    assert np.flatnonzero(arrays["marks"][0].ravel() == 1).tolist() == [5, 25, 32]
    assert np.flatnonzero(arrays["facts"][0].ravel()).tolist() == [5, 14, 25, 31]
    assert arrays["targets"][0, :3].tolist() == [[12, 13], [28, 29], [-1, -1]]
    shapes = lambda batch: {name: (x.shape[1:], x.dtype) for name, x in batch.items()}  # noqa: E731
    assert shapes(config.reading.blank()) == shapes(config.reading.batches(split).at(0))
    # An answer and its sentences are found in their parts.
    results = {name: np.zeros((2, 60), np.float32) for name in ("start_logits", "end_logits")}
    results |= {"logits": np.eye(3, dtype=np.float32)[:2], "evidence_logits": arrays["facts"].reshape(2, -1) * 2.0 - 1}
    results["start_logits"][0, 28] = results["end_logits"][0, 29] = 5
    scores = config.reading.predictions(split, examples, results).scores
    assert scores["joint_f1"] == 1.0


def test_parts_are_learned_as_one_text_and_the_kind_by_their_mean():
    rng = np.random.default_rng(3)
    kind, start, end, marked = (
        jnp.asarray(rng.normal(size=shape)) for shape in ((2, 3, 3), (2, 3, 4), (2, 3, 4), (2, 3, 4, 2))
    )
    logits = {"logits": kind, "start_logits": start, "end_logits": end, "evidence_logits": marked}
    valid = np.ones((2, 3, 4), bool)
    valid[0, 2] = False
    batch = {
        "targets": jnp.array([[[1, 5], [-1, -1]], [[10, 11], [2, 3]]]),
        "kinds": jnp.array([0, 0]),
        "valid": jnp.asarray(valid),
        "marks": jnp.asarray(rng.integers(0, 4, (2, 3, 4)) * valid),
        "facts": jnp.asarray(rng.integers(0, 2, (2, 3, 4)) * valid),
    }
    parts = EncoderOutput(last_hidden_state=jnp.zeros((2, 3, 4, 1)), pooler_output=jnp.zeros((2, 3, 1)), **logits)
    flat = {name: x.reshape(2, 12, *x.shape[3:]) for name, x in logits.items() if name != "logits"}
    mean = jnp.stack([kind[0, :2].mean(0), kind[1].mean(0)])
    whole = EncoderOutput(last_hidden_state=jnp.zeros((2, 12, 1)), logits=mean, **flat)
    one = batch | {name: batch[name].reshape(2, 12) for name in ("valid", "marks", "facts")}
    np.testing.assert_allclose(EvidenceLoss()(parts, batch), EvidenceLoss()(whole, one), rtol=1e-6)
    found, expected = EvidenceLoss().results(parts, batch), EvidenceLoss().results(whole, one)
    assert {name: x.shape for name, x in found.items()} == {name: x.shape for name, x in expected.items()}
    for name, x in expected.items():
        np.testing.assert_allclose(found[name], x, rtol=1e-6)


def test_the_loss_is_of_kind_place_titles_and_sentences():
    rng = np.random.default_rng(0)
    start, end, marked = (jnp.asarray(rng.normal(size=shape)) for shape in ((2, 6), (2, 6), (2, 6, 2)))
    kind = jnp.asarray(rng.normal(size=(2, 3)))
    output = EncoderOutput(
        last_hidden_state=jnp.zeros((2, 6, 1)),
        **{"logits": kind, "start_logits": start, "end_logits": end, "evidence_logits": marked},
    )
    targets = np.full((2, 2, 2), -1)
    targets[0, 0] = [1, 2]
    batch = {
        "targets": jnp.asarray(targets),
        "kinds": jnp.array([0, 2]),
        "valid": jnp.ones((2, 6), bool),
        "marks": jnp.array([[3, 1, 2, 0, 1, 2], [1, 2, 2, 2, 0, 0]]),
        "facts": jnp.array([[0, 1, 0, 0, 0, 1], [1, 0, 1, 0, 0, 0]]),
    }
    found = EvidenceLoss()(output, batch)
    logs = lambda x: x - np.log(np.exp(x).sum(-1, keepdims=True))  # noqa: E731
    sigmoid = lambda x, right: np.log1p(np.exp(-x if right else x))  # noqa: E731
    places = -(logs(start)[0, 1] + logs(end)[0, 2]) / 2
    first = -logs(kind)[0, 0] + places
    first += (sigmoid(marked[0, 1, 0], 1) + sigmoid(marked[0, 4, 0], 0)) / 2
    first += (sigmoid(marked[0, 2, 1], 0) + sigmoid(marked[0, 5, 1], 1)) / 2
    second = -logs(kind)[1, 2] + sigmoid(marked[1, 0, 0], 1)
    second += sum(sigmoid(marked[1, n, 1], right) for n, right in ((1, 0), (2, 1), (3, 0))) / 3
    np.testing.assert_allclose(found, [first, second], rtol=1e-5)


def test_scores_as_the_official_script_gives_them():
    """By hand: one right whole, one with half the words and two of three sentences, one that says no in place of a span."""
    right = {
        "a": ("The Beatles", {("x", 0), ("y", 1)}),
        "b": ("new york city", {("x", 0), ("y", 1)}),
        "c": ("a dog", {("x", 0)}),
    }
    found = {
        "a": ("beatles!", {("y", 1), ("x", 0)}),
        "b": ("york", {("x", 0), ("y", 1), ("z", 2)}),
        "c": ("no", {("z", 0)}),
    }
    scores = evidence_scores(found, right)
    f1 = 2 * 1 * (1 / 3) / (1 + 1 / 3)
    facts = 2 * (2 / 3) / (1 + 2 / 3)
    precision, recall = 2 / 3, 1 / 3
    assert scores == pytest.approx(
        {
            "exact": 1 / 3,
            "f1": (1 + f1) / 3,
            "facts_exact": 1 / 3,
            "facts_f1": (1 + facts) / 3,
            "joint_exact": 1 / 3,
            "joint_f1": (1 + 2 * precision * recall / (precision + recall)) / 3,
        }
    )


def test_a_blank_batch_has_the_shapes_of_the_data(folder):
    config = experiment(folder)
    reading = config.reading
    shapes = lambda batch: {name: (x.shape[1:], x.dtype) for name, x in batch.items() if name not in CHANGING}  # noqa: E731
    assert shapes(reading.blank()) == shapes(reading.batches(config.source.load("train")).at(0))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "is not JSON"),
        ("[]", "should be a list of questions"),
        (json.dumps([{"_id": "y"}]), r"not in HotpotQA's format \('question'\)"),
        (json.dumps([ITEM | {"context": [["a"]]}]), "not in HotpotQA's format"),
        (json.dumps([{k: v for k, v in ITEM.items() if k != "answer"}]), "has questions without 'answer'"),
    ],
)
def test_files_that_are_refused(folder, text, reason):
    (folder / "hotpot_train_v1.1.json").write_text(text)
    with pytest.raises(ValueError, match=reason):
        HotpotQA(path=str(folder)).load("train")


def test_paragraphs_that_are_kept(folder):
    with pytest.raises(FileNotFoundError, match="writes FOLDER/SPLIT"):
        HotpotQA(path=str(folder), kept=str(folder)).load("train")
    (folder / "train.kept.json").write_text(json.dumps({"x1": ["in", "the"]}))
    with pytest.raises(ValueError, match=r"question x2 of .* is not among those whose paragraphs are kept"):
        HotpotQA(path=str(folder), kept=str(folder)).load("train")
    (folder / "train.kept.json").write_text(json.dumps({"x1": ["in", "the"], "x2": ["of"]}))
    source = HotpotQA(path=str(folder), kept=str(folder))
    assert [[p.title for p in q.paragraphs] for q in source.load("train").questions] == [["the", "in"], ["of"]]
    before = source.fingerprint()
    assert before != HotpotQA(path=str(folder)).fingerprint()


def test_choices_that_are_refused(folder):
    with pytest.raises(ValueError, match=r"concluding\.parts must be at least 1, got 0"):
        Concluding(parts=0)
    model = experiment(folder).model
    with pytest.raises(ValueError, match="labels should be these"):
        experiment(folder, model=dataclasses.replace(model, labels=("yes", "no")))
    attention = Longformer(windows=(2,), max_globals=11, sep_token=2)
    config = experiment(folder, model=dataclasses.replace(model, token_types=1, attention=attention))
    with pytest.raises(ValueError, match="12 tokens, all global: max_globals must be as many, got 11"):
        config.reading.encoded(config.source.load("train"))
