"""The encoder-decoder: packed rows, padding and cached steps give the logits of texts alone, for every mechanism."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from efficient_attn.models import (
    AdaptivelySparse,
    Experts,
    Seq2SeqConfig,
    Sequence,
    Sparse,
    Synthesizer,
    seq2seq_of,
    t5,
)
from efficient_attn.nn.relative_buckets import RelativeBuckets

VOCAB, PAD, BOS, EOS = 31, 0, 2, 1
BASE = Seq2SeqConfig(
    vocab=VOCAB,
    width=16,
    ff_width=24,
    heads=4,
    encoder_depth=2,
    decoder_depth=3,
    longest=19,
    bos_token=BOS,
    initialization="unit_scaling",
)
BOTH = Synthesizer(patterns=("Full()",), scores=("random", "dense", "dot_product"), length=19)
BUCKETED = t5(
    vocab=VOCAB, width=16, ff_width=24, heads=4, encoder_depth=2, decoder_depth=3, longest=19, bos_token=BOS,
    positions=RelativeBuckets(buckets=4, longest=5),
)  # fmt: skip
CASES = {
    "dense, before": dataclasses.replace(BASE, norm="pre", source_vector=True),
    "windows": dataclasses.replace(
        BASE,
        encoder_attention=Sparse(patterns=("Window(left=2, right=2)", "Full()")),
        decoder_attention=Sparse(patterns=("Causal() & Window(left=2)", "Causal()")),
    ),
    "chunks": dataclasses.replace(
        BASE,
        encoder_attention=Sparse(patterns=("Chunk(3)",)),
        decoder_attention=AdaptivelySparse(patterns=("Causal() & Chunk(3)",)),
    ),
    "entmax": dataclasses.replace(
        BASE,
        encoder_attention=AdaptivelySparse(patterns=("Full()",)),
        decoder_attention=AdaptivelySparse(),
        cross_attention=AdaptivelySparse(patterns=("Full()",), alpha=1.5),
    ),
    # With few enough buckets that offsets share some, and that the last one is reached.
    "buckets": BUCKETED,
    "buckets, gated": dataclasses.replace(
        BUCKETED,
        ff_network="gated",
        sharing="tokens",
        head_size=5,
        cross_attention=AdaptivelySparse(patterns=("Full()",)),
    ),
    "buckets, windows": dataclasses.replace(
        BUCKETED,
        encoder_attention=Sparse(patterns=("Chunk(3)",)),
        decoder_attention=Sparse(patterns=("Causal() & Window(left=2)", "Causal() & Chunk(3)")),
    ),
    "buckets, synthesizer": dataclasses.replace(
        BUCKETED, encoder_attention=BOTH, decoder_attention=dataclasses.replace(BOTH, patterns=("Causal()",))
    ),
    "synthesizer": dataclasses.replace(
        BASE, encoder_attention=BOTH, decoder_attention=dataclasses.replace(BOTH, patterns=("Causal()",))
    ),
    # The second run of attentions begins in the middle of the cycle of patterns.
    "sandwich": dataclasses.replace(
        BASE,
        encoder_order="ssff",
        decoder_order="fsfssf",
        decoder_attention=Sparse(patterns=("Causal() & Window(left=2)", "Causal()")),
    ),
    "sandwich, buckets, gated": dataclasses.replace(
        BUCKETED, ff_network="gated", encoder_order="fssf", decoder_order="sssfff"
    ),
    # Room for every choice, whoever is beside a text; and heads of another size than the width has room for.
    "experts": dataclasses.replace(BASE, experts=Experts(number=3, capacity_factor=3.0), head_size=5, norm="pre"),
}
# Texts of two rows, each with its source.
LENGTHS = ((5, 4), (6, 7), (7, 3), (3, 6), (2, 2))
PACKS = ((0, 1), (2, 3, 4))


def texts(side):
    draw = np.random.default_rng(side)
    return [draw.integers(3, VOCAB, size=lengths[side]) for lengths in LENGTHS]


def packed(side, width=17):
    """Two rows with all the texts of a side, and padding."""
    rows = {name: np.zeros((len(PACKS), width), np.int32) for name in ("tokens", "segments", "positions")}
    for row, pack in enumerate(PACKS):
        first = 0
        for segment, text in enumerate((texts(side)[n] for n in pack), start=1):
            place = (row, slice(first, first + len(text)))
            rows["tokens"][place], rows["segments"][place] = text, segment
            rows["positions"][place] = np.arange(len(text))
            first += len(text)
    return Sequence(**{name: jnp.asarray(x) for name, x in rows.items()})


def alone(side, width=9):
    """Each text in a row of its own."""
    rows = np.full((len(LENGTHS), width), PAD, np.int32)
    for row, text in enumerate(texts(side)):
        rows[row, : len(text)] = text
    return Sequence.of(rows, PAD)


@functools.partial(jax.jit, static_argnums=0)
def run(form, params, source, target, key=None):
    return form.module(params)(source, target, key)


@pytest.fixture(scope="module", params=CASES)
def case(request):
    form = seq2seq_of(CASES[request.param])
    params = form.init(jax.random.key(0))
    return form, params, np.asarray(run(form, params, alone(0), alone(1)))


def test_packed_texts_are_as_alone(case):
    form, params, expected = case
    found = np.asarray(run(form, params, packed(0), packed(1)))
    assert np.isfinite(found).all()
    for row, pack in enumerate(PACKS):
        first = 0
        for text in pack:
            length = LENGTHS[text][1]
            np.testing.assert_allclose(found[row, first : first + length], expected[text, :length], atol=1e-5)
            first += length


def test_padding_changes_nothing(case):
    form, params, expected = case
    source, target = alone(0), alone(1)
    source = dataclasses.replace(source, tokens=jnp.where(source.segments == 0, 7, source.tokens))
    target = dataclasses.replace(target, tokens=jnp.where(target.segments == 0, 7, target.tokens))
    real = np.asarray(target.segments)[..., None] > 0
    np.testing.assert_allclose(run(form, params, source, target) * real, expected * real, atol=1e-6)


def test_a_step_is_the_training_row(case):
    form, params, expected = case
    source, target = alone(0), alone(1)
    length = target.tokens.shape[1]
    model = form.module(params)
    cache = model.init_cache(model.encode(source), source, length)
    step = jax.jit(lambda params, *arguments: form.module(params).step(*arguments, length))
    before = jnp.full(len(LENGTHS), BOS)
    for position in range(length):
        logits, cache = step(params, before, jnp.asarray(position), cache)
        real = np.asarray(target.segments)[:, position, None] > 0
        np.testing.assert_allclose(logits * real, expected[:, position] * real, atol=1e-5)
        before = target.tokens[:, position]


TIGHT = dataclasses.replace(BASE, experts=Experts(number=3, capacity_factor=1.0, group=6))


def test_every_other_network_of_both_stacks_is_a_mixture():
    stacks = seq2seq_of(dataclasses.replace(TIGHT, decoder_depth=5, head_size=7)).shapes()
    for name, cycles, rest in (("encoder", 1, 0), ("decoder", 2, 1)):
        plain, mixed = stacks[name]["cycle"][0]["feedforward"], stacks[name]["cycle"][1]["feedforward"]
        assert plain["expand"]["kernel"].shape == (cycles, 16, 24)
        assert mixed["expand"]["kernel"].shape == (cycles, 3, 16, 24)
        assert len(stacks[name].get("rest", {})) == rest
    assert stacks["decoder"]["rest"][0]["feedforward"]["expand"]["kernel"].shape == (16, 24)
    assert stacks["decoder"]["rest"][0]["cross"]["query"]["kernel"].shape == (16, 4 * 7)


def test_padding_takes_no_room_of_experts():
    form = seq2seq_of(TIGHT)
    params = form.init(jax.random.key(0))
    run = jax.jit(lambda params, source, target: form.module(params).routed(source, target))
    source, target = packed(0), packed(1)
    hidden, seen = run(params, source, target)
    for stack, side in zip(seen, (0, 1), strict=True):
        assert stack.load.sum() == sum(lengths[side] for lengths in LENGTHS)
        assert stack.dropped > 0
    other = [dataclasses.replace(x, tokens=jnp.where(x.segments == 0, 7, x.tokens)) for x in (source, target)]
    real = np.asarray(target.segments)[..., None] > 0
    np.testing.assert_allclose(run(params, *other)[0] * real, hidden * real, atol=1e-6)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"experts": Experts(number=4, every=3)}, "no layer of 2 is a mixture where every=3"),
        ({"experts": Experts(number=4), "ff_dropout": 0.1}, "ff_dropout must be 0 with experts, got 0.1"),
        ({"heads": 3}, "heads must divide width where head_size is None, got heads=3, width=16"),
        (
            {"positions": RelativeBuckets(), "decoder_attention": AdaptivelySparse()},
            "decoder_attention cannot be AdaptivelySparse with RelativeBuckets",
        ),
        ({"experts": Experts(number=4), "ff_network": "gated"}, "ff_network must be 'plain' with experts, got 'gated'"),
        ({"head_size": 0}, "head_size must be at least 1, or None; got 0"),
        ({"encoder_order": "scf"}, "encoder_order must consist of the letters s and f, with at least one s; got 'scf'"),
        (
            {"encoder_order": "sssf"},
            r"encoder_order must have s \+ 2 f = 3 \* depth = 6, the parameters of 2 of each; got 3 of s and 1 of f",
        ),
        (
            {"decoder_order": "sfsf"},
            r"decoder_order must have 2 s \+ 2 f = 4 \* depth = 12, the parameters of 3 of each; got 2 of s and 2 of f",
        ),
        (
            {"experts": Experts(number=4), "decoder_order": "sssfff"},
            "a mixture of experts has its sublayers in turn: decoder_order must be None, got 'sssfff'",
        ),
    ],
)
def test_sizes_that_cannot_be_are_refused(changes, reason):
    with pytest.raises(ValueError, match=reason):
        dataclasses.replace(BASE, **changes)
