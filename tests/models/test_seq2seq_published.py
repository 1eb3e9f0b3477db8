"""Marian and Pegasus of ``transformers``, with random weights: the same logits, and the same beam searches."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from efficient_attn.decoding import BeamOptions, beam_search
from efficient_attn.models import Seq2SeqConfig, Sequence, seq2seq_of
from efficient_attn.nn.embedding import TablePositions

pytestmark = pytest.mark.fast

PAD = 2
GOLDEN = Path(__file__).parents[1] / "golden" / "seq2seq"
SEARCHES = {"present": ("present", 1.0), "full": ("full", 0.6), "worst": ("worst", 1.2)}
PLACES = {"self_attn": "attention", "encoder_attn": "cross"}
PROJECTIONS = {"q_proj": "query", "k_proj": "key", "v_proj": "value", "out_proj": "output"}
NORMS = {
    "attention_norm": "self_attn_layer_norm",
    "cross_norm": "encoder_attn_layer_norm",
    "feedforward_norm": "final_layer_norm",
}


def linear(stored, name):
    return {"kernel": stored[f"{name}.weight"].T, "bias": stored[f"{name}.bias"]}


def norm(stored, name):
    return {"scale": stored[f"{name}.weight"], "bias": stored[f"{name}.bias"]}


def block(stored, name):
    """One layer's parameters."""
    there = lambda part: f"{name}.{part}.bias" in stored or f"{name}.{part}.q_proj.bias" in stored  # noqa: E731
    made = {
        ours: {to: linear(stored, f"{name}.{theirs}.{part}") for part, to in PROJECTIONS.items()}
        for theirs, ours in PLACES.items()
        if there(theirs)
    }
    made |= {ours: norm(stored, f"{name}.{theirs}") for ours, theirs in NORMS.items() if there(theirs)}
    return made | {"feedforward": {"expand": linear(stored, f"{name}.fc1"), "contract": linear(stored, f"{name}.fc2")}}


def converted(stored, norm_place):
    """The parameters of our model."""
    sides = {}
    for side in ("encoder", "decoder"):
        layers = [block(stored, f"model.{side}.layers.{layer}") for layer in range(2)]
        sides[side] = {"cycle": {0: jax.tree.map(lambda *x: np.stack(x), *layers)}}
        if norm_place == "pre":
            sides[f"{side}_norm"] = norm(stored, f"model.{side}.layer_norm")
    embedding = {
        "target": {"tokens": stored["model.shared.weight"]},
        "source_tables": {0: stored["model.encoder.embed_positions.weight"]},
        "target_tables": {0: stored["model.decoder.embed_positions.weight"]},
    }
    return {"embedding": embedding, **sides}


@pytest.fixture(scope="module", params=["marian", "pegasus"])
def published(request):
    with np.load(GOLDEN / f"{request.param}.npz") as file:
        kept = dict(file)
    weights = {name.removeprefix("weight "): x for name, x in kept.items() if name.startswith("weight ")}
    place = "post" if request.param == "marian" else "pre"
    config = Seq2SeqConfig(
        vocab=13, width=8, ff_width=12, heads=2, encoder_depth=2, decoder_depth=2, longest=16, attention_bias=True,
        pad_token=PAD, bos_token=PAD, norm=place, norm_epsilon=1e-5, positions=TablePositions(sizes=(16,)),
    )  # fmt: skip
    return seq2seq_of(config), jax.tree.map(jnp.asarray, converted(weights, place)), kept


def test_the_conversion_fills_every_parameter(published):
    form, params, _ = published
    assert jax.tree.map(lambda x: x.shape, params) == jax.tree.map(lambda x: x.shape, form.shapes())


def test_logits(published):
    form, params, kept = published
    logits = jax.jit(lambda params, *texts: form.module(params)(*texts))
    found = logits(params, Sequence.of(kept["sources"], PAD), Sequence.of(kept["targets"], PAD))
    np.testing.assert_allclose(found, kept["logits"], atol=1e-5)


@pytest.mark.parametrize("search", SEARCHES)
def test_beam_search(published, search):
    form, params, kept = published
    stop, power = SEARCHES[search]
    options = BeamOptions(beams=3, penalty="mean", length_penalty=power, early_stop=stop, finishing="beams", longest=11)
    found = beam_search(form, params, Sequence.of(kept["sources"], PAD), options)
    np.testing.assert_array_equal(found.tokens, kept[f"{search} tokens"])
    np.testing.assert_allclose(found.scores, kept[f"{search} scores"], atol=1e-5)
