"""Images with classes: grey digits, and TFDS images in the colours of a palette."""

import json

import numpy as np
import pytest

from efficient_attn.data import SPLITS, GreyDigits, ImageArray, LabelledSource, Palette, PaletteImages

pytestmark = pytest.mark.fast


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """Ten of each digit, in lists: bright in a corner, whose size is the digit."""
    folder = tmp_path_factory.mktemp("digits")
    for digit in range(10):
        images = np.zeros((10, 28, 28))
        images[:, : 2 * digit, : 2 * digit] = 1.0
        (folder / f"{digit}.json").write_text(json.dumps({"data": images.reshape(-1).tolist()}))
    return folder


def test_a_pixel_is_the_mean_of_a_square_in_few_levels(digits):
    source = GreyDigits(path=digits, shrink=4, levels=8)
    images = source.labelled("train")
    assert images.tokens.shape == (80, 49)
    three = images.tokens[images.labels == 3][0].reshape(7, 7)
    # Six bright pixels: one square of four whole, of the next the half, of a corner the quarter.
    np.testing.assert_array_equal(three[:3, :3], [[7, 3, 0], [3, 1, 0], [0, 0, 0]])
    np.testing.assert_array_equal(np.unique(images.pixels), np.unique(images.tokens) * 32 + 16)
    stream = source.load("train")
    np.testing.assert_array_equal(stream.tokens, images.tokens.reshape(-1))
    assert (stream.record_length, stream.vocab_size) == (49, 8)
    assert [len(source.labelled(split).labels) for split in SPLITS] == [80, 10, 10]
    assert isinstance(source, LabelledSource)


def test_what_is_refused(digits, tmp_path):
    with pytest.raises(ValueError, match="shrink must divide 28 pixels, got 3"):
        GreyDigits(path=digits, shrink=3)
    with pytest.raises(ValueError, match="levels must divide 256, and be at least 2; got 10"):
        GreyDigits(path=digits, levels=10)
    Palette(np.zeros((2, 3), np.float32)).save(tmp_path / "colours.npy")
    images = PaletteImages(images=ImageArray(path=tmp_path / "images.npy"), palette=tmp_path / "colours.npy")
    with pytest.raises(
        ValueError, match="an ImageArray has no labels: images of an ImageFolder, TFDSImages or CroppedImages"
    ):
        images.labelled("train")
