"""T5 checkpoints of ``transformers``, versions 1.0 and 1.1: its logits and its searches, and files that it can read back."""

import dataclasses
import json
import shutil
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import efficient_attn as ea
from efficient_attn.decoding import BeamOptions, beam_search
from efficient_attn.decoding.target_sampling import greedy
from efficient_attn.models import Seq2Seq, Sequence, Synthesizer, seq2seq_of, t5
from efficient_attn.pretrained.folder import tensors_of
from efficient_attn.pretrained.weights import read_tensors, write_tensors
from efficient_attn.tasks.language_modelling import cross_entropy

GOLDEN = Path(__file__).parents[1] / "golden"
CASES = ("first", "gated")
PAD = 0
SIDES = ("encoder", "decoder")


@pytest.fixture(scope="module", params=CASES)
def published(request):
    folder = GOLDEN / "t5" / request.param
    with np.load(folder / "answers.npz") as file:
        kept = dict(file)
    model = ea.load_pretrained(folder)
    # Targets there may hold padding, and are cut to 512 tokens by no one.
    form, params = seq2seq_of(model.config), nnx.to_pure_dict(nnx.split(model)[1])
    return folder, model, form, params, kept


def whole(tokens):
    """Texts of which every token counts, padding too."""
    return dataclasses.replace(Sequence.of(tokens, PAD), segments=jnp.ones_like(tokens))


def test_logits(published):
    _, _, form, params, kept = published
    logits = jax.jit(lambda params, *texts: form.module(params)(*texts))
    found = logits(params, Sequence.of(kept["sources"], PAD), whole(kept["targets"]))
    np.testing.assert_allclose(found, kept["logits"], atol=2e-5)


def test_gradients_of_the_biases_of_offsets(published):
    _, model, form, params, kept = published
    sources, targets = Sequence.of(kept["sources"], PAD), whole(kept["targets"])

    def loss(params):
        return cross_entropy(form.module(params)(sources, targets), targets.tokens).mean()

    found = tensors_of(model, jax.jit(jax.grad(loss))(params))
    for tensor in (f"{side}.block.0.layer.0.SelfAttention.relative_attention_bias.weight" for side in SIDES):
        np.testing.assert_allclose(found[tensor], kept[f"slope {tensor}"], atol=1e-6, err_msg=tensor)
        assert np.abs(found[tensor]).max() > 1e-3


def test_greedy_and_beam_search(published):
    _, _, form, params, kept = published
    sources, longest = Sequence.of(kept["sources"], PAD), kept["greedy"].shape[1]
    np.testing.assert_array_equal(greedy(form, params, sources, longest), kept["greedy"])
    options = BeamOptions(
        beams=3, penalty="mean", length_penalty=1.0, early_stop="present", finishing="beams", longest=longest
    )
    np.testing.assert_array_equal(beam_search(form, params, sources, options).tokens[:, 0], kept["beams"])


def test_what_is_saved_is_what_was_loaded(published, tmp_path):
    folder, model, *_ = published
    ea.save_pretrained(model, tmp_path)
    before, after = (read_tensors(f / "model.safetensors") for f in (folder, tmp_path))
    assert before.keys() == after.keys()
    for tensor, value in before.items():
        np.testing.assert_array_equal(value, after[tensor], err_msg=tensor)
    fields, written = (json.loads((f / "config.json").read_text()) for f in (folder, tmp_path))
    lost = {"classifier_dropout", "dense_act_fn", "dtype", "initializer_factor", "is_decoder", "is_gated_act"}
    # transformers writes of every T5 that its tables are tied.
    lost |= {"tie_word_embeddings", "transformers_version", "use_cache"}
    assert {k: v for k, v in fields.items() if k not in lost} == {k: written[k] for k in fields if k not in lost}
    assert ea.load_pretrained(tmp_path).config == model.config


