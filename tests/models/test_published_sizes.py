"""Parameters of the published models, counted from their configs; nothing is allocated."""

import dataclasses
import math
from pathlib import Path

import jax
import pytest

from efficient_attn.experiment import load_config, load_variants, parameters
from efficient_attn.nn.embedding import TablePositions
from efficient_attn.nn.text_embedding import CountedPositions

CONFIGS = Path(__file__).parents[2] / "configs"
MILLIONS = {
    "sparse_transformer_enwik8": 94.9,
    "transformer_enwik8": 94.9,
    "sparse_transformer_cifar10": 59.2,
    "sparse_transformer_imagenet64": 151.6,
    "sparse_transformer_audio": 151.8,
    # Counted from the released configurations; the paper prints none.
    "reformer_enwik8": 56.4,
    "reformer_imagenet64": 70.1,
}


@pytest.mark.parametrize("name", MILLIONS)
def test_parameters(name):
    report = parameters(load_config(str(CONFIGS / f"{name}.py")))
    assert round(report["parameters"] / 1e6, 1) == MILLIONS[name]
    assert sum(report["parts"].values()) == report["parameters"]
    assert set(report["parts"]) == {"embedding", "stack", "final_norm"}


@pytest.mark.parametrize(("name", "matrices"), [("", 40.9), ("large", 102.2)])
def test_matrices_of_the_longformers_character_models(name, matrices):
    config = load_variants(str(CONFIGS / "longformer_enwik8.py"))[name]
    sizes = jax.tree_util.tree_flatten_with_path(config.form.shapes()["stack"])[0]
    found = sum(math.prod(x.shape) for path, x in sizes if path[-1].key == "kernel")
    assert round(found / 1e6, 1) == matrices
    assert round(parameters(config)["parameters"] / 1e6) in (41, 103)


@pytest.mark.parametrize(("name", "size"), [("", 246_934_528), ("k0", 246_934_528), ("balanced3", 246_934_528)])
def test_sandwiches_of_words(name, size):
    """The published 246.93 M, with a start vector; a random order of as many of each has as many."""
    config = load_variants(str(CONFIGS / "sandwich_wikitext103.py"))[name]
    assert parameters(config)["parameters"] == size
    embedding = config.form.shapes()["embedding"]
    assert [x.size for x in embedding["bands"].values()] == [20_480_000, 10_240_000, 207_744 * 64]
    assert sum(x.size for x in embedding["projections"].values()) == 1024 * (1024 + 256 + 64)


def test_t5_and_its_synthesizers():
    """The released 60,506,624; self-attentions differ by the blocks of their scores, and nothing has a bias but offsets."""
    variants = load_variants(str(CONFIGS / "t5_small.py"))
    found = {name: parameters(config)["parameters"] for name, config in variants.items()}
    layers, width, heads, length = 12, 512, 8, 512
    products, weights = layers * 2 * width**2, layers * heads * 2
    random, dense = layers * heads * length**2, layers * (width**2 + width * length)
    assert found[""] == 60_506_624
    assert found["random"] == found[""] - products + random
    assert found["dense"] == found[""] - products + dense
    assert found["random_vanilla"] == found[""] + random + weights
    assert found["dense_vanilla"] == found[""] + dense + weights
    first = variants[""]
    newer = {"ff_network": "gated", "sharing": "tokens", "heads": 6, "head_size": 64, "ff_width": 1024}
    model = dataclasses.replace(first.model, **newer, encoder_depth=8, decoder_depth=8)
    assert parameters(dataclasses.replace(first, model=model))["parameters"] == 76_961_152


def synthesizer(*scores, **sizes):
    """Parameters of the LM1B model with these scores."""
    config = load_config(str(CONFIGS / "synthesizer_lm1b.py"))
    attention = dataclasses.replace(config.model.attention, scores=scores)
    return parameters(
        dataclasses.replace(config, model=dataclasses.replace(config.model, attention=attention, **sizes))
    )["parameters"]


def test_rows_of_the_synthesizer_differ_by_the_blocks_of_their_scores():
    layers, width, heads, length = 6, 512, 8, 256
    none, products = synthesizer("fixed_random"), layers * 2 * width**2
    random, weights = layers * heads * length**2, layers * heads * 2
    dense = layers * (width**2 + width * length)
    assert products == random == 3_145_728
    assert synthesizer("dot_product") - none == products
    assert synthesizer("random") - none == random
    assert synthesizer("factorized_random") - none == layers * heads * 2 * length * 8 == 196_608
    assert synthesizer("dense") - none == dense == 2_359_296
    assert synthesizer("factorized_dense") - none == layers * (width**2 + width * 32) == 1_671_168
    assert synthesizer("random", "dense") - none == random + dense + weights
    assert synthesizer("dense", "dot_product") - none == dense + products + weights
    assert synthesizer("random", "dot_product") - none == random + products + weights
    # The control: as many parameters as random + vanilla, but for the biases of the wider layer.
    control = synthesizer("dot_product", ff_width=2560)
    assert control - synthesizer("random", "dot_product") == layers * 512 - weights
    assert round(synthesizer("dot_product", vocab=33_288) / 1e6, 2) == 52.99


