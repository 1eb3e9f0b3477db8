"""Image GPT checkpoints of ``transformers``: its answers, its gradients, and files that it can read back."""

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
from efficient_attn.data import ImageArray, Palette, PaletteImages
from efficient_attn.experiment import Experiment, evaluate
from efficient_attn.models import (
    Decoder,
    ImageReader,
    ImageReaderConfig,
    Sparse,
    probe_features,
    started,
    without_token_logits,
)
from efficient_attn.pretrained.folder import tensors_of
from efficient_attn.pretrained.weights import read_tensors, write_tensors
from efficient_attn.training import Schedule

pytestmark = pytest.mark.fast
GOLDEN = Path(__file__).parents[1] / "golden"
FOLDER = GOLDEN / "image_gpt"
CASES = sorted(folder.name for folder in FOLDER.iterdir())


def answers(name):
    """Inputs, the result, and gradients by name."""
    stored = np.load(FOLDER / name / "answers.npz")
    gradients = {key.removeprefix("d "): stored[key] for key in stored if key.startswith("d ")}
    return stored["inputs"], stored["result"], gradients


def given(model, inputs):
    """What the model reads to have these inputs: a decoder shifts its tokens itself, and does not read the last."""
    return jnp.roll(inputs, -1, axis=1) % 11 if isinstance(model, Decoder) else jnp.asarray(inputs)


@pytest.mark.parametrize("name", CASES)
def test_the_answers_and_gradients_of_transformers(name):
    inputs, expected, gradients = answers(name)
    model = ea.load_pretrained(FOLDER / name)
    graph, state = nnx.split(model)

    def loss(state):
        result = nnx.merge(graph, state)(given(model, inputs))
        return jnp.mean(result**3), result

    found, result = jax.jit(jax.grad(loss, has_aux=True))(state)
    np.testing.assert_allclose(result, expected, atol=2e-5)
    named = tensors_of(model, nnx.to_pure_dict(found))
    assert gradients
    for tensor, value in gradients.items():
        np.testing.assert_allclose(named[tensor], value, atol=1e-4, err_msg=tensor)


@pytest.mark.parametrize("name", CASES)
def test_what_is_saved_is_what_was_loaded(name, tmp_path):
    model = ea.load_pretrained(FOLDER / name)
    ea.save_pretrained(model, tmp_path)
    before, after = (read_tensors(f / "model.safetensors") for f in (FOLDER / name, tmp_path))
    assert before.keys() == after.keys()
    for tensor, value in before.items():
        np.testing.assert_array_equal(value, after[tensor], err_msg=tensor)
    fields, written = (json.loads((f / "config.json").read_text()) for f in (FOLDER / name, tmp_path))
    lost = {"dtype", "transformers_version", "initializer_range", "use_cache", "reorder_and_upcast_attn", "attn_pdrop"}
    lost |= {"bos_token_id", "eos_token_id", "pad_token_id"}
    assert {k: v for k, v in fields.items() if k not in lost} == {k: written[k] for k in fields if k not in lost}
    assert ea.load_pretrained(tmp_path).config == model.config


def test_a_checkpoint_is_scored_as_it_is(tmp_path):
    """Nats of pixels, of the model that a config describes, whatever it says of training."""
    model = ea.load_pretrained(FOLDER / "causal")
    Palette(np.linspace(-1, 1, 33).reshape(11, 3)).save(tmp_path / "colours.npy")
    pixels = np.random.default_rng(0).integers(0, 256, (40, 3, 3, 3), dtype=np.uint8)
    np.save(tmp_path / "images.npy", pixels)
    source = PaletteImages(images=ImageArray(path=tmp_path / "images.npy"), palette=tmp_path / "colours.npy")
    config = Experiment(
        model=dataclasses.replace(model.config, dropout=0.3, initialization="code", remat="block"),
        source=source,
        context=9,
        batch_size=4,
        steps=1,
        schedule=Schedule(peak=1e-3),
    )
    report = evaluate(config, str(FOLDER / "causal"), "train")
    tokens = jnp.asarray(source.load("train").records.astype(np.int32))
    graph, state = nnx.split(model)
    logits = jax.jit(lambda state: nnx.merge(graph, state)(tokens))(state)
    nats = -jnp.take_along_axis(jax.nn.log_softmax(logits), tokens[..., None], -1).mean()
    assert report["loss"] == pytest.approx(float(nats), rel=1e-5)
    assert report["step"] == 0
    with pytest.raises(ValueError, match="holds another model: activation quick_gelu there, gelu here"):
        evaluate(
            dataclasses.replace(config, model=dataclasses.replace(config.model, activation="gelu")),
            str(FOLDER / "causal"),
            "train",
        )
    with pytest.raises(ValueError, match="holds a model of ImageReaderConfig, and DecoderConfig is wanted"):
        evaluate(config, str(FOLDER / "classes"), "train")


def test_a_file_whose_biases_are_zero_is_a_model_without():
    assert ea.load_pretrained(FOLDER / "causal").config.attention_bias
    assert "bias" not in str(nnx.split(ea.load_pretrained(FOLDER / "published"))[1])


