"""Recurrent cells against values worked out in double precision, independent loops, and finite differences."""

import dataclasses

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from efficient_attn.nn.recurrent import CELLS
from efficient_attn.ops.recurrent import Bistable, Gated, brc, brc_newton, gru, lstm, nbrc
from efficient_attn.ops.recurrent.newton import newton, prepare

BATCH, LENGTH, INPUTS, HIDDEN = 2, 11, 3, 5


def sines(rows, columns, scale):
    i, j = np.arange(rows)[:, None], np.arange(columns)
    return jnp.asarray(scale * np.sin(1 + i * columns + j), jnp.float32)


SEQUENCE = jnp.array([[[1, -0.5], [0.25, 0.75], [0, 0], [-1, 2]]])
SMALL = {"input_a": sines(2, 3, 0.8), "input_c": sines(2, 3, 0.6), "input_h": sines(2, 3, 1.1)}
ONES = jnp.ones(3)
FIRST, LAST_BRC = (0.28324, 0.275697, 0.137139), (-0.758954, -0.844374, -0.357855)
GOLDEN = {
    "brc": [FIRST, (0.093395, -0.009492, 0.042717), (0.097372, -0.009446, 0.043595), LAST_BRC],
    "nbrc": [
        FIRST,
        (0.042043, -0.063753, 0.027818),
        (0.043487, -0.066434, 0.028154),
        (-0.778002, -0.843838, -0.371226),
    ],
}
RECURRENT = {
    "brc": {"recurrent_a": ONES, "recurrent_c": ONES},
    "nbrc": {"recurrent_a": sines(3, 3, 0.7), "recurrent_c": sines(3, 3, 0.5)},
}


def drawn(name, *, hidden=HIDDEN, scale=1.0):
    """Parameters with every bias away from zero."""
    parameters = CELLS[name].draw(jax.random.key(1), INPUTS, hidden)
    shifts = np.random.default_rng(0)
    return jax.tree.map(lambda x: scale * x + 0.3 * shifts.normal(size=x.shape).astype(np.float32), parameters)


def sequence(length=LENGTH):
    return normal(2, BATCH, length, INPUTS)


def normal(seed, *shape):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def plain(name, x, p, state):
    """One cell written out in double precision; the state's first part is the output."""
    p = {f.name: np.asarray(getattr(p, f.name), np.float64) for f in dataclasses.fields(p)}
    sigmoid = lambda y: 1 / (1 + np.exp(-y))  # noqa: E731
    outputs = []
    for t in range(x.shape[1]):
        now, h = x[:, t], state[0]
        if name in ("brc", "nbrc"):
            back = np.multiply if name == "brc" else np.matmul
            a = 1 + np.tanh(now @ p["input_a"] + back(h, p["recurrent_a"]) + p["bias_a"])
            c = sigmoid(now @ p["input_c"] + back(h, p["recurrent_c"]) + p["bias_c"])
            state = (c * h + (1 - c) * np.tanh(now @ p["input_h"] + a * h),)
        elif name == "gru":
            n = h.shape[1]
            entered, fed = now @ p["input"] + p["bias"], h @ p["recurrent"]
            z, r = (sigmoid((entered + fed)[:, g * n : (g + 1) * n]) for g in (0, 1))
            state = (z * h + (1 - z) * np.tanh(entered[:, 2 * n :] + r * (fed[:, 2 * n :] + p["candidate_bias"])),)
        else:
            i, f, g, o = np.split(now @ p["input"] + h @ p["recurrent"] + p["bias"], 4, axis=1)
            s = sigmoid(f) * state[1] + sigmoid(i) * np.tanh(g)
            state = (sigmoid(o) * np.tanh(s), s)
        outputs.append(state[0])
    return np.stack(outputs, axis=1), state


