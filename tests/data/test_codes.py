"""Codes that stand beside a model's score: each on data whose cost is known."""

import io

import numpy as np
import pytest

from efficient_attn.data import TokenStream, yardsticks
from efficient_attn.data.codes import flac_bits, order_one_bits, png_bits

pytestmark = pytest.mark.fast


def stream(tokens, **fields):
    return TokenStream(tokens=np.asarray(tokens, np.uint8), description="made", **fields)


def test_what_follows_from_the_token_before_costs_nothing():
    assert order_one_bits(stream([0, 1] * 50, vocab_size=2)) == pytest.approx(0.0, abs=1e-12)
    # After 0 comes 0 or 1, as often; after 1 always 0: 2 of 3 tokens stand after a 0.
    counted = order_one_bits(stream([0, 0, 1] * 100 + [0], vocab_size=2))
    assert counted == pytest.approx(2 / 3)
    assert order_one_bits(stream([0, 1], vocab_size=256)) == pytest.approx(0.0, abs=1e-12)


def test_a_channel_follows_the_same_channel_of_the_pixel_before():
    noise = np.random.default_rng(0).integers(0, 256, 3, dtype=np.uint8)
    images = np.tile(noise, 64)
    assert order_one_bits(stream(images, image_shape=(8, 8, 3), record_length=192)) == pytest.approx(0.0, abs=1e-12)


def test_too_many_pairs_are_not_counted():
    assert order_one_bits(TokenStream(tokens=np.zeros(9, np.uint32), vocab_size=1 << 20, description="made")) is None


def test_png_and_flac_are_files_of_that_size():
    image = pytest.importorskip("PIL.Image")
    tokens = np.random.default_rng(0).integers(0, 256, 4 * 8 * 8 * 3, dtype=np.uint8)
    images = stream(tokens, image_shape=(8, 8, 3), record_length=192)
    file = io.BytesIO()
    image.fromarray(tokens.reshape(32, 8, 3)).save(file, "PNG", optimize=True)
    assert png_bits(images) == 8 * len(file.getvalue()) / tokens.size
    assert png_bits(images) > 8.0
    assert png_bits(stream(np.zeros(4096), image_shape=(64, 64), record_length=4096, vocab_size=2)) < 0.5
    assert png_bits(stream(tokens)) is None


def test_flac_keeps_the_numbers():
    soundfile = pytest.importorskip("soundfile")
    rng = np.random.default_rng(0)
    noise, silence = stream(rng.integers(0, 256, 20_000), unit="sample"), stream([128] * 20_000, unit="sample")
    assert flac_bits(noise) == pytest.approx(8.0, abs=0.2)
    assert flac_bits(silence) < 0.2
    assert flac_bits(stream([1, 2])) is None
    file = io.BytesIO()
    soundfile.write(file, (noise.tokens.astype(np.int16) - 128) << 8, 8000, format="FLAC", subtype="PCM_S8")
    file.seek(0)
    read, _ = soundfile.read(file, dtype="int16")
    np.testing.assert_array_equal((read >> 8) + 128, noise.tokens)


def test_what_there_is_stands_beside_a_score():
    text = yardsticks(stream(list(b"abab" * 9)))
    assert set(text) == {"xz_bits", "frequency_bits", "order_one_bits"}
    assert text["frequency_bits"] == pytest.approx(1.0)
