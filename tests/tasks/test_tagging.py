"""Tags of words: names and their scores worked out by hand after CoNLL's script, and the loss."""

import jax.numpy as jnp
import numpy as np
import pytest

from efficient_attn.models import EncoderOutput
from efficient_attn.tasks.tagging import TagLoss, spans, tag_scores

SPANS = {
    "O B-PER I-PER O B-LOC": {("PER", 1, 2), ("LOC", 4, 4)},
    # A name right after another of its kind, and one of another kind.
    "B-PER B-PER I-PER I-LOC": {("PER", 0, 0), ("PER", 1, 2), ("LOC", 3, 3)},
    # The first version of the scheme has B only between names of a kind.
    "I-ORG I-ORG O I-ORG": {("ORG", 0, 1), ("ORG", 3, 3)},
    "B I O": {("", 0, 1)},
    "O O": set(),
}


@pytest.mark.parametrize("tags, expected", SPANS.items(), ids=SPANS)
def test_the_names_of_tags(tags, expected):
    assert spans(tags.split()) == expected


def test_scores_by_hand():
    right = [["B-PER", "I-PER", "O", "B-LOC"], ["B-ORG", "O"], ["O", "O"]]
    found = [["B-PER", "I-PER", "O", "B-ORG"], ["B-ORG", "I-ORG"], ["O", "B-PER"]]
    # Said are PER, ORG, a longer ORG and PER; meant are PER, LOC and ORG; one is the same.
    scores = tag_scores(found, right)
    assert (scores["precision"], scores["recall"]) == (1 / 4, 1 / 3)
    assert scores["f1"] == pytest.approx(2 * (1 / 4) * (1 / 3) / (1 / 4 + 1 / 3))
    assert scores["accuracy"] == 5 / 8
    assert tag_scores([["O"]], [["O"]]) == {"precision": 0.0, "recall": 0.0, "f1": 0.0, "accuracy": 1.0}


def test_only_tagged_tokens_count():
    logits = np.random.default_rng(0).normal(size=(2, 3, 4)).astype(np.float32)
    targets = np.array([[-1, 2, -1], [0, -1, 3]])
    output = EncoderOutput(last_hidden_state=jnp.zeros((2, 3, 1)), logits=jnp.asarray(logits))
    chances = np.log(np.exp(logits) / np.exp(logits).sum(-1, keepdims=True))
    expected = [-chances[0, 1, 2], -chances[1, 0, 0] - chances[1, 2, 3]]
    batch = {"targets": jnp.asarray(targets)}
    np.testing.assert_allclose(TagLoss()(output, batch), expected, rtol=1e-5)
    np.testing.assert_array_equal(TagLoss().counts(batch), [1, 2])
