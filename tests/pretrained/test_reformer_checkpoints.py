"""Reformer checkpoints of ``transformers``: its answers with its rotations, and files that it can read back."""

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
from efficient_attn.pretrained.weights import read_tensors

GOLDEN = Path(__file__).parents[1] / "golden"
CASES = sorted(folder.name for folder in (GOLDEN / "reformer").iterdir())


def answers(name):
    stored = np.load(GOLDEN / "reformer" / name / "answers.npz")
    turned = tuple(stored[key] for key in sorted(stored) if key.startswith("rotations"))
    return stored["tokens"], stored["mask"], stored["result"], turned or None


def run(model, tokens, mask, rotations=None):
    return nnx.jit(lambda model, *arguments: model(*arguments[:2], rotations=arguments[2]))(
        model, tokens, mask, rotations
    )


def assert_answers(found, expected, mask):
    assert found.shape == expected.shape
    # What stands in the row of a hidden token means nothing.
    kept = mask if found.ndim == 3 else ...
    np.testing.assert_allclose(np.asarray(found)[kept], expected[kept], atol=1e-5)


@pytest.mark.parametrize("name", CASES)
def test_the_answers_of_transformers(name):
    tokens, mask, expected, rotations = answers(name)
    model = ea.load_pretrained(GOLDEN / "reformer" / name)
    assert_answers(run(model, tokens, jnp.asarray(mask), rotations), expected, mask)
    if mask.all():
        assert_answers(run(model, tokens, None, rotations), expected, mask)
    else:
        other = np.where(mask, tokens, (tokens + 1) % 11)
        assert_answers(run(model, other, jnp.asarray(mask), rotations), expected, mask)


@pytest.mark.parametrize("name", CASES)
def test_what_is_saved_is_what_was_loaded(name, tmp_path):
    folder = GOLDEN / "reformer" / name
    model = ea.load_pretrained(folder)
    ea.save_pretrained(model, tmp_path)
    before, after = (read_tensors(f / "model.safetensors") for f in (folder, tmp_path))
    assert before.keys() == after.keys()
    for tensor, value in before.items():
        np.testing.assert_array_equal(value, after[tensor], err_msg=tensor)
    fields, written = (json.loads((f / "config.json").read_text()) for f in (folder, tmp_path))
    lost = {"dtype", "transformers_version", "initializer_range", "axial_norm_std", "use_cache", "classifier_dropout"}
    lost |= {"bos_token_id", "eos_token_id", "chunk_size_lm_head", "local_attention_probs_dropout_prob", "num_buckets"}
    lost |= set() if fields["axial_pos_embds"] else {"axial_pos_shape", "axial_pos_embds_dim"}
    assert {k: v for k, v in fields.items() if k not in lost} == {k: written[k] for k in fields if k not in lost}
    assert ea.load_pretrained(tmp_path).config == model.config


def test_a_loaded_model_trains():
    tokens, mask = (jnp.asarray(x) for x in answers("masked")[:2])
    graph, state = nnx.split(ea.load_pretrained(GOLDEN / "reformer" / "masked"))
    loss = lambda state, key: jnp.square(nnx.merge(graph, state)(tokens, mask, key=key)).mean()  # noqa: E731
    gradient = jax.jit(jax.grad(loss))(state, jax.random.key(0))
    assert all(bool(jnp.isfinite(x).all()) and float(jnp.abs(x).max()) > 0 for x in jax.tree.leaves(gradient))


@pytest.mark.parametrize("name", CASES)
def test_transformers_reads_what_is_saved(name, tmp_path):
    pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    sys.path.append(str(GOLDEN))
    from make_reformer import CASES as KINDS
    from make_reformer import answer

    tokens, mask, expected, _ = answers(name)
    ea.save_pretrained(ea.load_pretrained(GOLDEN / "reformer" / name), tmp_path)
    model = getattr(transformers, KINDS[name][0]).from_pretrained(tmp_path).eval()
    assert_answers(answer(model, tokens, mask)[0], expected, mask)


def damaged(folder, **changes):
    copy = folder / "copy"
    shutil.copytree(GOLDEN / "reformer" / "causal", copy)
    fields = json.loads((copy / "config.json").read_text()) | changes
    (copy / "config.json").write_text(json.dumps({k: v for k, v in fields.items() if v != "gone"}))
    return copy


@pytest.mark.parametrize(
    ("changes", "error", "reason"),
    [
        ({"model_type": "gpt5"}, NotImplementedError, "a model of type 'gpt5'; those offered are .*reformer"),
        ({"hidden_act": "swish"}, NotImplementedError, "hidden_act 'swish'"),
        ({"architectures": ["ReformerForPoetry"]}, NotImplementedError, "class 'ReformerForPoetry'"),
        ({"vocab_size": "gone"}, ValueError, "lacks the field 'vocab_size'"),
        ({"vocab_size": 12}, ValueError, r"should be \(12, 12\) by config.json, and is \(11, 12\)"),
        ({"attn_layers": ["local", "lsh"] * 3}, ValueError, "lacks reformer.encoder.layers.4.* and .* more"),
        ({"attn_layers": ["local", "lsh"]}, ValueError, "has beside its model reformer.encoder.layers.2.*"),
    ],
)
def test_a_config_that_does_not_fit_is_refused(tmp_path, changes, error, reason):
    with pytest.raises(error, match=reason):
        ea.load_pretrained(damaged(tmp_path, **changes))


def test_a_pickle_is_refused_and_a_missing_file_named(tmp_path):
    folder = damaged(tmp_path)
    (folder / "model.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match=r"has no model\.safetensors"):
        ea.load_pretrained(folder)
    (folder / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(ValueError, match=r"as a pickle.*t\.ReformerModelWithLMHead\.from_pretrained"):
        ea.load_pretrained(folder)
    with pytest.raises(FileNotFoundError, match=r"there is no .*config\.json"):
        ea.load_pretrained(tmp_path / "nowhere")


@pytest.mark.parametrize("content", [b"", b"\xff" * 64, b"\x05" + b"\0" * 7 + b"{{{{{", "half"])
def test_a_damaged_file_is_refused(tmp_path, content):
    weights = damaged(tmp_path) / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[: len(whole) // 2] if content == "half" else content)
    with pytest.raises(ValueError, match=r"not a safetensors file|is damaged"):
        ea.load_pretrained(weights.parent)


def test_shards_are_read_together(tmp_path):
    folder = damaged(tmp_path)
    (folder / "model.safetensors").rename(folder / "model-00001-of-00001.safetensors")
    names = read_tensors(folder / "model-00001-of-00001.safetensors")
    index = {"weight_map": dict.fromkeys(names, "model-00001-of-00001.safetensors")}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    tokens, mask, expected, rotations = answers("causal")
    assert_answers(run(ea.load_pretrained(folder), tokens, None, rotations), expected, mask)


def test_other_models_have_no_checkpoint_form(tmp_path):
    from efficient_attn.models import Decoder, DecoderConfig

    decoder = Decoder(DecoderConfig(depth=1, width=4, heads=1), key=jax.random.key(0))
    with pytest.raises(ValueError, match=r"holds one of .*reformer.*; this Decoder is none"):
        ea.save_pretrained(decoder, tmp_path)
