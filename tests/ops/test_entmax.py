"""Entmax against the published package's answers in float64, and where the package has none."""

import sys
from pathlib import Path

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from efficient_attn.ops.entmax import entmax, entmax15, entmax15_loss, entmax_loss, sparsemax, sparsemax_loss

GOLDEN = Path(__file__).parents[1] / "golden"
sys.path.append(str(GOLDEN))
from entmax_cases import LONG, ROWS, SHORT, drawn  # noqa: E402


@pytest.fixture(scope="module")
def golden():
    return np.load(GOLDEN / "entmax.npz")


def worst(found, expected):
    """Largest error, relative to the row's largest entry where that exceeds 1."""
    expected = np.asarray(expected)
    return np.max(np.abs(found - expected).max(-1) / np.maximum(1, np.abs(expected).max(-1)))


@pytest.mark.parametrize("prefix,rows,length,seed", [("", ROWS, SHORT, 0), ("long_", 8, LONG, 1)])
def test_a_learned_alpha_agrees_with_the_package(golden, prefix, rows, length, seed):
    z, g, alpha = drawn(rows, length, seed)
    p, pullback = jax.vjp(entmax, jnp.asarray(z), jnp.asarray(alpha))
    dz, dalpha = pullback(jnp.asarray(g))
    assert worst(p, golden[prefix + "p"]) < 1e-6
    # Above 2 the slope p^(2 - alpha) has no bound as p tends to 0.
    bounded = alpha[:, 0] <= 2
    assert worst(dz[bounded], golden[prefix + "dz"][bounded]) < 1e-5
    assert worst(dz, golden[prefix + "dz"]) < 3e-5
    assert worst(dalpha, golden[prefix + "dalpha"]) < 1e-5


@pytest.mark.parametrize("function", [entmax15, sparsemax])
@pytest.mark.parametrize("prefix,rows,length,seed", [("", ROWS, SHORT, 0), ("long_", 8, LONG, 1)])
def test_fixed_alphas_agree_with_the_package(golden, function, prefix, rows, length, seed):
    z, g, _ = drawn(rows, length, seed)
    p, pullback = jax.vjp(function, jnp.asarray(z))
    assert worst(p, golden[prefix + function.__name__]) < 1e-6
    assert worst(pullback(jnp.asarray(g))[0], golden[prefix + function.__name__ + "_dz"]) < 1e-5


def test_rows_by_hand():
    np.testing.assert_allclose(sparsemax(jnp.array([-2.0, 0.0, 0.5])), [0, 0.25, 0.75], atol=1e-7)
    np.testing.assert_allclose(entmax15(jnp.array([-2.0, 0.0, 0.5])), [0, 0.326007, 0.673993], atol=1e-6)
    rows = jnp.array([[-1.0, 0.0, 0.5], [1.0, 2.0, 3.5]])
    np.testing.assert_allclose(
        entmax(rows, 1.33), [[0.045982, 0.327632, 0.626386], [0.002558, 0.101155, 0.896287]], atol=1e-6
    )
    slope = jax.jacobian(lambda alpha: entmax(rows[0], alpha)[0])(jnp.array(1.33))
    np.testing.assert_allclose(slope, -0.256168, atol=2e-6)


def test_gradients_agree_with_differences_in_float64():
    with jax.enable_x64(True):
        a = jnp.array([0.4, 0.75, 1.0, 1.05, 1.2, 1.5, 1.75, 2.0, 2.25, 2.5], jnp.float64)[:, None]
        z, g, towards = jax.random.normal(jax.random.key(3), (3, 10, 7), jnp.float64)
        p, pullback = jax.vjp(entmax, z, a)
        dz, dalpha = pullback(g)
        chex.assert_trees_all_close(p.sum(-1), jnp.ones(10), atol=1e-12)
        step = 1e-6
        along_z = ((entmax(z + step * towards, a) - entmax(z - step * towards, a)) * g).sum(-1) / (2 * step)
        along_alpha = ((entmax(z, a + step) - entmax(z, a - step)) * g).sum(-1) / (2 * step)
        chex.assert_trees_all_close((dz * towards).sum(-1), along_z, atol=1e-7, rtol=1e-6)
        chex.assert_trees_all_close(dalpha[:, 0], along_alpha, atol=1e-7, rtol=1e-6)