SPANS = {"enwik8_12": (205, 38.54), "text8_12": (28, 38.36), "enwik8_24": (205, 208.9), "text8_24": (28, 208.6)}


@pytest.mark.parametrize("name", SPANS)
def test_adaptive_span(name):
    vocab, millions = SPANS[name]
    config = load_config(str(CONFIGS / f"adaptive_span_{name}.py"))
    model = dataclasses.replace(config.model, vocab=vocab)
    found = parameters(dataclasses.replace(config, model=model))["parameters"]
    layers, width, hidden, heads, limit = model.depth, model.width, model.ff_width, model.heads, 8192
    layer = 4 * width**2 + 2 * width * hidden + hidden + width + 4 * width + heads
    published = 2 * vocab * width + vocab + width // heads * limit + layers * layer
    assert round(published / 1e6, 2 if layers == 12 else 1) == millions
    # A start vector in place of a bias of the logits.
    assert found == published - vocab + width
    assert round(found / 1e6, 2 if layers == 12 else 1) == millions


@pytest.mark.parametrize(
    ("name", "vocab", "millions"),
    [("enwik8.py", 205, 208.9), ("enwik8.py:k0", 205, 208.9), ("enwik8.py:k8", 205, 208.9), ("text8.py", 28, 208.6)],
)
def test_a_sandwich_of_adaptive_spans_is_as_large(name, vocab, millions):
    own, plain = (load_config(str(CONFIGS / file)) for file in (f"sandwich_{name}", "adaptive_span_enwik8_24.py"))
    model = dataclasses.replace(own.model, vocab=vocab)
    found = parameters(dataclasses.replace(own, model=model))["parameters"]
    assert round(found / 1e6, 1) == millions
    in_turn = dataclasses.replace(plain, model=dataclasses.replace(plain.model, vocab=model.vocab))
    assert found == parameters(in_turn)["parameters"]


IMAGE_GPT = {"s": 76.57, "m": 455.16, "l": 1362.25, "xl": 6801.4}


@pytest.mark.parametrize("size", IMAGE_GPT)
def test_image_gpt(size):
    """The paper counts 1,024 positions, whatever the image."""
    config = load_config(str(CONFIGS / f"image_gpt_{size}.py"))
    counted = dataclasses.replace(config.model, positions=TablePositions(sizes=(1024,)))
    found = parameters(dataclasses.replace(config, model=counted, context=1024))["parameters"]
    assert round(found / 1e6, 1 if size == "xl" else 2) == IMAGE_GPT[size]
    width, depth = counted.width, counted.depth
    assert found == depth * (12 * width**2 + 2 * width) + (2 * 512 + 1 + 1024 + 1) * width
    more = parameters(config)["parameters"] - found
    assert more == (width * 3072 if size == "xl" else 0)


def test_mpnet():
    config = load_config(str(CONFIGS / "mpnet_base.py"))
    # Pieces of words and counted positions, as the released weights have them, and the pooler of fine-tuning.
    released = {"vocab": 30_527, "positions": CountedPositions(rows=514), "pad_token": 1, "pooler": True}
    model = dataclasses.replace(config.model, **released)
    parts = parameters(dataclasses.replace(config, model=model))["parts"]
    width, hidden = 768, 3072
    layer = 4 * (width**2 + width) + 2 * width * hidden + hidden + width + 4 * width
    assert parts["embedding"] == (30_527 + 514 + 2) * width
    assert parts["stack"] == 12 * layer
    assert parts["relative"] == 32 * 12
    encoder = parts["embedding"] + parts["stack"] + parts["relative"]
    assert [round(n / 1e6, 2) for n in (encoder, parts["pooler"], parts["head"])] == [108.90, 0.59, 0.62]
    assert (
        parameters(config)["parameters"]
        == 12 * layer + 384 + (30_527 + 512 + 2) * width + width**2 + 3 * width + 30_527
    )


# Rows of the Linformer's table 2: tokens, slots, and how many projections there are.
LINFORMERS = {"": (512, 256, 1)} | {
    f"n{length}_k{slots}{sharing}": (length, slots, projections)
    for length, slots in ((512, 128), (512, 256), (1024, 256))
    for sharing, projections in (("", 24), ("_key_value", 12), ("_layerwise", 1))
    if (length, slots, projections) != (512, 256, 1)
}


