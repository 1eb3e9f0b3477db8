"""Checkpoints of the families around BERT: the answers and gradients of ``transformers``, and files that it reads."""

import functools
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
from efficient_attn.pretrained.folder import tensors_of
from efficient_attn.pretrained.weights import read_tensors, write_tensors

GOLDEN = Path(__file__).parents[1] / "golden"
CASES = sorted(folder.name for folder in (GOLDEN / "encoders").iterdir())
RESULTS = ("last_hidden_state", "pooler_output", "logits", "start_logits", "end_logits")
INPUTS = ("input_ids", "attention_mask", "token_type_ids", "global_attention_mask")


@functools.cache
def stored(name):
    return dict(np.load(GOLDEN / "encoders" / name / "answers.npz"))


@functools.cache
def loaded(name):
    return ea.load_pretrained(GOLDEN / "encoders" / name)


def inputs(name):
    return {key: stored(name)[key] for key in INPUTS if key in stored(name)}


@jax.jit
def run(graph, state, given):
    return nnx.merge(graph, state)(**given)


def assert_answers(found, expected, mask):
    for result in RESULTS:
        own = getattr(found, result)
        if result in expected:
            # What stands in the row of a hidden token means nothing.
            kept = mask if own.shape[: mask.ndim] == mask.shape else ...
            assert own.shape == expected[result].shape
            np.testing.assert_allclose(np.asarray(own)[kept], expected[result][kept], atol=2e-5, err_msg=result)
    assert (found.logits is None) == ("logits" not in expected)
    assert (found.start_logits is None) == ("start_logits" not in expected)


@pytest.mark.parametrize("name", CASES)
def test_the_answers_of_transformers(name):
    expected, given = stored(name), inputs(name)
    mask = given["attention_mask"] == 1
    assert_answers(run(*nnx.split(loaded(name)), given), expected, mask)
    hidden = np.where(mask, given["input_ids"], (given["input_ids"] + 2) % 13)
    if name.startswith("Bert"):
        # Other families count positions by which tokens are padding, not by the mask.
        assert_answers(run(*nnx.split(loaded(name)), given | {"input_ids": hidden}), expected, mask)


@pytest.mark.fast
@pytest.mark.parametrize("name", [case for case in CASES if case.endswith("MaskedLM")])
def test_the_gradients_of_transformers(name):
    expected, given = stored(name), inputs(name)
    model = loaded(name)
    graph, state = nnx.split(model)
    loss = lambda state: (nnx.merge(graph, state)(**given).logits * expected["weights"]).sum()  # noqa: E731
    gradient = nnx.to_pure_dict(jax.jit(jax.grad(loss))(state))
    named = tensors_of(model, gradient)
    found = [key.removeprefix("gradient ") for key in expected if key.startswith("gradient ")]
    assert len(found) == (5 if name.startswith(("MPNet", "Longformer")) else 4)
    for tensor in found:
        np.testing.assert_allclose(named[tensor], expected[f"gradient {tensor}"], atol=1e-4, err_msg=tensor)


@pytest.mark.fast
@pytest.mark.parametrize("name", CASES)
def test_what_is_saved_is_what_was_loaded(name, tmp_path):
    folder = GOLDEN / "encoders" / name
    ea.save_pretrained(loaded(name), tmp_path)
    before, after = (read_tensors(f / "model.safetensors") for f in (folder, tmp_path))
    assert before.keys() == after.keys()
    for tensor, value in before.items():
        np.testing.assert_array_equal(value, after[tensor], err_msg=tensor)
    fields, written = (json.loads((f / "config.json").read_text()) for f in (folder, tmp_path))
    lost = {"dtype", "transformers_version", "initializer_range", "use_cache", "bos_token_id", "eos_token_id"}
    lost |= {"is_decoder", "add_cross_attention", "onnx_export"}
    assert {k: v for k, v in fields.items() if k not in lost} == {k: written[k] for k in fields if k not in lost}
    assert ea.load_pretrained(tmp_path).config == loaded(name).config


@pytest.mark.parametrize("name", CASES)
def test_transformers_reads_what_is_saved(name, tmp_path):
    pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    sys.path.append(str(GOLDEN))
    from make_encoders import answer

    ea.save_pretrained(loaded(name), tmp_path)
    model = getattr(transformers, name).from_pretrained(tmp_path).eval()
    for result, value in answer(model, inputs(name)).items():
        np.testing.assert_allclose(value, stored(name)[result], atol=1e-6)


def damaged(folder, name, **changes):
    copy = folder / "copy"
    shutil.copytree(GOLDEN / "encoders" / name, copy)
    fields = json.loads((copy / "config.json").read_text()) | changes
    (copy / "config.json").write_text(json.dumps({k: v for k, v in fields.items() if v != "gone"}))
    return copy


def rewritten(folder, name, change):
    """A copy whose tensors are changed by name."""
    copy = damaged(folder, name)
    write_tensors(copy / "model.safetensors", change(read_tensors(copy / "model.safetensors")))
    return copy


