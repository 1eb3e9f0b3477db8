"""Linformer's attention in an encoder: the equation, sharing, kinds of slots, padding, short texts, and what is refused."""

import dataclasses
import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from efficient_attn.models import EncoderConfig, Linformer, encoder_of
from efficient_attn.models.functional import count
from efficient_attn.nn.initializers import Initialization
from efficient_attn.nn.linformer_attention import LinformerAttention
from efficient_attn.nn.mechanisms import check_causal
from efficient_attn.nn.text_embedding import SlotPositions
from efficient_attn.precision import Precision

B, T, N, H, LENGTH, SLOTS = 2, 11, 3, 5, 16, 4
WIDTH, INIT = N * H, Initialization("unit", 1)
SHARINGS = ("none", "headwise", "key_value", "layerwise")
KINDS = ("linear", "mean_pool", "max_pool", "convolution")
X = jax.random.normal(jax.random.key(0), (B, T, WIDTH))
MASK = jnp.arange(T) < jnp.array([[T], [6]])


@functools.cache
def built(**choices):
    """A module with biases, and the projection of all layers."""
    rule = Linformer(**{"length": LENGTH, "slots": (SLOTS,), **choices})
    module = LinformerAttention(WIDTH, N, INIT, Precision(), linformer=rule, rngs=nnx.Rngs(0))
    for seed, project in enumerate((module.query, module.key, module.value, module.output)):
        project.bias[...] = jax.random.normal(jax.random.key(seed), (WIDTH,))
    common = rule.sharing == "layerwise"
    return module, rule.draw(0, N, H, INIT, Precision(), nnx.Rngs(1))[...] if common else None


@jax.jit
def _run(graph, state, x, mask, projection):
    return nnx.merge(graph, state)(x, mask, projection=projection)


def run(x=X, mask=MASK, **choices):
    module, projection = built(**choices)
    return _run(*nnx.split(module), x, mask, projection)


def windows(x, mask, reduce):
    """Head by head and window by window, of the tokens that take part; zero where none does."""
    size, out = LENGTH // SLOTS, np.zeros((B, -(-T // (LENGTH // SLOTS)), N, H))
    for b, slot, n in np.ndindex(out.shape[:3]):
        seen = [t for t in range(slot * size, min(T, (slot + 1) * size)) if mask[b, t]]
        out[b, slot, n] = reduce(x[b, :, n], seen, slot * size, n) if seen else 0
    return out


def short(kind, x, mask, mixing):
    """The slots of keys or values, by the definition."""
    match kind:
        case "linear":
            each = mixing if mixing.ndim == 3 else np.stack([mixing] * N)
            return np.einsum("nkt,bt,btnh->bknh", each[..., :T], mask, x)
        case "mean_pool":
            return windows(x, mask, lambda head, seen, first, n: head[seen].mean(0))
        case "max_pool":
            return windows(x, mask, lambda head, seen, first, n: head[seen].max(0))
    each = mixing if mixing.ndim == 4 else np.stack([mixing] * N, axis=1)
    return windows(x, mask, lambda head, seen, first, n: sum(head[t] @ each[t - first, n] for t in seen))


def oracle(kind, module, projection, mask):
    """softmax(Q (E K)^T / sqrt(H)) (F V) in numpy, with E K and F V from keys and values of every token."""
    heads = lambda project: np.asarray(project(X)).reshape(B, T, N, H)  # noqa: E731
    first = projection if module.key_projection is None else module.key_projection[...]
    second = first if module.value_projection is None else module.value_projection[...]
    first, second = (None if a is None else np.asarray(a) for a in (first, second))
    keys, values = short(kind, heads(module.key), mask, first), short(kind, heads(module.value), mask, second)
    scores = np.einsum("btnh,bknh->bntk", heads(module.query), keys) / H**0.5
    if kind != "linear":
        window = LENGTH // SLOTS
        hidden = [[not mask[b, s * window : (s + 1) * window].any() for s in range(keys.shape[1])] for b in range(B)]
        scores[np.broadcast_to(np.array(hidden)[:, None, None], scores.shape)] = -np.inf
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    mixed = np.einsum("bntk,bknh->btnh", weights / weights.sum(-1, keepdims=True), values)
    return module.output(jnp.asarray(mixed.reshape(B, T, WIDTH), jnp.float32))


CASES = [
    (kind, sharing)
    for kind, sharing in itertools.product(KINDS, SHARINGS)
    if sharing == "headwise" or not kind.endswith("pool")
]


@pytest.mark.parametrize(("kind", "sharing"), CASES)
def test_the_equation_whatever_padding_holds(kind, sharing):
    choices = {"kind": kind, "sharing": sharing}
    found = run(**choices)
    np.testing.assert_allclose(found, oracle(kind, *built(**choices), np.asarray(MASK)), atol=2e-5)
    # The tokens that are hidden see others, so that only their own rows may differ.
    spoiled = run(jnp.where(MASK[..., None], X, 1e4), **choices)
    np.testing.assert_array_equal(spoiled[1, :6], found[1, :6])
    np.testing.assert_array_equal(spoiled[0], found[0])