def test_alpha_near_softmax_and_sparsemax_loses_no_digits():
    near = np.array([0.0, 1e-30, 1e-9, 1e-6, 1e-4, 1e-2, -1e-7], np.float32)
    alpha = np.concatenate([1 + near, 2 + near])[:, None]
    z, g = jax.random.normal(jax.random.key(5), (2, 14, 11)) * 2
    p, pullback = jax.vjp(entmax, z, jnp.asarray(alpha))
    dz, dalpha = pullback(g)
    with jax.enable_x64(True):
        wide = [jnp.asarray(np.asarray(x), jnp.float64) for x in (z, alpha, g)]
        p64, pullback64 = jax.vjp(entmax, *wide[:2])
        dz64, dalpha64 = pullback64(wide[2])
        log_p = jnp.log(p64[0])
        limit = 0.5 * (p64[0] * (p64[0] * log_p**2).sum() - p64[0] * log_p**2)
        chex.assert_trees_all_close(p64[0], jax.nn.softmax(wide[0][0]), atol=1e-12)
        chex.assert_trees_all_close(dalpha64[0, 0], (limit * wide[2][0]).sum(), atol=1e-12)
    assert worst(p, p64) < 1e-6
    assert worst(dz, dz64) < 1e-5
    assert worst(dalpha, dalpha64) < 1e-5


def test_the_named_alphas_agree_with_the_general_form():
    z, g = jax.random.normal(jax.random.key(6), (2, 4, 37)) * 3
    for alpha in (1.0, 1.5, 2.0):
        fixed, fixed_pullback = jax.vjp(lambda z, alpha=alpha: entmax(z, alpha), z)
        learned, learned_pullback = jax.vjp(lambda z, alpha=alpha: entmax(z, jnp.array(alpha)), z)
        chex.assert_trees_all_close(fixed, learned, atol=1e-6)
        chex.assert_trees_all_close(fixed_pullback(g)[0], learned_pullback(g)[0], atol=1e-5)


@pytest.mark.parametrize("alpha", [1.0, 1.5, 2.0, jnp.array([[[1.1]], [[2.4]]])])
def test_equal_scores_share_equally_at_any_magnitude(alpha):
    scale = jnp.array([1e-5, 1.0, 1e4, 1e30])[:, None]
    found = entmax(jnp.broadcast_to(scale * jnp.array([1.0, -1.0, 1.0, 1.0]), (2, 4, 4)), alpha)
    np.testing.assert_array_equal(found[..., 0], found[..., 2])
    np.testing.assert_array_equal(found[..., 0], found[..., 3])
    np.testing.assert_allclose(found.sum(-1), 1, atol=1e-6)
    np.testing.assert_allclose(found[:, 2:], np.broadcast_to([1 / 3, 0, 1 / 3, 1 / 3], (2, 2, 4)), atol=1e-6)


@pytest.mark.parametrize("alpha", [1.0, 1.5, 2.0, jnp.array([[[0.5]], [[1.3]], [[2.25]]])])
def test_masked_entries_are_as_if_they_were_not_there(alpha):
    z = jax.random.normal(jax.random.key(7), (3, 3, 41))
    where = jnp.arange(41) < jnp.array([[41], [23], [0]])
    found, pullback = jax.vjp(lambda z: entmax(z, alpha, where=where), z)
    np.testing.assert_allclose(found[:, :1], entmax(z[:, :1], alpha), atol=1e-6)
    np.testing.assert_allclose(found[:, 1:2, :23], entmax(z[:, 1:2, :23], alpha), atol=1e-6)
    np.testing.assert_array_equal(found[:, 1, 23:], 0)
    np.testing.assert_array_equal(found[:, 2], 0)
    (dz,) = pullback(jnp.ones_like(z))
    chex.assert_tree_all_finite(dz)
    np.testing.assert_array_equal(dz[:, 1, 23:], 0)
    np.testing.assert_array_equal(dz[:, 2], 0)


def test_an_alpha_per_head_has_a_gradient_per_head_and_empty_rows_give_none():
    z = jax.random.normal(jax.random.key(8), (2, 3, 5, 7))
    where = jnp.tril(jnp.ones((5, 7), bool), -1)
    alpha = jnp.array([1.0, 1.4, 2.0]).reshape(3, 1, 1)

    def loss(z, alpha):
        return (entmax(z, alpha, where=where)[..., 0] * jnp.arange(5.0)).sum()

    dz, dalpha = jax.grad(loss, (0, 1))(z, alpha)
    chex.assert_tree_all_finite((dz, dalpha))
    np.testing.assert_array_equal(dz[:, :, 0], 0)
    for head in range(3):
        p, pullback = jax.vjp(lambda a, head=head: entmax(z[:, head], a, where=where), alpha[head])
        g = jnp.zeros_like(p).at[..., 0].set(jnp.arange(5.0))
        np.testing.assert_allclose(dalpha[head], pullback(g)[0], atol=1e-5)