@pytest.mark.fast
@pytest.mark.parametrize("cell", [brc, nbrc, brc_newton], ids=lambda cell: cell.__name__)
def test_published_equations(cell):
    name = cell.__name__.split("_")[0]
    states, last = cell(SEQUENCE, Bistable(**SMALL, **RECURRENT[name]))
    np.testing.assert_allclose(states[0], GOLDEN[name], atol=2e-6)
    np.testing.assert_array_equal(last, states[:, -1])


@pytest.mark.parametrize("name", CELLS)
def test_equals_a_plain_loop_from_any_state_in_any_pieces(name):
    cell, parameters, x = jax.jit(CELLS[name].run), drawn(name), sequence()
    start = tuple(normal(n, BATCH, HIDDEN) for n in range(CELLS[name].states))
    given = start if len(start) == 2 else start[0]
    outputs, last = cell(x, parameters, given)
    expected, end = plain(name, np.asarray(x, np.float64), parameters, start)
    np.testing.assert_allclose(outputs, expected, atol=3e-6)
    np.testing.assert_allclose(np.stack(jax.tree.leaves(last)), np.stack(end), atol=3e-6)
    first, state = cell(x[:, :4], parameters, given)
    second, _ = cell(x[:, 4:], parameters, state)
    chex.assert_trees_all_close(jnp.concatenate([first, second], axis=1), outputs, atol=1e-6)


@pytest.mark.parametrize("cell", [brc, nbrc, brc_newton], ids=lambda cell: cell.__name__)
def test_gradients_equal_those_of_the_loop_written_out(cell):
    name = cell.__name__.split("_")[0]
    parameters, x = drawn(name), sequence()
    start = normal(3, BATCH, HIDDEN)
    weigh = normal(4, BATCH, LENGTH, HIDDEN)

    def written_out(x, p, h):
        total, back = 0.0, jnp.multiply if name == "brc" else jnp.matmul
        for t in range(LENGTH):
            a = 1 + jnp.tanh(x[:, t] @ p.input_a + back(h, p.recurrent_a) + p.bias_a)
            c = jax.nn.sigmoid(x[:, t] @ p.input_c + back(h, p.recurrent_c) + p.bias_c)
            h = c * h + (1 - c) * jnp.tanh(x[:, t] @ p.input_h + a * h)
            total += jnp.sum(weigh[:, t] * h)
        return total + jnp.sum(h**2)

    def ours(x, p, h):
        states, last = cell(x, p, h)
        return jnp.sum(weigh * states) + jnp.sum(last**2)

    found, expected = (jax.jit(jax.grad(f, (0, 1, 2)))(x, parameters, start) for f in (ours, written_out))
    chex.assert_trees_all_close(found, expected, atol=2e-5, rtol=2e-5)


def test_gradients_are_finite_differences():
    def total(x, fields):
        return nbrc(jnp.asarray(x), Bistable(**jax.tree.map(jnp.asarray, fields)))[0].sum()

    with jax.enable_x64(True):
        wide = jax.tree.map(lambda x: jnp.asarray(x, jnp.float64), (sequence(), vars(drawn("nbrc"))))
        check_grads(total, wide, order=1, modes=["rev"], atol=1e-6, rtol=1e-6)


@pytest.mark.fast
def test_brc_is_nbrc_with_diagonal_matrices():
    p = drawn("brc")
    matrices = dataclasses.replace(p, recurrent_a=jnp.diag(p.recurrent_a), recurrent_c=jnp.diag(p.recurrent_c))
    chex.assert_trees_all_close(brc(sequence(), p), nbrc(sequence(), matrices), atol=1e-6)


@pytest.mark.fast
@pytest.mark.parametrize("name", ["brc", "nbrc"])
def test_a_unit_at_rest_passes_its_gradient_on_whole(name):
    run = lambda h: CELLS[name].run(jnp.zeros((1, 1, INPUTS)), initial, h)[1][0]  # noqa: E731
    initial = CELLS[name].draw(jax.random.key(0), INPUTS, HIDDEN)
    np.testing.assert_array_equal(jax.jacobian(run)(jnp.zeros((1, HIDDEN)))[:, 0], np.eye(HIDDEN))


