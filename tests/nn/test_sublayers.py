"""Orders of sublayers against the paper's, and stacks in those orders against a loop over single sublayers."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from efficient_attn.models import Decoder, DecoderConfig, Functional, Sparse
from efficient_attn.models.functional import count
from efficient_attn.nn.attention import SelfAttention
from efficient_attn.nn.block import AttentionBlock, Block, FeedForwardBlock
from efficient_attn.nn.feedforward import FeedForward
from efficient_attn.nn.initializers import Initialization
from efficient_attn.nn.stack import Stack
from efficient_attn.nn.sublayer_stack import SublayerStack
from efficient_attn.nn.sublayers import Run, balanced_order, matched_order, runs, sandwich_order
from efficient_attn.patterns import Causal, Window

WINDOW = "Causal() & Window(left=3)"
BASE = DecoderConfig(
    depth=4, width=16, heads=2, vocab=31, attention=Sparse(patterns=("Causal()", WINDOW)), logits="untied"
)
TOKENS = jax.random.randint(jax.random.key(1), (2, 13), 0, 31)


@pytest.mark.fast
@pytest.mark.parametrize("k", range(17))
def test_sandwiches_of_sixteen(k):
    order = sandwich_order(16, k)
    assert len(order) == 32
    assert order.count("s") == 16
    # The published form: runs of k + 1 at both ends, and pairs between.
    inner = min(k, 15)
    assert order == "s" * (inner + 1) + "fs" * (15 - inner) + "f" * (inner + 1)


@pytest.mark.fast
def test_published_sandwich():
    assert sandwich_order(16, 6) == "sssssssfsfsfsfsfsfsfsfsfsfffffff"
    assert sandwich_order(3, 0) == "sfsfsf"
    assert sandwich_order(3, 3) == sandwich_order(3, 2) == "sssfff"


@pytest.mark.fast
@pytest.mark.parametrize("seed", range(5))
def test_random_orders_keep_the_size_and_differ(seed):
    balanced, matched = balanced_order(16, seed), matched_order(16, seed)
    assert (balanced.count("s"), balanced.count("f")) == (16, 16)
    assert matched.count("s") + 2 * matched.count("f") == 48
    assert balanced != balanced_order(16, seed + 5)
    assert matched == matched_order(16, seed) != matched_order(16, seed + 5)


@pytest.mark.fast
def test_runs():
    assert runs(sandwich_order(16, 6)) == (Run("s", 6), Run("sf", 10), Run("f", 6))
    assert runs("fsfs") == (Run("f", 1), Run("sf", 1), Run("s", 1))
    assert runs("sfsf") == (Run("sf", 2),)


def sublayers(stack):
    """The stack's sublayers one by one, each with its kind: halves of blocks, taken out of the arrays that runs share."""
    for run, part in zip(runs(stack.order), stack.runs, strict=True):
        length = len(part.patterns)
        cycles = (run.repeats - len(part.rest)) // length
        blocks = [jax.tree.map(lambda a, n=n: a[n], part.cycle[p]) for n in range(cycles) for p in range(length)]
        for block in [*blocks, *part.rest]:
            for kind in run.unit:
                yield kind, block


def one_by_one(decoder, tokens):
    x, patterns, seen = decoder.embedding.shifted(tokens), (Causal(), Causal() & Window(left=3)), 0
    for kind, block in sublayers(decoder.stack):
        if kind == "s":
            x, seen = x + block.attention(block.attention_norm(x), patterns[seen % 2]), seen + 1
        else:
            x = x + block.feedforward(block.feedforward_norm(x))
    return decoder.logits(x)


