"""Mixtures of text-to-text tasks: rates, what is learned and what is asked, and batches that are functions of the step."""

import collections
import dataclasses

import numpy as np
import pytest
from text_to_text_examples import EXAMPLES
from text_to_text_files import write_released

from efficient_attn.data import SentencePieces, Texts
from efficient_attn.data.packing import pack_pairs
from efficient_attn.data.text_to_text import EN_MIX, MixtureBatches, TextMixture, mixing_rates, shortened

pytest.importorskip("sentencepiece")


def test_rates_are_in_proportion_up_to_a_limit():
    # T5's own numbers: the largest task is MNLI, and the limit above it changes nothing.
    sizes = {"mnli": 392_702, "rte": 2490, "wsc": 259}
    whole = sum(sizes.values())
    assert mixing_rates(sizes) == pytest.approx({name: size / whole for name, size in sizes.items()})
    assert mixing_rates(sizes, limit=1000) == pytest.approx(
        {"mnli": 1000 / 2259, "rte": 1000 / 2259, "wsc": 259 / 2259}
    )
    roots = {name: size**0.5 for name, size in sizes.items()}
    assert mixing_rates(sizes, None, 2.0) == pytest.approx({n: r / sum(roots.values()) for n, r in roots.items()})
    for bad in ({}, {"a": 0}):
        with pytest.raises(ValueError, match="every task of a mixture needs examples"):
            mixing_rates(bad)
    with pytest.raises(ValueError, match=r"limit and temperature must be positive, got 0 and 1\.0"):
        mixing_rates(sizes, 0)


@pytest.fixture(scope="module")
def mixture(tmp_path_factory):
    """All tasks, in pieces of their own text."""
    released = write_released(tmp_path_factory.mktemp("released"), EXAMPLES)
    subwords = SentencePieces(file=tmp_path_factory.mktemp("pieces") / "x.model", coverage=1.0)
    source = TextMixture(benchmarks=released, subwords=subwords)
    subwords.fit(source.sentences("train"), 700).save(subwords.file)
    return source


def test_a_mixture_learns_every_right_answer(mixture):
    split = mixture.load("train")
    sizes = {name: len(pairs) for name, pairs in split.learned.items()}
    # Four of ReCoRD's queries have two answers, half of WSC's examples have none, and MNLI's other set is not trained on.
    expected = dict.fromkeys(EN_MIX, 20) | {"super_glue_record": 24, "super_glue_wsc": 10}
    expected.pop("glue_mnli_mismatched")
    assert sizes == expected
    assert split.rates["super_glue_wsc"] == pytest.approx(10 / sum(sizes.values()))
    held_out = mixture.load("validation")
    assert len(held_out.asked) == len(held_out) == 20 * 17
    assert held_out.answered.sum() == 20 * 17 - 10
    assert held_out.asked.pairs.target[-2:] == ["The rope", ""]
    assert "glue_cola 20, glue_sst2 20" in held_out.description
    assert not mixture.load("test").answered.any()


def test_the_fingerprint_is_of_tasks_and_files(mixture, tmp_path):
    assert mixture.fingerprint() != dataclasses.replace(mixture, tasks=EN_MIX[:3]).fingerprint()
    moved = write_released(tmp_path, EXAMPLES)
    assert mixture.fingerprint() == dataclasses.replace(mixture, benchmarks=moved).fingerprint()
    (tmp_path / "super_glue" / "CB" / "val.jsonl").write_text("{}\n")
    assert mixture.fingerprint() != dataclasses.replace(mixture, benchmarks=moved).fingerprint()


def test_tasks_that_are_not_there(mixture):
    for tasks in ((), ("glue_wnli",), ("glue_rte", "glue_rte")):
        with pytest.raises(ValueError, match=r"tasks must be some of glue_cola, .*, each once"):
            dataclasses.replace(mixture, tasks=tasks)
    with pytest.raises(ValueError, match="none of glue_mnli_mismatched has a train split"):
        dataclasses.replace(mixture, tasks=("glue_mnli_mismatched",)).load("train")


def batches(mixture, widths=(64, 16), **fields):
    split = mixture.load("train")
    own = dict(pairs=split.learned, rates=split.rates, widths=widths, batch_size=4, seed=3)
    return MixtureBatches(**(own | fields))