@pytest.mark.fast
def test_a_pulse_is_remembered_above_the_bifurcation_and_forgotten_below():
    pulse = jnp.zeros((2, 400, 1)).at[:, 0, 0].set(jnp.array([3.0, -3.0]))
    one, zero = jnp.ones((1, 1)), jnp.zeros((1, 1))

    def last(feedback):
        bias = jnp.full(1, np.arctanh(feedback - 1))
        p = Bistable(input_a=zero, input_c=zero, input_h=one, recurrent_a=zero[0], recurrent_c=zero[0], bias_a=bias)
        return np.asarray(brc(pulse, p)[1])[:, 0]

    # The stable states solve h = tanh(1.5 h).
    np.testing.assert_allclose(last(1.5), [0.858559, -0.858559], atol=1e-5)
    np.testing.assert_allclose(last(0.5), 0.0, atol=1e-5)


@pytest.mark.parametrize(("iterations", "enough"), [(64, True), (3, False)])
def test_newton_equals_the_loop_where_it_converges_and_where_it_does_not(iterations, enough):
    weights = jnp.full(17, 3.0)
    p = dataclasses.replace(CELLS["brc"].draw(jax.random.key(0), INPUTS, 17), recurrent_a=weights, recurrent_c=weights)

    @jax.jit
    def run(x):
        corrections = newton(iterations, *prepare(x, p, None))[2]
        return brc(x, p)[0], brc_newton(x, p, iterations=iterations)[0], corrections

    expected, found, correction = run(sequence(200))
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert (correction <= 1e-6) == enough


@pytest.mark.fast
@pytest.mark.parametrize("cell", [brc, gru], ids=lambda cell: cell.__name__)
def test_half_precision_inputs_keep_a_wide_state(cell):
    outputs, last = cell(jnp.asarray(sequence(), jnp.bfloat16), drawn(cell.__name__))
    chex.assert_type([outputs, last], jnp.float32)
    np.testing.assert_allclose(outputs, cell(sequence(), drawn(cell.__name__))[0], atol=0.05)


@pytest.mark.fast
def test_shapes_that_do_not_fit_are_refused():
    p = drawn("brc")
    with pytest.raises(ValueError, match=r"recurrent_a must have shape \(5, 5\), got \(5,\)"):
        nbrc(sequence(), p)
    with pytest.raises(ValueError, match=r"input_a must have shape \(2, 5\), got \(3, 5\)"):
        brc(sequence()[..., :2], p)
    with pytest.raises(ValueError, match=r"initial_state must have shape \(2, 5\), got \(2, 4\)"):
        brc(sequence(), p, jnp.zeros((2, 4)))
    with pytest.raises(ValueError, match=r"input must have shape \(3, 20\), got \(3, 15\)"):
        lstm(sequence(), drawn("gru"))
    with pytest.raises(ValueError, match="iterations must be at least 1, got 0"):
        brc_newton(sequence(), p, iterations=0)


@pytest.mark.fast
def test_no_steps_leave_the_state():
    start = jnp.ones((BATCH, HIDDEN))
    for cell in (brc, brc_newton):
        states, last = cell(jnp.zeros((BATCH, 0, INPUTS)), drawn("brc"), start)
        chex.assert_shape(states, (BATCH, 0, HIDDEN))
        np.testing.assert_array_equal(last, start)
        slope = jax.grad(lambda h, cell=cell: cell(jnp.zeros((BATCH, 0, INPUTS)), drawn("brc"), h)[1].sum())(start)
        np.testing.assert_array_equal(slope, 1.0)


def test_a_gated_cell_without_an_inner_bias():
    p = drawn("gru")
    zero = dataclasses.replace(p, candidate_bias=jnp.zeros(HIDDEN))
    without = Gated(input=p.input, recurrent=p.recurrent, bias=p.bias)
    chex.assert_trees_all_equal(gru(sequence(), zero), gru(sequence(), without))