@pytest.mark.fast
def test_what_is_learned_and_shared():
    size = lambda **choices: count(nnx.to_pure_dict(nnx.split(built(**choices)[0])[1]))  # noqa: E731
    for sharing, projections in zip(SHARINGS, (2 * N, 2, 1, 0), strict=True):
        assert size(sharing=sharing) - size(kind="mean_pool") == projections * LENGTH * SLOTS
        assert (built(sharing=sharing)[1] is not None) == (sharing == "layerwise")
    # A kernel per head has a matrix for each token of a window.
    kernel = built(kind="convolution", sharing="none")[0].key_projection
    assert kernel.shape == (LENGTH // SLOTS, N, H, H)


def test_compressed_tokens_differ_by_where_the_bias_comes_in():
    for kind in ("linear", "max_pool"):
        assert float(jnp.abs(run(kind=kind) - run(kind=kind, compressed="tokens")).max()) > 1e-2
    np.testing.assert_array_equal(run(kind="mean_pool"), run(kind="mean_pool", compressed="tokens"))
    plain = [built(compressed=compressed)[0] for compressed in ("heads", "tokens")]
    found = []
    for module in plain:
        graph, state = nnx.split(module)
        bare = jax.tree.map(lambda a: a, state)
        for name in ("key", "value"):
            bare[name]["bias"] = bare[name]["bias"].replace(jnp.zeros(WIDTH))
        found.append(_run(graph, bare, X, MASK, None))
    np.testing.assert_allclose(*found, atol=1e-5)


def test_a_text_without_tokens_is_finite():
    for kind in KINDS:
        assert bool(jnp.isfinite(run(mask=jnp.zeros((B, T), bool), kind=kind)).all())


BASE = EncoderConfig(
    vocab=29,
    depth=2,
    width=WIDTH,
    heads=N,
    ff_width=20,
    positions=SlotPositions(rows=LENGTH),
    attention=Linformer(length=LENGTH, slots=(SLOTS,), sharing="layerwise"),
    head="masked_lm",
    pooler=False,
)
TOKENS = jax.random.randint(jax.random.key(1), (B, T), 0, 29)


def test_one_projection_for_all_layers_and_its_gradient():
    shapes = encoder_of(BASE).shapes()
    assert shapes["projection"].shape == (SLOTS, LENGTH)
    headwise = dataclasses.replace(BASE, attention=dataclasses.replace(BASE.attention, sharing="headwise"))
    assert count(encoder_of(headwise).shapes()) - count(shapes) == (2 * BASE.depth - 1) * SLOTS * LENGTH

    params = jax.jit(encoder_of(BASE).init)(jax.random.key(0))

    # Recomputed blocks see the projection from outside.
    form = encoder_of(dataclasses.replace(BASE, remat="block"))
    loss = lambda params: jnp.square(form.module(params)(TOKENS, MASK).logits).mean()  # noqa: E731
    found = jax.jit(jax.grad(loss))(params)["projection"]
    assert float(jnp.abs(found[:, :T]).max()) > 0
    # Columns beyond a text are not used.
    np.testing.assert_array_equal(found[:, T:], 0)


def test_slots_of_each_layer_and_padding_in_a_model():
    form = encoder_of(dataclasses.replace(BASE, attention=Linformer(length=LENGTH, slots=(8, 4), sharing="key_value")))
    params = jax.jit(form.init)(jax.random.key(0))
    kernels = [block["attention"]["key_projection"].shape for block in params["stack"]["cycle"].values()]
    assert kernels == [(1, 8, LENGTH), (1, 4, LENGTH)]
    logits = jax.jit(lambda tokens, mask: form.module(params)(tokens, mask).logits)
    found, other = logits(TOKENS, MASK), logits(jnp.where(MASK, TOKENS, 7), MASK)
    np.testing.assert_array_equal(found[1, :6], other[1, :6])


@pytest.mark.fast
@pytest.mark.parametrize(
    ("choices", "reason"),
    [
        ({"length": 0}, "length must be at least 1, got 0"),
        ({"slots": ()}, "at least one number"),
        ({"slots": (17,)}, "at most length=16, got 17"),
        ({"slots": (5,), "kind": "mean_pool"}, "divide length=16, got 5"),
        ({"kind": "max_pool", "sharing": "none"}, "max_pool has no parameters to share"),
        ({"slots": (4, 2), "sharing": "layerwise"}, r"1 entry, got \(4, 2\)"),
        ({"compressed": "tokens", "sharing": "none"}, "no head's own"),
        ({"compressed": "tokens", "kind": "convolution"}, "no head's own"),
    ],
)
def test_choices_that_do_not_fit_are_refused(choices, reason):
    with pytest.raises(ValueError, match=reason):
        Linformer(**{"length": LENGTH, "slots": (SLOTS,), **choices})


@pytest.mark.fast
def test_what_a_linformer_cannot_do_is_refused():
    with pytest.raises(ValueError, match=r"got Linformer: each compressed key mixes all .* BlockLinformer is"):
        check_causal(Linformer(length=LENGTH, slots=(4,)))
    short = Linformer(length=LENGTH - 1, slots=(4,))
    with pytest.raises(ValueError, match="the Linformer is for up to 15 tokens, got 16"):
        dataclasses.replace(BASE, attention=short).check_context(LENGTH)
    module, projection = built(sharing="layerwise")
    with pytest.raises(ValueError, match="'layerwise' needs a projection of all layers"):
        module(X)
    with pytest.raises(ValueError, match="'headwise' needs no projection of all layers"):
        built()[0](X, projection=projection)
    with pytest.raises(ValueError, match="no global tokens"):
        built()[0](X, None, MASK)
