"""RoBERTa becomes a Longformer: the same answers on short texts, and positions and projections repeated."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

import efficient_attn as ea
from efficient_attn.models.conversion import copy_to_globals, longformer_of

pytestmark = pytest.mark.fast
ENCODERS = Path(__file__).parents[1] / "golden" / "encoders"


@pytest.fixture(scope="module")
def roberta():
    return ea.load_pretrained(ENCODERS / "RobertaForMaskedLM")


def test_a_short_text_has_the_same_answers(roberta):
    longformer = longformer_of(roberta, tokens=50, window=32)
    tokens = np.random.default_rng(0).integers(2, 13, (2, 11))
    mask = np.arange(11)[None] < np.array([[11], [7]])
    expected, found = (model(tokens, mask).logits for model in (roberta, longformer))
    np.testing.assert_allclose(np.asarray(found)[mask], np.asarray(expected)[mask], atol=1e-5)


def test_positions_are_repeated_and_projections_copied(roberta, tmp_path):
    longformer = longformer_of(roberta, tokens=50, window=4)
    old, new = (np.asarray(model.embedding.positions[...]) for model in (roberta, longformer))
    assert new.shape == (52, 8)
    # Rows 0 and 1 are padding's and nobody's.
    np.testing.assert_array_equal(new[:21], old)
    np.testing.assert_array_equal(new[21:40], old[2:])
    np.testing.assert_array_equal(new[40:], old[2:14])
    (attention,) = [block.attention for block in longformer.stack.cycle]
    for name in ("query", "key", "value"):
        local, far = (getattr(attention, n).kernel[...] for n in (name, f"{name}_global"))
        np.testing.assert_array_equal(local, far)
    ea.save_pretrained(longformer, tmp_path)
    assert dataclasses.asdict(ea.load_pretrained(tmp_path).config) == dataclasses.asdict(longformer.config)


def test_projections_are_copied_again(roberta):
    longformer = longformer_of(roberta, tokens=50, window=4)
    (attention,) = [block.attention for block in longformer.stack.cycle]
    attention.query.kernel[...] = attention.query.kernel[...] + 1
    copy_to_globals(longformer)
    np.testing.assert_array_equal(attention.query.kernel[...], attention.query_global.kernel[...])


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("MPNetModel", {}, "made of an encoder with Full"),
        ("BertModel", {}, "counted positions, got"),
        ("RobertaModel", {"window": 5}, "window must be even and at least 2 tokens, got 5"),
        ("RobertaModel", {"tokens": 10}, "at least the 19 that the model has positions for, got 10"),
    ],
)
def test_what_cannot_become_one_is_refused(name, changes, message):
    with pytest.raises(ValueError, match=message):
        longformer_of(ea.load_pretrained(ENCODERS / name), **changes)