# A run of attentions begins in the middle of the cycle of patterns, and there are runs of one and of two.
def test_a_stack_in_any_order_and_its_cached_steps_equal_single_sublayers():
    order = "fsfsssff"
    model = Functional(lambda key: Decoder(dataclasses.replace(BASE, order=order), key=key))
    params = jax.jit(model.init)(jax.random.key(0))
    decoder = model.module(params)
    assert [kind for kind, _ in sublayers(decoder.stack)] == list(order)
    rows = jax.jit(lambda params: model.module(params)(TOKENS))(params)
    np.testing.assert_allclose(rows, one_by_one(decoder, TOKENS), atol=2e-5)
    caches = decoder.init_cache(2, 13)
    held = [cache.key.shape for cache in jax.tree.leaves(caches, is_leaf=lambda c: hasattr(c, "key"))]
    # An attention alone or in a pair has keys and values; no feed-forward has.
    assert sum(shape[0] if len(shape) == 4 else 1 for shape in held) == 4
    step = jax.jit(lambda params, token, at, caches: model.module(params).step(token, at, caches, 13))
    for position in range(13):
        logits, caches = step(params, TOKENS[:, max(position - 1, 0)], jnp.asarray(position), caches)
        np.testing.assert_allclose(logits, rows[:, position], atol=1e-4)


def test_no_sandwich_is_the_ordinary_decoder_bit_for_bit():
    ordinary, sandwich = (
        jax.jit(Functional(lambda key, order=order: Decoder(dataclasses.replace(BASE, order=order), key=key)).init)(
            jax.random.key(0)
        )
        for order in (None, sandwich_order(4, 0))
    )
    jax.tree.map(np.testing.assert_array_equal, ordinary, sandwich)


def test_a_stack_of_sublayers_with_one_run_is_a_stack():
    patterns, make = BASE.attention.parsed(), _maker(BASE)
    x = jax.random.normal(jax.random.key(2), (2, 13, 16))

    @jax.jit
    def both(key):
        plain = Stack(functools.partial(make, "sf"), 4, patterns, "none", key)
        again = SublayerStack(make, "sfsfsfsf", patterns, "none", key)
        return plain(x, 0.1, key), again(x, 0.1, key)

    np.testing.assert_array_equal(*both(jax.random.key(3)))


def _maker(config):
    init, precision = Initialization(config.initialization, config.depth), config.precision

    def make(unit, place, rngs):
        attention = SelfAttention(16, 2, 2, 16, init, precision, rotary=config.positions.base, rngs=rngs)
        feedforward = FeedForward(16, 64, config.activation, init, precision, rngs=rngs)
        return Block(attention, feedforward, "pre", 16, rngs=rngs)

    return make


@pytest.mark.fast
def test_every_sandwich_and_every_matched_order_has_as_many_products():
    sizes = set()
    for order in [sandwich_order(4, k) for k in range(5)] + [balanced_order(4, 1), matched_order(4, 2)]:
        config = dataclasses.replace(BASE, order=order, attention_bias=False)
        shapes = Functional(lambda key, config=config: Decoder(config, key=key)).shapes()["stack"]
        kernels = [x for path, x in jax.tree_util.tree_leaves_with_path(shapes) if path[-1].key == "kernel"]
        sizes.add(count(kernels))
    assert sizes == {4 * 12 * 16**2}


@pytest.mark.fast
def test_refuses():
    with pytest.raises(ValueError, match=r"k must be in 0..depth, and depth at least 1; got k=5, depth=4"):
        sandwich_order(4, 5)
    with pytest.raises(ValueError, match="order must consist of the letters s and f, with at least one s; got 'sfx'"):
        dataclasses.replace(BASE, order="sfx")
    with pytest.raises(ValueError, match=r"order must have s \+ 2 f = 3 \* depth = 12, .* got 1 of s and 1 of f"):
        dataclasses.replace(BASE, order="sf")
    with pytest.raises(ValueError, match="order must be None"):
        dataclasses.replace(BASE, order=sandwich_order(4, 1), residual="reversible")


@pytest.mark.fast
def test_halves_of_a_block_have_no_other_half():
    decoder = Decoder(dataclasses.replace(BASE, order=sandwich_order(4, 2)), key=jax.random.key(0))
    first, _, last = decoder.stack.runs
    assert type(first.cycle[0]) is AttentionBlock
    assert not hasattr(first.cycle[0], "feedforward")
    assert type(last.cycle[0]) is FeedForwardBlock
    assert not hasattr(last.cycle[0], "attention")