@pytest.mark.parametrize("name", CASES)
def test_transformers_reads_what_is_saved(name, tmp_path):
    pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    sys.path.append(str(GOLDEN))
    from make_image_gpt import CASES as KINDS
    from make_image_gpt import answer

    inputs, expected, _ = answers(name)
    ea.save_pretrained(ea.load_pretrained(FOLDER / name), tmp_path)
    model = getattr(transformers, KINDS[name][0]).from_pretrained(tmp_path).eval()
    np.testing.assert_allclose(answer(model, inputs).detach().numpy(), expected, atol=1e-5)


def test_what_a_probe_sees():
    model = ea.load_pretrained(FOLDER / "causal")
    tokens = given(model, answers("causal")[0])
    features = jax.jit(probe_features)(model, tokens)
    first, last = jax.jit(lambda model: (model.embedding.shifted(tokens), model.final_norm(model.hidden(tokens))))(
        model
    )
    normed = first / np.sqrt(np.mean(np.square(first), -1, keepdims=True) + 1e-5)
    gain = model.stack.cycle[0].attention_norm.scale[...][0]
    np.testing.assert_allclose(features[0], np.mean(normed * gain, axis=1), atol=1e-6)
    np.testing.assert_allclose(features[2], np.mean(last, axis=1), atol=1e-5)
    assert features.shape == (3, 2, 8)


def test_a_started_image_is_what_a_decoder_reads():
    tokens = jnp.asarray([[3, 1, 4], [1, 5, 9]])
    np.testing.assert_array_equal(started(tokens, 11), [[11, 3, 1], [11, 1, 5]])


def damaged(folder, **changes):
    copy = folder / "copy"
    shutil.copytree(FOLDER / "causal", copy)
    fields = json.loads((copy / "config.json").read_text()) | changes
    (copy / "config.json").write_text(json.dumps(fields))
    return copy


@pytest.mark.parametrize(
    ("changes", "error", "reason"),
    [
        ({"architectures": ["ImageGPTForPoetry"]}, NotImplementedError, "class 'ImageGPTForPoetry'"),
        ({"activation_function": "swish"}, NotImplementedError, "'swish'; those offered are .*quick_gelu"),
        ({"scale_attn_by_inverse_layer_idx": True}, NotImplementedError, "inverse_layer_idx=True; only False is"),
        ({"layer_norm_epsilon": 1e-6}, NotImplementedError, "layer_norm_epsilon=1e-06; only 1e-05 is offered"),
        ({"vocab_size": 13}, ValueError, r"wte.weight of .* should be \(13, 8\) by config.json, and is \(12, 8\)"),
        ({"n_layer": 3}, ValueError, r"lacks transformer.h.2.ln_1.weight"),
    ],
)
def test_a_config_that_does_not_fit_is_refused(tmp_path, changes, error, reason):
    with pytest.raises(error, match=reason):
        ea.load_pretrained(damaged(tmp_path, **changes))


def test_masks_that_older_versions_stored_are_no_parameters(tmp_path):
    folder = damaged(tmp_path)
    tensors = read_tensors(folder / "model.safetensors")
    masks = {
        f"transformer.h.{n}.attn.{name}": np.ones((1, 1, 9, 9), np.float32)
        for n in (0, 1)
        for name in ("bias", "masked_bias")
    }
    write_tensors(folder / "model.safetensors", tensors | masks)
    assert ea.load_pretrained(folder).config == ea.load_pretrained(FOLDER / "causal").config


def test_a_decoder_that_is_no_image_gpt_is_not_written(tmp_path):
    model = ea.load_pretrained(FOLDER / "published")
    model.config = dataclasses.replace(model.config, attention=Sparse(patterns=("Causal() & Window(left=3)",)))
    with pytest.raises(ValueError, match=r"holds one of .*imagegpt.*; this Decoder is none"):
        ea.save_pretrained(model, tmp_path)


def test_a_classifier_with_logits_of_tokens_is_written_without_them(tmp_path):
    decoder = ea.load_pretrained(FOLDER / "causal").config
    reader = ImageReader(ImageReaderConfig(decoder=decoder, labels=3), key=jax.random.key(0))
    reader.score.kernel[...] = jax.random.normal(jax.random.key(1), reader.score.kernel.shape)
    with pytest.raises(ValueError, match="this ImageReader is none"):
        ea.save_pretrained(reader, tmp_path)
    ea.save_pretrained(without_token_logits(reader), tmp_path)
    tokens = jnp.arange(5)[None]
    apply = jax.jit(lambda parts, tokens: nnx.merge(*parts)(tokens))
    ours, theirs = (apply(nnx.split(model), tokens) for model in (reader, ea.load_pretrained(tmp_path)))
    np.testing.assert_allclose(theirs, ours, rtol=1e-6)


def test_a_reader_of_another_kind_is_refused():
    decoder = dataclasses.replace(ea.load_pretrained(FOLDER / "causal").config, slot_positions="given")
    with pytest.raises(ValueError, match=r"the decoder of an ImageReader has \{'norm': 'pre', 'slot_positions'"):
        ImageReaderConfig(decoder=decoder)
    with pytest.raises(ValueError, match="labels must be at least 1, or None; got 0"):
        ImageReaderConfig(decoder=ea.load_pretrained(FOLDER / "bare").config.decoder, labels=0)
