"""``sample`` of models of images and of sound: what is given stands in the file that is written, and is continued."""

import re
import wave

import numpy as np
import pytest
from small_run import write_config_for

from efficient_attn.__main__ import main
from efficient_attn.commands.sound_picture import draw_sounds
from efficient_attn.data import Palette
from efficient_attn.data.audio import read_sound
from efficient_attn.experiment import load_config, train

SIZE = 4


@pytest.fixture(scope="module")
def painter(tmp_path_factory):
    """A model of images of 4 x 4, after two steps: the arguments that name it."""
    folder = tmp_path_factory.mktemp("painter")
    np.save(folder / "images.npy", np.random.default_rng(0).integers(0, 256, (300, SIZE, SIZE, 3), dtype=np.uint8))
    config = write_config_for("ImageArray", folder / "images.npy", context="48", steps="2")
    train(load_config(config), str(folder / "run"))
    return ["sample", "--config", config, "--workdir", str(folder / "run")]


@pytest.fixture(scope="module")
def player(tmp_path_factory):
    """A model of sound, after two steps: the arguments that name it, and the sound."""
    folder = tmp_path_factory.mktemp("player")
    np.save(folder / "sound.npy", np.sin(np.arange(4000) / 3, dtype=np.float32))
    config = write_config_for("AudioFiles", folder / "sound.npy", steps="2")
    train(load_config(config), str(folder / "run"))
    return ["sample", "--config", config, "--workdir", str(folder / "run")], folder / "sound.npy"


@pytest.fixture(scope="module")
def palette_painter(tmp_path_factory):
    """A model of images of 4 x 4 in 300 greys, after two steps: the arguments that name it."""
    folder = tmp_path_factory.mktemp("palette_painter")
    np.save(folder / "images.npy", np.random.default_rng(0).integers(0, 256, (300, SIZE, SIZE, 3), dtype=np.uint8))
    Palette(np.repeat(np.linspace(-1, 1, 300)[:, None], 3, axis=1)).save(folder / "colours.npy")
    config = write_config_for("ImageArray", folder / "images.npy", context="16", steps="2")
    with open(config) as file:
        text = file.read().replace("import AudioFiles,", "import AudioFiles, PaletteImages,")
    text = re.sub(
        r"source=(.*),\n", rf"source=PaletteImages(images=\1, palette={str(folder / 'colours.npy')!r}),\n", text
    )
    (folder / "small.py").write_text(text.replace("depth=2,", "depth=1, vocab=300,"))
    train(load_config(config), str(folder / "run"))
    return ["sample", "--config", config, "--workdir", str(folder / "run")]


def pixels(file):
    return np.asarray(pytest.importorskip("PIL.Image").open(file))


def cells(file, rows, columns, zoom=1):
    """The images of a grid, row by row, as they were before they were enlarged."""
    sheet, side = pixels(file), SIZE * zoom
    assert sheet.shape == (rows * (side + 2) - 2, columns * (side + 2) - 2, 3)
    places = [[(r * (side + 2), c * (side + 2)) for c in range(columns)] for r in range(rows)]
    return [[sheet[y : y + side : zoom, x : x + side : zoom] for y, x in row] for row in places]