@pytest.mark.parametrize(
    ("changes", "error", "reason"),
    [
        (
            {"architectures": ["BertForPoetry"]},
            NotImplementedError,
            "class 'BertForPoetry'; those offered are BertModel",
        ),
        ({"is_decoder": True}, NotImplementedError, "is_decoder True in a bert; offered is False"),
        ({"position_embedding_type": "relative_key"}, NotImplementedError, "position_embedding_type 'relative_key'"),
        ({"layer_norm_eps": "gone"}, ValueError, "lacks the field 'layer_norm_eps'"),
        ({"intermediate_size": 13}, ValueError, r"should be \(13, 8\) by config.json, and is \(12, 8\)"),
        ({"num_hidden_layers": 3}, ValueError, "lacks bert.encoder.layer.2.* and 12 more"),
        ({"num_hidden_layers": 1}, ValueError, "has beside its model bert.encoder.layer.1.* and 12 more"),
        ({"architectures": ["BertForTokenClassification"]}, ValueError, "lacks classifier.weight, classifier.bias"),
    ],
)
def test_a_config_that_does_not_fit_is_refused(tmp_path, changes, error, reason):
    with pytest.raises(error, match=reason):
        ea.load_pretrained(damaged(tmp_path, "BertForMaskedLM", **changes))


@pytest.mark.parametrize("changes", [{"use_bias": False}, {"rescale_embeddings": True}])
def test_choices_of_bigbird_that_are_not_offered(tmp_path, changes):
    with pytest.raises(NotImplementedError, match="in a big_bird; offered is"):
        ea.load_pretrained(damaged(tmp_path, "BigBirdModel", **changes))


@pytest.mark.parametrize("field", ["relative_attention_num_buckets", "pad_token_id"])
def test_fields_that_released_code_does_not_heed_are_refused(tmp_path, field):
    with pytest.raises(NotImplementedError, match=f"{field} 4; offered is"):
        ea.load_pretrained(damaged(tmp_path, "MPNetModel", **{field: 4}))


def test_a_file_cut_short_is_refused(tmp_path):
    weights = damaged(tmp_path, "RobertaModel") / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:5000])
    with pytest.raises(ValueError, match="is damaged"):
        ea.load_pretrained(weights.parent)


def test_names_of_older_files(tmp_path):
    def older(tensors):
        renamed = {
            k.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): v
            for k, v in tensors.items()
        }
        copies = {"cls.predictions.decoder.weight": tensors["bert.embeddings.word_embeddings.weight"]}
        return renamed | copies | {"bert.embeddings.position_ids": np.arange(19)[None]}

    model = ea.load_pretrained(rewritten(tmp_path, "BertForMaskedLM", older))
    given = inputs("BertForMaskedLM")
    assert_answers(run(*nnx.split(model), given), stored("BertForMaskedLM"), given["attention_mask"] == 1)


def test_copies_that_differ_are_refused(tmp_path):
    def untied(tensors):
        return tensors | {"lm_head.decoder.weight": tensors["roberta.embeddings.word_embeddings.weight"] + 1}

    with pytest.raises(ValueError, match=r"word_embeddings\.weight and lm_head\.decoder\.weight .* should be the same"):
        ea.load_pretrained(rewritten(tmp_path, "RobertaForMaskedLM", untied))


def test_a_pooler_beside_a_head_is_kept_and_another_head_named(tmp_path):
    pooler = {
        "bert.pooler.dense.weight": np.eye(8, dtype=np.float32),
        "bert.pooler.dense.bias": np.zeros(8, np.float32),
    }
    beside = pooler | {"cls.seq_relationship.bias": np.zeros(2, np.float32)}
    folder = rewritten(tmp_path, "BertForMaskedLM", lambda tensors: tensors | beside)
    with pytest.warns(UserWarning, match=r"left out: cls\.seq_relationship\.bias"):
        model = ea.load_pretrained(folder)
    found = run(*nnx.split(model), inputs("BertForMaskedLM"))
    np.testing.assert_allclose(found.pooler_output, jnp.tanh(found.last_hidden_state[:, 0]), atol=1e-6)
    ea.save_pretrained(model, tmp_path / "saved")
    assert set(pooler) <= set(read_tensors(tmp_path / "saved" / "model.safetensors"))


def test_a_bare_model_under_the_name_of_another_class(tmp_path):
    model = ea.load_pretrained(damaged(tmp_path, "MPNetModel", architectures=["MPNetForMaskedLM"]))
    assert model.config == loaded("MPNetModel").config


def test_pickled_weights(tmp_path):
    folder = damaged(tmp_path, "RobertaForMaskedLM")
    tensors = read_tensors(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    torch = pytest.importorskip("torch")
    torch.save({name: torch.tensor(x).to(torch.bfloat16) for name, x in tensors.items()}, folder / "pytorch_model.bin")
    given = inputs("RobertaForMaskedLM")
    found = run(*nnx.split(ea.load_pretrained(folder)), given)
    assert float(jnp.abs(found.logits - stored("RobertaForMaskedLM")["logits"]).max()) < 0.5
    (folder / "pytorch_model.bin").write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    with pytest.raises(ValueError, match="not a file of tensors alone"):
        ea.load_pretrained(folder)
