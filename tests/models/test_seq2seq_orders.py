"""Encoder-decoders whose sublayers come in another order, against a loop over single sublayers."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from efficient_attn.models import Seq2SeqConfig, Sequence, Sparse, seq2seq_of
from efficient_attn.models.functional import count
from efficient_attn.nn.attention import Memory
from efficient_attn.nn.cache import Cache
from efficient_attn.nn.given import Given
from efficient_attn.nn.sublayers import runs, sandwich_order
from efficient_attn.patterns import Causal, Full, Window

WINDOWS = {
    "encoder": {0: Full(), 1: Window(left=2, right=2)},
    "decoder": {0: Causal() & Window(left=2), 1: Causal()},
}
BASE = Seq2SeqConfig(
    vocab=31,
    width=16,
    ff_width=64,
    heads=4,
    encoder_depth=3,
    decoder_depth=4,
    longest=19,
    encoder_attention=Sparse(patterns=("Full()", "Window(left=2, right=2)")),
    decoder_attention=Sparse(patterns=("Causal() & Window(left=2)", "Causal()")),
    initialization="unit_scaling",
)
ORDERS = {"encoder_order": "fssffs", "decoder_order": "fsfsssff"}
SOURCE, TARGET = (
    Sequence.of(np.random.default_rng(side).integers(2, 31, size=(2, length)) * (np.arange(length) < length - side), 0)
    for side, length in enumerate((7, 11))
)


def sublayers(stack):
    """The stack's sublayers one by one, each with its kind: halves of blocks, taken out of the arrays that runs share."""
    for run, part in zip(runs(stack.order), stack.runs, strict=True):
        length = len(part.patterns)
        cycles = (run.repeats - len(part.rest)) // length
        blocks = [jax.tree.map(lambda a, n=n: a[n], part.cycle[p]) for n in range(cycles) for p in range(length)]
        for block in [*blocks, *part.rest]:
            for kind in run.unit:
                yield kind, block


def one_by_one(model, place):
    """Logits, by single sublayers."""

    def around(x, norm, sublayer):
        return x + sublayer(norm(x)) if place == "pre" else norm(x + sublayer(x))

    def through(side, x, texts, look=lambda block, x: x):
        seen, given = 0, Given(segments=texts.segments, positions=texts.positions)
        for kind, block in sublayers(getattr(model, side)):
            if kind == "f":
                x = around(x, block.feedforward_norm, block.feedforward)
                continue
            pattern, seen = WINDOWS[side][seen % 2], seen + 1
            own = lambda h, block=block, pattern=pattern: block.attention.among(h, pattern, given, 0.0, None)  # noqa: E731
            x = look(block, around(x, block.attention_norm, own))
        return x if place == "post" else getattr(model, f"{side}_norm")(x)

    encoded = through("encoder", model.embedding.of_source(SOURCE.tokens, SOURCE.positions), SOURCE)

    def look(block, x):
        memory, segments = block.cross.remembered(encoded), (TARGET.segments, SOURCE.segments)
        return around(x, block.cross_norm, lambda h: block.cross.recall(h, memory, segments, 0.0, None))

    before = jnp.pad(TARGET.tokens, ((0, 0), (1, 0)), constant_values=BASE.bos_token)[:, :-1]
    return model.logits(through("decoder", model.embedding.of_target(before, TARGET.positions), TARGET, look))


@pytest.mark.parametrize("place", ["pre", "post"])
def test_stacks_in_any_order_equal_single_sublayers(place):
    form = seq2seq_of(dataclasses.replace(BASE, **ORDERS, norm=place))
    params = form.init(jax.random.key(0))
    model = form.module(params)
    assert ["".join(kind for kind, _ in sublayers(side)) for side in (model.encoder, model.decoder)] == [
        *ORDERS.values()
    ]
    found = jax.jit(lambda params: form.module(params)(SOURCE, TARGET))(params)
    np.testing.assert_allclose(found, one_by_one(model, place), atol=2e-5)


def test_attentions_alone_have_caches():
    form = seq2seq_of(dataclasses.replace(BASE, **ORDERS))
    model = form.module(jax.jit(form.init)(jax.random.key(0)))
    caches = model.init_cache(jnp.zeros((2, 7, 16)), SOURCE, 11)
    for kept, kind in ((caches.own, Cache), (caches.memory, Memory)):
        layers = jax.tree.leaves(kept, is_leaf=lambda x, kind=kind: isinstance(x, kind))
        assert all(isinstance(layer, kind) for layer in layers)
        assert sum(layer.key.shape[0] if layer.key.ndim == 5 else 1 for layer in layers) == 4


def test_no_sandwich_is_the_ordinary_model_bit_for_bit():
    written = dataclasses.replace(BASE, encoder_order=sandwich_order(3, 0), decoder_order=sandwich_order(4, 0))
    keys = jax.random.split(jax.random.key(0))

    def run(config):
        form = seq2seq_of(config)
        params = jax.jit(form.init)(keys[0])
        return params, jax.jit(lambda params: form.module(params)(SOURCE, TARGET, keys[1]))(params)

    jax.tree.map(np.testing.assert_array_equal, run(BASE), run(written))


@pytest.mark.fast
def test_every_sandwich_has_as_many_parameters():
    for k in range(4):
        orders = {"encoder_order": sandwich_order(3, k), "decoder_order": sandwich_order(4, k)}
        config = dataclasses.replace(BASE, **orders)
        assert count(seq2seq_of(config).shapes()) == count(seq2seq_of(BASE).shapes())
