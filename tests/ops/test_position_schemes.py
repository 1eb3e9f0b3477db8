"""Sinusoids, rotations and digits of positions against values worked out by hand."""

import math

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from efficient_attn.ops.positions import earlier_buckets, mixed_radix, relative_buckets, rotate, sinusoids

pytestmark = pytest.mark.fast


def test_sinusoids_of_width_four_by_hand():
    found = sinusoids(jnp.array([0, 1, 50]), 4)
    chex.assert_shape(found, (3, 4))
    by_hand = [[math.sin(p), math.sin(p * 1e-4), math.cos(p), math.cos(p * 1e-4)] for p in (0, 1, 50)]
    np.testing.assert_allclose(found, by_hand, atol=1e-5)


@pytest.mark.parametrize("shape", [(), (3,), (2, 3)])
@pytest.mark.parametrize("width", [2, 6])
def test_sinusoids_add_a_dimension(shape, width):
    found = sinusoids(jnp.ones(shape, jnp.int32), width)
    chex.assert_shape(found, (*shape, width))
    chex.assert_tree_all_finite(found)


def test_sinusoids_refuse_an_odd_width():
    with pytest.raises(ValueError, match="even width, got 5"):
        sinusoids(jnp.arange(3), 5)


def test_rotation_of_one_pair_is_by_the_position_in_radians():
    x = jnp.broadcast_to(jnp.array([1.0, 0.0]), (1, 4, 1, 2))
    found = rotate(x, jnp.arange(4))
    np.testing.assert_allclose(found[0, :, 0], [[math.cos(p), math.sin(p)] for p in range(4)], atol=1e-6)


def test_rotation_of_the_second_pair_is_slower_by_the_root_of_the_base():
    x = jnp.zeros((1, 1, 1, 4)).at[..., 1].set(1.0)
    found = rotate(x, jnp.array([7]), base=100.0)
    np.testing.assert_allclose(found[0, 0, 0], [0.0, math.cos(0.7), 0.0, math.sin(0.7)], atol=1e-6)


@pytest.mark.parametrize("size", [2, 6])
def test_products_of_rotated_vectors_depend_on_offsets_only(size):
    query, key = jax.random.normal(jax.random.key(0), (2, 1, 1, 3, size))
    query, key = (jnp.broadcast_to(x, (1, 11, 3, size)) for x in (query, key))
    here, there = jnp.arange(11), jnp.arange(11) + 53
    products = [
        jnp.einsum("btnh,bsnh->bnts", rotate(query, positions), rotate(key, positions)) for positions in (here, there)
    ]
    chex.assert_trees_all_close(*products, atol=1e-4)
    for offset in range(-10, 11):
        along = np.diagonal(products[0], offset, axis1=2, axis2=3)
        np.testing.assert_allclose(along, along[..., :1] + 0 * along, atol=1e-4)
    assert float(jnp.std(products[0][0, 0, 0])) > 1e-2


def test_rotation_keeps_lengths_shape_and_format():
    x = jax.random.normal(jax.random.key(1), (2, 5, 3, 8))
    found = rotate(x, jnp.arange(5) * 1000)
    chex.assert_equal_shape([x, found])
    np.testing.assert_allclose(jnp.linalg.norm(found, axis=-1), jnp.linalg.norm(x, axis=-1), rtol=1e-5)
    chex.assert_type(rotate(x.astype(jnp.bfloat16), jnp.arange(5)), jnp.bfloat16)


def test_rotation_refuses_an_odd_head_size():
    with pytest.raises(ValueError, match="even head size, got 3"):
        rotate(jnp.ones((1, 2, 1, 3)), jnp.arange(2))


def test_digits_of_a_byte_in_an_image_are_row_column_channel():
    digits = mixed_radix(jnp.arange(4 * 5 * 3), (4, 5, 3))
    row, column, channel = np.unravel_index(np.arange(60), (4, 5, 3))
    for found, expected in zip(digits, (row, column, channel), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_digits_of_one_table_are_the_positions():
    (digits,) = mixed_radix(jnp.array([0, 6, 2]), (7,))
    np.testing.assert_array_equal(digits, [0, 6, 2])


def test_buckets_of_offsets():
    """Published boundaries, of float32 and float64 alike."""
    first_of_bucket = {0: 0, 7: 7, 8: 8, 12: 9, 16: 10, 23: 11, 32: 12, 46: 13, 64: 14, 91: 15, 100_000: 15}
    later, earlier = (relative_buckets(sign * np.array([*first_of_bucket]), 32, 128) for sign in (-1, 1))
    np.testing.assert_array_equal(earlier, [*first_of_bucket.values()])
    # Later keys have the second half of the buckets, and a token itself is no later key.
    np.testing.assert_array_equal(later[1:], 16 + earlier[1:])
    assert later[0] == 0
    last_of_bucket = {11: 8, 15: 9, 22: 10, 31: 11, 45: 12, 63: 13, 90: 14}
    np.testing.assert_array_equal(relative_buckets(np.array([*last_of_bucket]), 32, 128), [*last_of_bucket.values()])


def test_buckets_of_earlier_keys_alone():
    """Those of a T5 decoder of ``transformers``, in float32."""
    first_of_bucket = {n: n for n in range(17)}
    first_of_bucket |= {19: 17, 21: 18, 24: 19, 27: 20, 31: 21, 35: 22, 40: 23, 46: 24, 52: 25, 59: 26, 67: 27, 77: 28}
    first_of_bucket |= {87: 29, 99: 30, 113: 31}
    expected = np.repeat([*first_of_bucket.values()], np.diff([*first_of_bucket, 300]))
    np.testing.assert_array_equal(earlier_buckets(np.arange(300), 32, 128), expected)
    np.testing.assert_array_equal(earlier_buckets(np.array([-1, -200]), 32, 128), [0, 0])
    with pytest.raises(ValueError, match=r"buckets must be even, .*, got buckets=7, longest=128"):
        earlier_buckets(np.arange(3), 7, 128)


@pytest.mark.parametrize(("buckets", "longest"), [(30, 128), (0, 128), (32, 8)])
def test_buckets_that_do_not_fit_are_refused(buckets, longest):
    with pytest.raises(ValueError, match=f"got buckets={buckets}, longest={longest}"):
        relative_buckets(np.arange(3), buckets, longest)