def test_the_lower_half_of_an_image_is_drawn(painter, tmp_path):
    given = np.random.default_rng(1).integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)
    pytest.importorskip("PIL.Image").fromarray(given).save(tmp_path / "given.png")
    main([*painter, "--prompt-file", str(tmp_path / "given.png"), "--out", str(tmp_path / "out.png")])
    half, drawn, original = cells(tmp_path / "out.png", 1, 3)[0]
    np.testing.assert_array_equal(half[: SIZE // 2], given[: SIZE // 2])
    assert not half[SIZE // 2 :].any()
    np.testing.assert_array_equal(drawn[: SIZE // 2], given[: SIZE // 2])
    assert (drawn[SIZE // 2 :] != given[SIZE // 2 :]).any()
    np.testing.assert_array_equal(original, given)
    whole = ["--prompt-file", str(tmp_path / "given.png"), "--share", "1", "--out", str(tmp_path / "whole.png")]
    main([*painter, *whole])
    for image in cells(tmp_path / "whole.png", 1, 3)[0]:
        np.testing.assert_array_equal(image, given)


def test_held_out_images_are_continued_beside_the_nearest_training_images(painter, tmp_path):
    rest = ["--prompt-split", "test", "--count", "3", "--nearest", "--zoom", "2", "--out", str(tmp_path / "sheet.png")]
    main([*painter, *rest])
    source = load_config(painter[2]).source
    held_out, training = (source.load(split).tokens.reshape(-1, SIZE, SIZE, 3) for split in ("test", "train"))
    rows = cells(tmp_path / "sheet.png", 3, 4, zoom=2)
    assert len({row[2].tobytes() for row in rows}) == 3
    for half, drawn, original, nearest in rows:
        np.testing.assert_array_equal(half[: SIZE // 2], original[: SIZE // 2])
        np.testing.assert_array_equal(drawn[: SIZE // 2], original[: SIZE // 2])
        assert original.tobytes() in {image.tobytes() for image in held_out}
        distances = np.square(training.astype(float) - drawn).sum((1, 2, 3))
        np.testing.assert_array_equal(nearest, training[distances.argmin()])


def test_the_lower_half_of_an_image_is_drawn_in_colours_of_a_palette(palette_painter, tmp_path):
    given = np.repeat(np.arange(16, dtype=np.uint8).reshape(SIZE, SIZE, 1) * 17, 3, axis=2)
    pytest.importorskip("PIL.Image").fromarray(given).save(tmp_path / "given.png")
    main([*palette_painter, "--prompt-file", str(tmp_path / "given.png"), "--out", str(tmp_path / "out.png")])
    _, drawn, original = cells(tmp_path / "out.png", 1, 3)[0]
    np.testing.assert_array_equal(drawn[: SIZE // 2], given[: SIZE // 2])
    np.testing.assert_array_equal(original, given)
    assert (drawn[..., 0] == drawn[..., 1]).all()
    main([*palette_painter, "--count", "2", "--length", "3", "--out", str(tmp_path / "short.png")])
    assert not pixels(tmp_path / "short.png")[1:, :SIZE].any()


def test_images_from_nothing_lie_in_a_grid(painter, tmp_path):
    main([*painter, "--count", "5", "--out", str(tmp_path / "grid.png")])
    grid = pixels(tmp_path / "grid.png")
    assert grid.shape == (2 * SIZE + 2, 3 * SIZE + 4, 3)
    cell = SIZE + 2
    images = [grid[r * cell : r * cell + SIZE, c * cell : c * cell + SIZE] for r in (0, 1) for c in (0, 1, 2)]
    assert len({image.tobytes() for image in images}) == 6
    assert (images[5] == 255).all() and (grid[SIZE : SIZE + 2] == 255).all()


def test_images_that_are_not_square(painter, tmp_path):
    main([*painter, "--shape", "2", "8", "--out", str(tmp_path / "wide.png")])
    assert pixels(tmp_path / "wide.png").shape == (2, 8, 3)


def test_a_sound_is_continued(player, tmp_path):
    arguments, sound = player
    rest = ["--prompt-file", str(sound), "--share", "0.005", "--length", "30", "--rate", "8000"]
    main([*arguments, *rest, "--out", str(tmp_path / "out.wav")])
    with wave.open(str(tmp_path / "out.wav")) as written:
        assert (written.getframerate(), written.getnframes(), written.getnchannels()) == (8000, 30, 1)
    np.testing.assert_array_equal(read_sound(tmp_path / "out.wav")[:20], read_sound(sound)[:20])


def test_sounds_are_drawn(player, tmp_path):
    pytest.importorskip("matplotlib")
    sounds = [read_sound(player[1])[:begin] for begin in (257, 4000)]
    draw_sounds(tmp_path / "out.png", sounds, rate=8000)
    assert pixels(tmp_path / "out.png").shape == (640, 900, 4)


def test_sounds_have_a_file_each(player, tmp_path):
    main([*player[0], "--count", "2", "--out", str(tmp_path / "out.wav")])
    assert {file.name for file in tmp_path.iterdir()} == {"out-0.wav", "out-1.wav"}
    assert len(read_sound(tmp_path / "out-0.wav")) == 32


@pytest.mark.parametrize(
    ("which", "arguments", "message"),
    [
        ("painter", "", "this model draws no text: name a file with .png by --out"),
        ("painter", "--out a.wav", "--out must have .png for this model's samples, got a.wav"),
        ("painter", "--out a.png --prompt-file {config}", "is not a readable image"),
        ("painter", "--out a.png --context 47", "is not one square image: say its height and width by --shape"),
        ("painter", "--out a.png --prompt-split test --count 1000", "images, and 1000 were asked for"),
        (
            "painter",
            "--out a.png --prompt-split test --prompt a",
            "name one of what is continued, got prompt and prompt_split",
        ),
        ("painter", "--out a.png --picture b.png", "picture is for sounds, which this model does not draw"),
        ("player", "--out a.wav --nearest", "nearest and prompt_split are for images, which this model does not draw"),
        ("player", "--out a.wav --length 40 --picture b.png", "a spectrogram needs more than 256 samples, got 40"),
        ("player", "--out a.wav --rate 0", "rate must be at least 1 sample per second, got 0"),
        ("player", "--out a.wav --prompt-file {config}", "is not a readable PCM .wav file"),
    ],
)
def test_refuses(which, arguments, message, painter, player, capsys, tmp_path):
    named = painter if which == "painter" else player[0]
    if "--context" in arguments:
        other = tmp_path / "other.py"
        with open(named[2]) as config:
            other.write_text(config.read().replace("context=48", "context=47"))
        named, arguments = [*named[:2], str(other), *named[3:]], "--out a.png"
    with pytest.raises(SystemExit) as caught:
        main([*named, *arguments.format(config=named[2]).split()])
    assert caught.value.code == 2
    assert message in capsys.readouterr().err
