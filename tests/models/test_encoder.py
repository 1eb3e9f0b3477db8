"""The choices of an encoder: positions, masks, mechanisms, dropout, recomputation, formats, and what it refuses."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from efficient_attn.models import Encoder, EncoderConfig, Functional, Sparse
from efficient_attn.models.encoder import RelativeBuckets
from efficient_attn.models.functional import count
from efficient_attn.nn.bigbird_attention import BigBird
from efficient_attn.nn.text_embedding import CountedPositions, SlotPositions
from efficient_attn.ops.bigbird.attention import bigbird_pattern
from efficient_attn.precision import Precision

LENGTH = 11
BASE = EncoderConfig(
    vocab=29,
    depth=2,
    width=12,
    heads=3,
    ff_width=20,
    positions=CountedPositions(rows=17),
    pad_token=1,
    relative=RelativeBuckets(),
    head="masked_lm",
)
TOKENS = jax.random.randint(jax.random.key(1), (2, LENGTH), 2, 29)


@functools.cache
def built(**changes):
    return Encoder(dataclasses.replace(BASE, **changes), key=jax.random.key(0))


@jax.jit
def _run(graph, state, arguments, key):
    return nnx.merge(graph, state)(*arguments, key=key)


def run(model, *arguments, key=None):
    return _run(*nnx.split(model), arguments, key)


@pytest.mark.fast
def test_padding_changes_nothing_wherever_it_lies():
    def logits(before, after):
        widths = ((0, 0), (before, after))
        tokens = jnp.pad(TOKENS[:, :7], widths, constant_values=BASE.pad_token)
        return run(built(), tokens, np.pad(np.ones((2, 7), bool), widths)).logits[:, before : before + 7]

    for before in (1, 4):
        np.testing.assert_allclose(logits(before, 4 - before), logits(0, 4), atol=2e-6)


def test_what_is_hidden_changes_nothing_and_a_hidden_text_is_finite():
    mask = np.ones((2, LENGTH), bool)
    mask[0, 3:5] = mask[1] = False
    found, other = (run(built(), tokens, mask) for tokens in (TOKENS, TOKENS.at[0, 4].set(2)))
    np.testing.assert_array_equal(found.logits[0][mask[0]], other.logits[0][mask[0]])
    assert bool(jnp.isfinite(found.logits).all() and jnp.isfinite(found.last_hidden_state).all())
    np.testing.assert_array_equal(run(built(), TOKENS, mask.astype(np.int32)).logits, found.logits)


def test_an_encoder_looks_both_ways():
    found = run(built(), TOKENS)
    for slot in (0, LENGTH - 1):
        moved = run(built(), TOKENS.at[:, slot].set(2 + (TOKENS[:, slot] - 1) % 27))
        assert float(jnp.abs(moved.last_hidden_state - found.last_hidden_state).max(-1).min()) > 1e-7


def test_a_cycle_of_patterns():
    windows = built(depth=3, attention=Sparse(patterns=("Window(left=1, right=2)", "Window(left=2, right=0)")))
    assert len(windows.stack.cycle) == 2
    assert len(windows.stack.rest) == 1
    found = run(windows, TOKENS).last_hidden_state
    moved = run(windows, TOKENS.at[:, 8].set(2 + (TOKENS[:, 8] - 1) % 27)).last_hidden_state
    changed = np.abs(np.asarray(moved - found)).max(-1) > 0
    # Three layers: 1, 2, 1 to the left; 2, 0, 2 to the right.
    np.testing.assert_array_equal(changed[0], (np.arange(LENGTH) >= 8 - 4) & (np.arange(LENGTH) <= 8 + 4))


def test_recomputation_changes_nothing():
    def gradient(model, mask):
        graph, state = nnx.split(model)
        loss = lambda state: jnp.square(nnx.merge(graph, state)(TOKENS, mask).logits).mean()  # noqa: E731
        return nnx.to_pure_dict(jax.jit(jax.grad(loss))(state))

    mask = jnp.arange(LENGTH) < jnp.array([[LENGTH], [5]])
    plain, again = gradient(built(), mask), gradient(built(remat="block"), mask)
    assert float(jnp.abs(plain["relative"]["table"]).max()) > 0
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), plain, again)


def test_dropout_needs_a_key_and_differs_by_it():
    model = built(dropout=0.2)
    plain = run(model, TOKENS)
    first, second, same = (run(model, TOKENS, key=jax.random.key(seed)).logits for seed in (0, 1, 0))
    np.testing.assert_allclose(plain.logits, run(built(), TOKENS).logits, atol=1e-6)
    np.testing.assert_array_equal(first, same)
    assert float(jnp.abs(first - second).mean()) > 1e-3
    attention = run(built(depth=1, attention_dropout=0.3), TOKENS, key=jax.random.key(0)).logits
    plain = run(built(depth=1), TOKENS, key=jax.random.key(0))
    assert float(jnp.abs(attention - plain.logits).mean()) > 1e-6


def test_bfloat16_keeps_the_stream_and_the_logits_in_float32():
    found, expected = (run(built(precision=Precision(compute=compute)), TOKENS) for compute in ("bfloat16", "float32"))
    assert {x.dtype for x in jax.tree.leaves(found)} == {jnp.dtype("float32")}
    np.testing.assert_allclose(found.logits, expected.logits, atol=0.02)


def test_choices_and_texts_may_have_any_leading_shape():
    model = built(head="multiple_choice")
    found = run(model, TOKENS.reshape(1, 2, LENGTH))
    assert found.logits.shape == (1, 2)
    assert found.last_hidden_state.shape == (1, 2, LENGTH, 12)
    np.testing.assert_allclose(found.logits[0], run(model, TOKENS).logits, atol=1e-6)


@pytest.mark.fast
def test_inputs_that_do_not_fit_are_refused():
    model = built()
    for token in (29, -1):
        with pytest.raises(ValueError, match=f"input_ids must be from 0 to 28, got {token}"):
            model(TOKENS.at[0, 3].set(token))
        # Under jit the numbers are not known.
        logits = run(model, TOKENS.at[0, 3].set(token)).logits
        assert bool(jnp.isnan(logits[0]).all() and jnp.isfinite(logits[1]).all())
    with pytest.raises(ValueError, match="positions for 1 to 15 tokens, got 16"):
        model(jnp.full((1, 16), 2))
    with pytest.raises(ValueError, match="no token types, got token_type_ids"):
        model(TOKENS, token_type_ids=jnp.zeros_like(TOKENS))
    with pytest.raises(ValueError, match="no global tokens, got a global mask"):
        run(model, TOKENS, None, jnp.ones_like(TOKENS))
    with pytest.raises(ValueError, match="token_type_ids must be from 0 to 1, got 2"):
        built(token_types=2)(TOKENS, token_type_ids=jnp.full_like(TOKENS, 2))


def test_layers_of_bigbird_have_random_blocks_of_their_own():
    positions = CountedPositions(rows=60)
    attention = BigBird(block=2, random_blocks=1, draws=2, longest=58)
    found = built(depth=3, relative=None, positions=positions, attention=attention)
    assert [block.attention.layer for block in (*found.stack.cycle, *found.stack.rest)] == [0, 1, 0]
    tables = [attention.table(40, 3, layer) for layer in (0, 1)]
    assert (tables[0] != tables[1]).any()
    evaluated = dataclasses.replace(attention, drawn=False)
    assert len(built(depth=3, relative=None, positions=positions, attention=evaluated).stack.cycle) == 1
    one = built(depth=1, relative=None, positions=positions, attention=attention)
    tokens = jnp.tile(TOKENS, (1, 4))[:, :40]
    other = tokens.at[:, 20].set(2 + (tokens[:, 20] - 1) % 27)
    hidden, moved = (np.asarray(run(one, x).last_hidden_state) for x in (tokens, other))
    sees = bigbird_pattern(40, 2, tables[0]).dense(40, 40).any(0)[:, 20]
    np.testing.assert_array_equal((hidden != moved).any((0, 2)), sees)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        (
            {"head": "residual_question_answering"},
            "'residual_question_answering' needs BigBird attention and two token",
        ),
        ({"depth": 0}, "depth must be at least 1, got 0"),
        ({"heads": 5}, "heads must divide width, got heads=5, width=12"),
        ({"pad_token": 29}, "pad_token must be below vocab=29, got 29"),
        ({"positions": CountedPositions(rows=2)}, "leaves no row for a token: the first is 2"),
        ({"attention_dropout": 1.0}, r"attention_dropout must be in \[0, 1\), got 1\.0"),
        ({"head": "multiple_choice", "pooler": False}, "'multiple_choice' reads the pooler"),
        ({"labels": ()}, "labels needs at least one name"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(changes, reason):
    with pytest.raises(ValueError, match=reason):
        dataclasses.replace(BASE, **changes)


# As counted in the published files of bert-base-uncased, roberta-base and mpnet-base, each with its pooler.
PUBLISHED = {
    "bert": (109_482_240, {"vocab": 30522, "token_types": 2, "positions": SlotPositions(rows=512)}),
    "roberta": (124_645_632, {"vocab": 50265, "token_types": 1, "positions": CountedPositions(rows=514)}),
    "mpnet": (109_486_464, {"vocab": 30527, "relative": RelativeBuckets(), "positions": CountedPositions(rows=514)}),
}


@pytest.mark.fast
@pytest.mark.parametrize("name", PUBLISHED)
def test_published_sizes(name):
    parameters, own = PUBLISHED[name]
    config = EncoderConfig(depth=12, width=768, heads=12, ff_width=3072, pad_token=1, **own)
    shapes = Functional(lambda key: Encoder(config, key=key)).shapes()
    assert count(shapes) == parameters
    assert count(shapes["pooler"]) == 768 * 769
    masked = dataclasses.replace(config, head="masked_lm", pooler=False)
    # The decoder is tied: a hidden layer, a norm and a bias.
    head = 768 * 769 + 2 * 768 + config.vocab
    assert count(Functional(lambda key: Encoder(masked, key=key)).shapes()) == parameters - 768 * 769 + head