def test_transformers_reads_what_is_saved(published, tmp_path):
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    sys.path.append(str(GOLDEN))
    from make_t5 import answered

    folder, model, _, _, kept = published
    ea.save_pretrained(model, tmp_path)
    read = transformers.T5ForConditionalGeneration.from_pretrained(tmp_path).eval()
    stored = read_tensors(folder / "model.safetensors")
    for tensor, value in read.state_dict().items():
        if tensor in stored:
            np.testing.assert_array_equal(value.numpy(), stored[tensor], err_msg=tensor)
    found = answered(read, *(torch.tensor(kept[side], dtype=torch.long) for side in ("sources", "targets")))
    np.testing.assert_allclose(found.numpy(), kept["logits"], atol=1e-6)


def damaged(folder, case="first", **changes):
    copy = folder / "copy"
    shutil.copytree(GOLDEN / "t5" / case, copy)
    fields = json.loads((copy / "config.json").read_text()) | changes
    (copy / "config.json").write_text(json.dumps({k: v for k, v in fields.items() if v != "gone"}))
    return copy


@pytest.mark.parametrize(
    ("changes", "error", "reason"),
    [
        ({"feed_forward_proj": "gated-silu"}, NotImplementedError, "hidden_act 'silu'"),
        ({"architectures": ["T5EncoderModel"]}, NotImplementedError, "class 'T5EncoderModel'; offered is T5For"),
        ({"scale_decoder_outputs": False}, NotImplementedError, "one table whose logits are not divided"),
        ({"feed_forward_proj": "gated-gelu"}, ValueError, "lacks encoder.block.0.layer.1.DenseReluDense.wi_0.weight"),
        ({"num_layers": 3}, ValueError, "lacks encoder.block.2.layer.0"),
        ({"d_kv": 6}, ValueError, r"should be \(12, 8\) by config.json, and is \(10, 8\)"),
        ({"d_model": "gone"}, ValueError, "lacks the field 'd_model'"),
    ],
)
def test_a_config_that_does_not_fit_is_refused(tmp_path, changes, error, reason):
    with pytest.raises(error, match=reason):
        ea.load_pretrained(damaged(tmp_path, **changes))


def test_two_tables_whose_logits_are_divided_are_refused(tmp_path):
    with pytest.raises(NotImplementedError, match="a table of logits alone whose logits are divided"):
        ea.load_pretrained(damaged(tmp_path, "gated", scale_decoder_outputs=True))


def test_an_older_file_says_by_its_tables_whether_logits_are_divided(tmp_path, published):
    folder, model, *_ = published
    changes = {"scale_decoder_outputs": "gone", "tie_word_embeddings": model.config.sharing == "all"}
    assert ea.load_pretrained(damaged(tmp_path, folder.name, **changes)).config == model.config


def test_copies_of_the_table_and_a_bias_that_is_never_read_are_read_over(tmp_path):
    copy = damaged(tmp_path)
    tensors = read_tensors(copy / "model.safetensors")
    for name in ("encoder.embed_tokens.weight", "decoder.embed_tokens.weight", "lm_head.weight"):
        tensors[name] = tensors["shared.weight"]
    tensors["decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight"] = np.ones((8, 2), np.float32)
    write_tensors(copy / "model.safetensors", tensors)
    assert ea.load_pretrained(copy).config == ea.load_pretrained(GOLDEN / "t5" / "first").config


@pytest.mark.parametrize(
    "changes",
    [
        {"products": "scaled"},
        {"norm_kind": "layer"},
        {"ff_bias": True},
        {"sharing": "target"},
        {"encoder_attention": Synthesizer(patterns=("Full()",), length=512)},
        {"decoder_depth": 2, "decoder_order": "ssff"},
    ],
)
def test_what_transformers_has_no_model_for_is_refused(tmp_path, changes):
    sizes = {"vocab": 5, "width": 2, "ff_width": 3, "heads": 1, "encoder_depth": 1, "decoder_depth": 1}
    model = Seq2Seq(t5(**sizes | changes), key=jax.random.key(0))
    with pytest.raises(ValueError, match="this Seq2Seq is none"):
        ea.save_pretrained(model, tmp_path)
