"""Two-stream attention against the masks as they stand, the masks against the published figure, and what goes on a line."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from efficient_attn.kernels import RelativeBias
from efficient_attn.ops.two_stream import (
    masked_attention,
    mlm_masks,
    mpnet_masks,
    plm_masks,
    stream_bias,
    two_stream_attention,
)

pytestmark = pytest.mark.fast

B, T, P, N, H = 2, 11, 3, 2, 5
PREDICTED = np.array([[7, 0, 3], [2, 10, 9]])
KEPT = np.array([np.setdiff1d(np.arange(T), row) for row in PREDICTED])
# From kept, predicted and shown tokens, as the masks have them, to the text in its own order and the predicted ones.
LITERAL = np.concatenate([KEPT, T + np.arange(P) + np.zeros((B, 1), int), PREDICTED], axis=1)


def draw(seed, *shape):
    return jax.random.normal(jax.random.key(seed), shape)


def rows(x, order):
    return jnp.take_along_axis(x, jnp.asarray(order)[:, :, None, None], axis=1)


def literally(query, key, value, values, masks):
    """All rows by the masks, back in the order that ``two_stream_attention`` has."""
    slots = np.concatenate([KEPT, PREDICTED, PREDICTED], axis=1)[:, : masks.content.shape[1]]
    order = LITERAL[:, : slots.shape[1]]
    bias = lambda asked: jnp.swapaxes(values[:, asked[:, :, None] - slots[:, None] + T - 1], 0, 1)  # noqa: E731
    keys = [rows(x, order) for x in (key, value)]
    content = masked_attention(rows(query, order), *keys, masks.content, bias(slots))
    asked = masked_attention(query[:, T + P :], *keys, masks.query, bias(PREDICTED))
    return content, asked


@pytest.fixture(scope="module")
def inputs():
    return draw(0, B, T + 2 * P, N, H), draw(1, B, T + P, N, H), draw(2, B, T + P, N, H), draw(3, N, 2 * T - 1)


@jax.jit
def cheaply(inputs, key_mask, slopes):
    """The result of all rows, and the gradients of the inputs."""

    def run(query, key, value, values):
        bias = stream_bias(RelativeBias(values, first=1 - T), jnp.asarray(PREDICTED), T)
        return two_stream_attention(query, key, value, jnp.asarray(PREDICTED), key_mask=key_mask, bias=bias)

    found, back = jax.vjp(run, *inputs)
    return found, back(slopes)


@pytest.mark.parametrize("masks,shown", [(mpnet_masks, True), (plm_masks, False)])
def test_both_ways_are_equal_with_their_gradients(inputs, masks, shown):
    masks = masks(T - P, P)
    key_mask = np.ones((B, T + P), bool)
    slopes = draw(4, B, T + 2 * P, N, H)
    if not shown:
        np.put_along_axis(key_mask, PREDICTED, False, axis=1)
        # What comes out at a place without a token means nothing.
        slopes = slopes * jnp.pad(key_mask, ((0, 0), (0, P)), constant_values=True)[..., None, None]
    columns = LITERAL[:, : masks.content.shape[1]]
    expected, back = jax.vjp(lambda *a: literally(*a, masks), *inputs)
    found, gradients = cheaply(inputs, key_mask, slopes)
    by_stream = lambda x: (rows(x, columns), x[:, T + P :])  # noqa: E731
    for one, other in zip(by_stream(found), expected, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)
    for one, other in zip(gradients, back(by_stream(slopes)), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_the_published_figure():
    masks = mpnet_masks(4, 3)
    text = lambda mask: [" ".join(["".join(map(str, row[a:b])) for a, b in ((0, 4), (4, 7), (7, 10))]) for row in mask]  # noqa: E731
    shown = "1111 000 111"
    told = ["1111 100 011", "1111 110 001", "1111 111 000"]
    assert text(masks.query.astype(int)) == [shown, *told[:2]]
    assert text(masks.content.astype(int)) == [shown] * 4 + told + [shown] * 3


def test_every_row_sees_every_position_once():
    for kept, predicted in ((4, 3), (1, 5), (6, 1), (0, 2)):
        masks = mpnet_masks(kept, predicted)
        position = np.array([*range(kept), *range(kept, kept + predicted), *range(kept, kept + predicted)])
        for row in (*masks.content, *masks.query):
            assert sorted(position[row]) == list(range(kept + predicted))
        # A window on the line, as attention has it.
        line = np.array([-1] * kept + list(range(predicted)) + list(range(-predicted - 1, -1)))
        steps = np.where(line < 0, -1, line)
        for mask, step in ((masks.content, steps), (masks.query, np.arange(predicted) - 1)):
            offset = step[:, None] - line
            np.testing.assert_array_equal(mask, (offset >= 0) & (offset <= predicted))


def factors(masks, told):
    """What "sentence" and "classification" are told from after "the task is", where the masks have columns ``told`` for them."""
    columns = ["the", "task", "is", *told]
    return [" ".join(np.array(columns)[row]) for row in masks.query]


def test_the_factorisation_of_a_sentence():
    words, hidden = ["sentence", "classification"], ["[M]", "[M]"]
    assert factors(mlm_masks(3, 2), hidden) == ["the task is [M] [M]", "the task is [M] [M]"]
    assert factors(plm_masks(3, 2), words) == ["the task is", "the task is sentence"]
    assert factors(mpnet_masks(3, 2), words + hidden) == ["the task is [M] [M]", "the task is sentence [M]"]


def test_numbers_of_rows_that_do_not_fit_are_refused(inputs):
    query, key, value, _ = inputs
    with pytest.raises(ValueError, match=r"need T \+ 3 keys and T \+ 6 queries, got 14 keys and 16 queries"):
        two_stream_attention(query[:, :-1], key, value, jnp.asarray(PREDICTED))
