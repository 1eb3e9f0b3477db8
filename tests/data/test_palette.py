"""Palettes: the nearest colour, and back; and images as runs of its indices."""

import numpy as np
import pytest

from efficient_attn.data import ImageArray, Palette, PaletteImages, fit_palette, load_palette
from efficient_attn.models import DecoderConfig
from efficient_attn.reading import Windows

pytestmark = pytest.mark.fast
READING = {
    "context": 6,
    "batch_size": 2,
    "seed": 0,
    "label_smoothing": 0.0,
    "eval_scored": None,
    "eval_batch_size": None,
}
COLOURS = np.array([[-1, -1, -1], [1, 1, 1], [1, -1, -1], [1, -1, -1]], np.float32)


@pytest.fixture
def files(tmp_path):
    """Images of 2 x 3, and a palette."""
    np.save(tmp_path / "images.npy", np.random.default_rng(0).integers(0, 256, (40, 2, 3, 3), dtype=np.uint8))
    Palette(COLOURS).save(tmp_path / "colours.npy")
    return tmp_path


def source(folder, palette="colours.npy"):
    return PaletteImages(images=ImageArray(path=folder / "images.npy"), palette=folder / palette)


def test_a_pixel_is_its_nearest_colour_and_the_first_of_equals():
    pixels = np.array(
        [[[0, 0, 0], [255, 255, 255], [200, 20, 20]], [[128, 128, 128], [90, 0, 0], [255, 0, 0]]], np.uint8
    )
    tokens = Palette(COLOURS).quantise(pixels)
    np.testing.assert_array_equal(tokens, [[0, 1, 2], [1, 0, 2]])
    assert tokens.dtype == np.uint16
    np.testing.assert_array_equal(Palette(COLOURS).restore(tokens)[0, 2], [255, 0, 0])


def test_nearest_by_brute_force_over_more_pixels_than_are_compared_at_once():
    rng = np.random.default_rng(1)
    palette = Palette(rng.uniform(-1, 1, (5, 3)))
    pixels = rng.integers(0, 256, (70_000, 3), dtype=np.uint8)
    distances = np.square((pixels / 127.5 - 1.0)[:, None] - palette.colours).sum(-1)
    tokens = palette.quantise(pixels)
    chosen = np.take_along_axis(distances, tokens[:, None].astype(int), axis=1)[:, 0]
    np.testing.assert_allclose(chosen, distances.min(1), atol=1e-6)


def test_every_byte_is_restored_from_a_palette_of_its_own():
    grey = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, axis=1)
    palette = Palette(grey / 127.5 - 1.0)
    np.testing.assert_array_equal(palette.quantise(grey), np.arange(256))
    np.testing.assert_array_equal(palette.restore(palette.quantise(grey)), grey)


def test_images_are_runs_of_indices_in_raster_order(files):
    stream, plain = source(files).load("train"), source(files).images.load("train")
    images = plain.tokens.reshape(-1, 2, 3, 3)
    assert (stream.record_length, stream.vocab_size, stream.unit, len(stream)) == (6, 4, "colour", len(plain) // 3)
    np.testing.assert_array_equal(stream.tokens.reshape(-1, 2, 3)[5, 1], Palette(COLOURS).quantise(images[5, 1]))
    assert stream.description.endswith("in 4 colours")


def test_the_fingerprint_is_of_images_and_colours_and_not_of_places(files, tmp_path):
    before = source(files).fingerprint()
    (tmp_path / "colours.npy").rename(tmp_path / "others.npy")
    assert source(files, "others.npy").fingerprint() == before
    Palette(COLOURS[::-1].copy()).save(tmp_path / "others.npy")
    assert source(files, "others.npy").fingerprint() != before


def test_a_model_of_fewer_tokens_is_refused(files):
    reading = Windows(model=DecoderConfig(depth=1, width=4, heads=1, vocab=3), **READING)
    with pytest.raises(ValueError, match="the data has tokens below 4 and the model has vocab=3: they should agree"):
        reading.batches(source(files).load("train"))


def test_a_palette_is_fitted_to_pixels():
    pytest.importorskip("sklearn")
    middles = np.array([[10, 20, 30], [200, 100, 50], [120, 240, 120]])
    noise = np.random.default_rng(0).integers(-5, 6, (900, 3))
    pixels = (middles[np.arange(900) % 3] + noise).astype(np.uint8)
    palette = fit_palette(pixels, colours=3, pixels=600)
    means = palette.restore(np.arange(3, dtype=np.uint16))
    np.testing.assert_allclose(np.sort(means, axis=0), np.sort(middles, axis=0), atol=2)
    with pytest.raises(ValueError, match=r"colours must be in 1\.\.1, the number of distinct pixels, got 2"):
        fit_palette(np.zeros((9, 3), np.uint8), colours=2)


@pytest.mark.parametrize(
    ("content", "error", "reason"),
    [
        (None, FileNotFoundError, "no file .*: write one with fit_palette"),
        (np.zeros((4, 3), np.uint8), ValueError, "should hold numbers in .-1, 1., got uint8"),
        (np.zeros((4, 2), np.float32), ValueError, r"a palette is \[count, 3\] numbers in \[-1, 1\], got \[4, 2\]"),
        (np.full((4, 3), 7.0), ValueError, r"got \[4, 3\] from 7.0 to 7.0"),
        (b"no array", ValueError, r"is not a \.npy file of numbers"),
    ],
)
def test_what_is_no_palette_is_refused(tmp_path, content, error, reason):
    file = tmp_path / "colours.npy"
    if isinstance(content, bytes):
        file.write_bytes(content)
    elif content is not None:
        np.save(file, content)
    with pytest.raises(error, match=reason):
        load_palette(file)
