"""Squares of images of any size: what is kept of them, the folder that holds them, and what is refused."""

import json

import numpy as np
import pytest

from efficient_attn import __main__ as program
from efficient_attn.data import CroppedImages, ImageClasses, LabelledSource, Palette, PaletteImages, TFDSImages
from efficient_attn.data.crops import crop

pytestmark = pytest.mark.fast
Image = pytest.importorskip("PIL.Image")


@pytest.fixture
def originals(tmp_path):
    """Images that are wide or high: red grows from left to right, green from top to bottom, blue tells the class."""
    for split, count in (("train", 3), ("validation", 1), ("test", 2)):
        for label, name in enumerate(("dark", "light")):
            folder = tmp_path / "originals" / split / name
            folder.mkdir(parents=True)
            for number in range(count):
                width, height = (60, 40) if number % 2 else (40, 60)
                pixels = np.zeros((height, width, 3), np.uint8)
                pixels[..., 0] = 4 * np.arange(width)
                pixels[..., 1] = 4 * np.arange(height)[:, None]
                # No two are the same: equal files are taken once.
                pixels[0, 0] = np.random.default_rng(sum(map(ord, split)) + number).integers(256, size=3)
                pixels[..., 2] = 100 * label
                Image.fromarray(pixels).save(folder / f"{number}.png")
    return tmp_path / "originals"


def squares(originals, **fields):
    return CroppedImages(images=originals, prepared=originals.parent / "squares", **{"size": 8} | fields)


def test_held_out_is_the_middle_of_each_image(originals):
    source = squares(originals)
    assert source.prepare() == {"train": 6, "validation": 2, "test": 4}
    stream = source.load("test")
    assert (stream.image_shape, stream.record_length, len(stream.records)) == ((8, 8, 3), 192, 4)
    high, wide = stream.records[:2].reshape(2, 8, 8, 3)
    # 40 of 60 pixels are kept, from the tenth on: five for each of the square.
    np.testing.assert_allclose(high[:, 3, 1], 4 * (10 + 2 + 5 * np.arange(8)), atol=6)
    np.testing.assert_allclose(high[3, :, 0], 4 * (2 + 5 * np.arange(8)), atol=6)
    np.testing.assert_allclose(wide[3, :, 0], 4 * (10 + 2 + 5 * np.arange(8)), atol=6)
    images = source.labelled("test")
    assert isinstance(source, LabelledSource)
    assert images.classes == ("dark", "light")
    np.testing.assert_array_equal(images.labels, [0, 0, 1, 1])
    np.testing.assert_array_equal(images.pixels.reshape(4, -1, 3)[:, :, 2].max(1), [0, 0, 100, 100])


def test_training_squares_are_drawn_and_the_same_again(originals):
    source = squares(originals, views=3)
    assert source.prepare() == {"train": 18, "validation": 2, "test": 4}
    images = source.labelled("train")
    np.testing.assert_array_equal(images.labels, np.repeat([0, 1], 9))
    assert len(np.unique(images.pixels, axis=0)) == 18
    again = CroppedImages(images=originals, prepared=originals.parent / "again", size=8, views=3)
    again.prepare()
    np.testing.assert_array_equal(images.pixels, again.labelled("train").pixels)
    assert source.fingerprint() == again.fingerprint()


def test_a_drawn_square_is_a_share_of_the_shorter_side():
    sides = []
    for seed in range(200):
        left, upper, right, lower = crop((500, 300), np.random.default_rng(seed))
        assert 0 <= left < right <= 500 and 0 <= upper < lower <= 300
        assert right - left == pytest.approx(lower - upper)
        sides.append((right - left) / 300)
    assert 224 / 384 <= min(sides) < 0.6 and 0.85 < max(sides) <= 224 / 256
    assert crop((500, 300), None) == (100, 0, 400, 300)


def test_the_squares_of_a_tfds_data_set_in_colours(prepared, tmp_path):
    images = TFDSImages(name="notes", data_dir=prepared, split_names=("train[:8]", "train[8:]", "test"))
    cropped = CroppedImages(images=images, prepared=tmp_path / "squares", size=2)
    cropped.prepare()
    Palette(np.array([[-1.0, -1, -1], [1, 1, 1]])).save(tmp_path / "colours.npy")
    source = PaletteImages(images=cropped, palette=tmp_path / "colours.npy")
    assert source.load("train").records.shape == (8, 4)
    assert source.labelled("validation").labels.tolist() == [0, 1, 0, 1]


def test_few_images_of_each_class(originals):
    source = squares(originals, views=2)
    source.prepare()
    few = ImageClasses(images=source, per_class=2)
    assert few.load("train").labels.tolist() == [0, 0, 1, 1]
    assert len(few.load("test")) == 4
    assert few.fingerprint() != ImageClasses(images=source).fingerprint()
    with pytest.raises(ValueError, match="class 'dark' has 6 images, and per_class=7 of each are asked"):
        ImageClasses(images=source, per_class=7).load("train")
    with pytest.raises(ValueError, match="per_class must be at least 1, or None, got 0"):
        ImageClasses(images=source, per_class=0)


def test_what_is_refused(originals):
    with pytest.raises(ValueError, match="size must be at least 1 pixel, got 0"):
        squares(originals, size=0)
    with pytest.raises(ValueError, match="views must be at least 1, or None, got 0"):
        squares(originals, views=0)
    source = squares(originals)
    with pytest.raises(FileNotFoundError, match="efficient_attn crops CONFIG"):
        source.load("train")
    with pytest.raises(FileNotFoundError, match="folder of PNG or JPEG"):
        squares(originals / "no").prepare()
    source.prepare()
    with pytest.raises(FileExistsError, match="holds squares already"):
        source.prepare()
    with pytest.raises(ValueError, match="prepared with size=8, and size=9 is asked: prepare another folder"):
        squares(originals, size=9).load("train")
    with pytest.raises(ValueError, match="prepared with views=None, and views=2 is asked"):
        squares(originals, views=2).fingerprint()


def test_a_folder_that_is_half_written_is_not_read(originals):
    source = squares(originals)

    def interrupt(split, done, count):
        if split == "test":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        source.prepare(interrupt)
    with pytest.raises(FileNotFoundError, match=r"crops\.json"):
        source.load("train")
    assert source.prepare()["test"] == 4


def test_the_command(originals, tmp_path, monkeypatch, capsys):
    config = tmp_path / "config.py"
    config.write_text(
        "from efficient_attn.data import CroppedImages, PaletteImages\n"
        "from efficient_attn.experiment import Experiment\n"
        "from efficient_attn.models import DecoderConfig\n"
        "from efficient_attn.training import Schedule\n"
        f"images = CroppedImages(images={str(originals)!r}, prepared={str(tmp_path / 'made')!r}, size=4)\n"
        "CONFIG = Experiment(model=DecoderConfig(depth=1, width=8, heads=1), context=16, batch_size=1, steps=1,\n"
        "    schedule=Schedule(peak=1e-3), source=PaletteImages(images=images, palette='colours.npy'))\n"
    )
    program.main(["crops", str(config)])
    report = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert report == {"folder": str(tmp_path / "made"), "size": 4, "train": 6, "validation": 2, "test": 4}
    with pytest.raises(SystemExit) as stopped:
        program.main(["crops", "configs/quickstart.py"])
    assert stopped.value.code == 2
    assert "reads CroppedImages is needed" in capsys.readouterr().err
