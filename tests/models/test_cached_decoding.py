"""A step over the cache gives the logits of the training row, for every pattern, mechanism and position scheme."""

import dataclasses

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from efficient_attn.models import (
    LSH,
    AdaptivelySparse,
    BlockLinformer,
    Decoder,
    DecoderConfig,
    Functional,
    Recurrent,
    Relative,
    Sparse,
    Synthesizer,
)
from efficient_attn.nn.embedding import NoPositions, RotaryPositions, SinusoidalPositions, TablePositions

LENGTH, VOCAB, BATCH = 29, 31, 2
BASE = DecoderConfig(depth=3, width=16, heads=4, key_heads=2, vocab=VOCAB, logits="untied")
TOKENS = jax.random.randint(jax.random.key(1), (BATCH, LENGTH), 0, VOCAB)

WINDOW = "Causal() & Window(left=4)"
CASES = {
    "window, rotary": ((WINDOW,), RotaryPositions()),
    "window, sinusoidal": ((WINDOW,), SinusoidalPositions()),
    "causal, table": (("Causal()",), TablePositions(sizes=(37,))),
    "strided and window, rows and columns": (("Causal() & Strided(5)", WINDOW), TablePositions(sizes=(6, 5))),
    "fixed per head, rotary": (
        ("Causal() & fixed_heads(heads=4, stride=8, summary=2, groups=4)",),
        RotaryPositions(base=50.0),
    ),
    "per head and dense": (
        (
            "PerHead((Causal() & Window(left=1), Causal(), Causal() & Strided(3), Causal() & Chunk(4)))",
            "Causal()",
            "Causal() & Window(left=0)",
        ),
        SinusoidalPositions(),
    ),
    "relative": (Relative(patterns=(WINDOW, "Causal() & Dilated(left=3, dilation=2)")), NoPositions()),
    "entmax, learned alphas": (AdaptivelySparse(patterns=(WINDOW, "Causal()")), RotaryPositions()),
    # A chunk that holds the whole text: other texts are decoded as those that end there, which is tested beside the module.
    "hashed and local": (
        LSH(chunk=LENGTH, rounds=2, layers=("lsh", "Causal() & NearChunks(4)")),
        TablePositions(sizes=(37,)),
    ),
    "blocks and slots": (BlockLinformer(block=8, slots=3), RotaryPositions()),
    "blocks, slots of each head": (BlockLinformer(block=5, slots=2, sharing="none"), SinusoidalPositions()),
    "recurrent and window": (Recurrent(cell="lstm", layers=("recurrent", WINDOW)), SinusoidalPositions()),
    "sparsemax": (AdaptivelySparse(alpha=2.0), RotaryPositions()),
    "synthesizer, random and window": (
        Synthesizer(patterns=(WINDOW, "Causal()"), scores=("random", "factorized_random"), length=31),
        SinusoidalPositions(),
    ),
    "synthesizer, fixed": (Synthesizer(scores=("fixed_random",), length=LENGTH), TablePositions(sizes=(37,))),
    "synthesizer, dense and dot products": (
        Synthesizer(scores=("dense", "factorized_dense", "dot_product"), length=37),
        RotaryPositions(),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_every_step_equals_its_training_row_in_one_trace(name):
    attention, positions = CASES[name]
    attention = Sparse(patterns=attention) if isinstance(attention, tuple) else attention
    heads = {"key_heads": None} if isinstance(attention, LSH) else {}
    config = dataclasses.replace(BASE, attention=attention, positions=positions, **heads)
    model = Functional(lambda key: Decoder(config, key=key))
    params = model.init(jax.random.key(0))
    rows = jax.jit(lambda params, tokens: model.module(params)(tokens))(params, TOKENS)

    chex.clear_trace_counter()

    @jax.jit
    @chex.assert_max_traces(n=1)
    def step(params, token, position, caches):
        return model.module(params).step(token, position, caches, LENGTH)

    caches = model.module(params).init_cache(BATCH, LENGTH)
    for position in range(LENGTH):
        before = TOKENS[:, max(position - 1, 0)]
        logits, after = step(params, before, jnp.asarray(position), caches)
        chex.assert_shape(logits, (BATCH, VOCAB))
        chex.assert_trees_all_equal_shapes_and_dtypes(caches, after)
        np.testing.assert_allclose(logits, rows[:, position], atol=1e-4, err_msg=f"position {position}")
        caches = after


def test_a_cache_of_windows_does_not_grow_with_the_length():
    config = dataclasses.replace(BASE, attention=Sparse(patterns=(WINDOW,)))
    caches = Decoder(config, key=jax.random.key(0)).init_cache(BATCH, 10_000)
    assert {cache.key.shape for cache in jax.tree.leaves(caches, is_leaf=lambda c: hasattr(c, "key"))} == {
        (3, BATCH, 5, 8)
    }


@pytest.mark.parametrize("cell", ["brc", "lstm"])
def test_a_recurrent_cache_is_a_state_whatever_the_length(cell):
    config = dataclasses.replace(BASE, attention=Recurrent(cell=cell))
    caches = Decoder(config, key=jax.random.key(0)).init_cache(BATCH, 1_000)
    assert {array.shape for array in jax.tree.leaves(caches)} == {(3, BATCH, 16)}


@pytest.mark.parametrize("depth", [4, 10], ids=["unrolled", "a loop over layers"])
def test_a_drawn_token_moves_no_cache(depth):
    """The compiled loop over tokens needs a small part of what is kept, and takes the caches that it is given as its own."""
    config = DecoderConfig(
        depth=depth,
        width=32,
        heads=2,
        attention=Sparse(patterns=("Causal() & Window(left=15)", "Causal() & Strided(64)")),
    )
    model, length = Functional(lambda key: Decoder(config, key=key)), 4096

    def step(position, state, decoder):
        logits, caches = decoder.step(state[0], position, state[1], length)
        return jnp.argmax(logits, axis=-1), caches

    def draw(params, leaves):
        decoder = model.module(params)
        start = (jnp.zeros(1, jnp.int32), jax.tree.unflatten(structure, leaves))
        token, caches = jax.lax.fori_loop(0, length, lambda position, state: step(position, state, decoder), start)
        return token, jax.tree.leaves(caches)

    params = model.init(jax.random.key(0))
    leaves, structure = jax.tree.flatten(model.module(params).init_cache(1, length))
    memory = jax.jit(draw, donate_argnums=1).lower(params, leaves).compile().memory_analysis()
    kept = sum(leaf.nbytes for leaf in leaves)
    assert memory.temp_size_in_bytes < kept / 4
    assert memory.alias_size_in_bytes > 0.9 * kept