def pairs_in(batch):
    """The sources and targets of every pair of a batch, each with its row."""
    for row in range(len(batch["source"])):
        for segment in range(1, batch["source_segments"][row].max() + 1):
            sides = []
            for side in ("source", "target"):
                inside = batch[f"{side}_segments"][row] == segment
                np.testing.assert_array_equal(batch[f"{side}_positions"][row][inside], np.arange(inside.sum()))
                sides.append(tuple(batch[side][row][inside].tolist()))
            yield row, tuple(sides)


def test_every_pair_is_seen_at_the_rate_of_its_task(mixture):
    few = ("glue_rte", "super_glue_record", "super_glue_wsc")
    pairs = {name: mixture.load("train").learned[name] for name in few}
    rates = {"glue_rte": 0.5, "super_glue_record": 0.3, "super_glue_wsc": 0.2}
    made = batches(mixture, pairs=pairs, rates=rates, widths=(90, 24), batch_size=1)
    place = {
        (tuple(some.source[n].tolist()), tuple(some.target[n].tolist())): (name, n)
        for name, some in pairs.items()
        for n in range(len(some))
    }
    seen = collections.Counter(place[pair] for step in range(400) for _, pair in pairs_in(made.at(step)))
    assert len(seen) == sum(map(len, pairs.values())) == len(place)
    total = sum(seen.values())
    for name, rate in rates.items():
        share = sum(count for (task, _), count in seen.items() if task == name) / total
        assert share == pytest.approx(rate, abs=0.02)
        # Each pair of a task as often as the others, but for the last time through.
        counts = [seen[name, n] for n in range(len(pairs[name]))]
        assert max(counts) - min(counts) <= 1


def test_batches_are_functions_of_seed_step_and_process(mixture):
    made = batches(mixture)
    later = made.iterate(5)
    for step in (5, 6):
        found = next(later)
        halves = [batches(mixture, process_index=n, process_count=2).at(step) for n in (0, 1)]
        for name, whole in made.at(step).items():
            np.testing.assert_array_equal(found[name], whole)
            np.testing.assert_array_equal(np.concatenate([half[name] for half in halves]), whole)
    assert made.at(0)["source"].shape == (4, 64)
    assert made.at(0)["target"].shape == (4, 16)
    assert not np.array_equal(made.at(0)["source"], made.at(made.rows_per_epoch)["source"])
    assert not np.array_equal(made.at(0)["source"], batches(mixture, seed=4).at(0)["source"])
    with pytest.raises(ValueError, match="pairs and rates should be of the same tasks"):
        batches(mixture, rates={"glue_rte": 1.0})


def test_rows_hold_as_many_pairs_as_fit_on_both_sides():
    # Sources would fill two rows; targets need three.
    lengths = np.array([[4, 3], [4, 3], [4, 3], [4, 3], [4, 3]])
    assert pack_pairs(lengths, (12, 6)).tolist() == [0, 0, 1, 1, 2]
    assert pack_pairs(lengths, (12, 9)).tolist() == [0, 0, 0, 1, 1]
    with pytest.raises(ValueError, match=r"a text has 4 tokens, but a row holds \(12, 2\)"):
        pack_pairs(lengths, (12, 2))


def test_longer_texts_are_cut_and_keep_their_end(mixture):
    made = batches(mixture, widths=(20, 4))
    lengths = np.concatenate([pairs.lengths for pairs in made.pairs.values()])
    assert made.cut == tuple((lengths > np.array([20, 4])).sum(axis=0).tolist())
    assert 0 < made.cut[0] < len(lengths)
    assert 0 < made.cut[1] < len(lengths)
    seen = list(pairs_in(made.at(0)))
    assert all(pair[side][-1] == 1 for _, pair in seen for side in (0, 1))
    texts = Texts(tokens=np.array([5, 6, 1, 7, 1, 8, 9, 5, 1], np.uint16), ends=np.array([3, 5, 9]))
    cut = shortened(texts, 2)
    assert [cut[n].tolist() for n in range(3)] == [[5, 1], [7, 1], [8, 1]]
    assert [texts[n].tolist() for n in range(3)] == [[5, 6, 1], [7, 1], [8, 9, 5, 1]]
    assert shortened(texts, 4) is texts