def test_linformers_differ_from_roberta_by_their_projections():
    variants = load_variants(str(CONFIGS / "linformer_roberta.py"))
    # As released, with a tied decoder and without a pooler or a table of one token type.
    roberta, vocab = 124_697_433 - 768, 50_265

    def size(name):
        model = dataclasses.replace(variants[name].model, vocab=vocab)
        return parameters(dataclasses.replace(variants[name], model=model))["parameters"]

    assert size("dense") == roberta
    assert set(variants) == {"dense", *LINFORMERS}
    for name, (length, slots, projections) in LINFORMERS.items():
        assert variants[name].context == length
        assert size(name) - roberta == projections * length * slots + (length - 512) * 768


def test_translation():
    """The paper prints 65M and 213M, for vocabularies that it gives in round numbers."""
    variants = load_variants(str(CONFIGS / "transformer_wmt14_ende.py"))
    found = {name: parameters(config)["parameters"] for name, config in variants.items()}
    assert [round(found[name] / 1e6, 2) for name in ("", "big")] == [63.05, 214.17]
    # A norm at the end of each stack, and the vector of all source tokens.
    assert found["tensor2tensor"] - found[""] == 2 * 2 * 512 + 512
    assert found["flax"] - found["big"] == 2 * 2 * 1024


def test_sandwiches_that_translate_are_of_one_size():
    """Those of the big model, whose decoder has as many parameters in both attentions of a block as in its feed-forward."""
    variants = load_variants(str(CONFIGS / "sandwich_wmt14.py"))
    assert {round(parameters(config)["parameters"] / 1e6, 2) for config in variants.values()} == {214.17}
    orders = {(config.model.encoder_order, config.model.decoder_order) for config in variants.values()}
    assert len(orders) == 11
    assert ("ssss" + "fsfs" + "ffff", None) in orders


def test_translation_rows_of_the_synthesizer_differ_by_the_blocks_of_their_scores():
    variants = load_variants(str(CONFIGS / "synthesizer_wmt14.py"))
    found = {name: parameters(config)["parameters"] for name, config in variants.items()}
    layers, width, heads, length = 12, 512, 8, 256
    none, products, random = found["fixed_random"], layers * 2 * width**2, layers * heads * length**2
    weights, dense = layers * heads * 2, layers * (width**2 + width * length)
    # As tensor2tensor has it, but for 31 of its 32 vectors of a target space.
    assert found[""] + 31 * 512 == 61_163_520
    assert products == random == 6_291_456
    assert found[""] - none == found["random"] - none == products
    assert found["factorized_random"] - none == 393_216
    assert found["dense"] - none == dense
    assert found["random_dense"] - none == random + dense + weights
    assert found["dense_vanilla"] - none == dense + products + weights
    assert found["random_vanilla"] - none == random + products + weights
    assert found["control"] - found["random_vanilla"] == layers * 512 - weights
    assert all(found[f"enfr_{name or 'transformer'}"] == size for name, size in found.items() if "enfr" not in name)


def test_learned_entmax_has_a_number_for_each_head_of_each_attention():
    variants = load_variants(str(CONFIGS / "adaptively_sparse_translation.py"))
    found = {name: parameters(variants[name])["parameters"] for name in ("", "ende_entmax15", "ende_alpha")}
    assert found["ende_alpha"] - found[""] == 3 * 6 * 8
    assert found["ende_entmax15"] == found[""]
    assert len(variants) == 12


# Billions of expert weights by the sizes of the paper's table 1; it prints 12.5, 37, 150, 600 and 1,000 of all weights.
EXPERTS = {"12e9": 12.9, "37e9": 38.7, "150e9": 154.6, "600e9": 618.5, "1e12": 1030.8}


@pytest.mark.parametrize("name", EXPERTS)
def test_experts_of_gshard(name):
    """Those of every other layer of both stacks; the rest is attention, dense networks, norms and the table of pieces."""
    config = load_config(str(CONFIGS / f"gshard_{name}.py"))
    model, shapes = config.model, config.form.shapes()
    experts, width, hidden, layers = model.experts.number, 1024, 8192, model.encoder_depth + model.decoder_depth
    sizes = jax.tree_util.tree_flatten_with_path(shapes)[0]
    found = sum(math.prod(x.shape) for _, x in sizes if x.ndim == 4 and x.shape[1] == experts)
    assert found == layers // 2 * experts * 2 * width * hidden
    assert round(found / 1e9, 1) == EXPERTS[name]
    inner, norms = 16 * 128, 2 * width * (2 * model.encoder_depth + 3 * model.decoder_depth + 2)
    attentions = (layers + model.decoder_depth) * 4 * width * inner
    networks = layers // 2 * (2 * width * hidden + hidden + width + width * experts)
    assert parameters(config)["parameters"] == found + attentions + networks + norms + 64_000 * width