@pytest.mark.parametrize("axis", [0, 1, -2])
def test_any_axis_jit_and_vmap(axis):
    z = jax.random.normal(jax.random.key(9), (5, 7, 3))
    expected = jnp.moveaxis(entmax15(jnp.moveaxis(z, axis, -1)), -1, axis)
    chex.assert_trees_all_close(entmax15(z, axis), expected, atol=1e-6)
    chex.assert_trees_all_close(jax.jit(entmax, static_argnums=2)(z, 1.5, axis), expected, atol=1e-6)


def test_vmap_over_scores_and_alphas():
    z = jax.random.normal(jax.random.key(9), (5, 7, 3))
    alphas = jnp.array([1.1, 1.5, 1.9])
    each = jax.vmap(lambda z, a: entmax(z, a), in_axes=(2, 0))(z, alphas)
    for i, alpha in enumerate((1.1, 1.5, 1.9)):
        chex.assert_trees_all_close(each[i], entmax(z[..., i], alpha), atol=1e-6)


def test_bfloat16_and_second_derivatives():
    z = jax.random.normal(jax.random.key(10), (4, 33))
    found = entmax15(z.astype(jnp.bfloat16))
    chex.assert_type(found, jnp.bfloat16)
    chex.assert_trees_all_close(found.astype(jnp.float32), entmax15(z), atol=2e-2)
    with jax.enable_x64(True):
        z = jnp.array([0.3, -0.2, 0.1])
        slope = jax.grad(lambda z: (jax.grad(lambda z: entmax(z, 1.4)[0])(z) * jnp.arange(3.0)).sum())(z)
        step = 1e-5 * jnp.array([1.0, 2.0, -1.0])
        outer = lambda z: (jax.grad(lambda z: entmax(z, 1.4)[0])(z) * jnp.arange(3.0)).sum()  # noqa: E731
        chex.assert_trees_all_close((slope * step).sum() * 2, outer(z + step) - outer(z - step), rtol=1e-5)


def test_losses_agree_with_the_package_and_their_gradient_is_the_difference(golden):
    logits, labels = jnp.asarray(drawn(40, SHORT, 2)[0][3::4]), jnp.arange(10)
    np.testing.assert_allclose(sparsemax_loss(logits, labels), golden["loss_2"], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(entmax15_loss(logits, labels), golden["loss_1.5"], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(entmax_loss(logits, labels, 1.2), golden["loss_1.2"], rtol=1e-5, atol=1e-5)
    cross = -jnp.take_along_axis(jax.nn.log_softmax(logits), labels[:, None], -1)[:, 0]
    np.testing.assert_allclose(entmax_loss(logits, labels, 1.0), cross, rtol=1e-5)
    for alpha in (1.0, 1.2, 1.5, 2.0):
        found = jax.grad(lambda z, alpha=alpha: entmax_loss(z, labels, alpha).sum())(logits)
        np.testing.assert_allclose(found, entmax(logits, alpha) - jax.nn.one_hot(labels, SHORT), atol=1e-6)


def test_a_loss_is_zero_once_the_label_leads_by_enough():
    logits = 1e4 + jnp.array([[0.0, 2.0, -jnp.inf], [0.0, 1.0, -5.0]])
    np.testing.assert_array_equal(entmax15_loss(logits, jnp.array([1, 1])) > 0, [False, True])
    np.testing.assert_allclose(sparsemax_loss(logits, jnp.array([1, 1])), 0, atol=1e-6)


@pytest.mark.parametrize(
    "call,message",
    [
        (lambda z: entmax(z, 0.0), "above 0, got 0.0"),
        (lambda z: entmax(z, jnp.ones(7)), r"broadcast to \(5, 1\).*got shape \(7,\)"),
        (lambda z: entmax(z, 1.5, 2), "axis 2 is not one of the 2 axes"),
        (lambda z: entmax15(z, where=jnp.ones(5, bool)), r"where must broadcast.*got shape \(5,\)"),
        (lambda z: entmax_loss(z, jnp.arange(5), 0.5), "at least 1, got 0.5"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call(jnp.ones((5, 7)))
