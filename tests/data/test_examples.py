"""The data of recurrent benchmarks: what is drawn, what is read of files, and batches that are a function of the step."""

import gzip
import json
import struct

import numpy as np
import pytest

from efficient_attn.data import CopyFirst, Denoising, ExampleBatches, PaddedDigits, every_example

pytestmark = pytest.mark.fast

COPY = CopyFirst(length=7, records=11, held_out=5)


def test_the_first_number_is_the_target():
    batch = COPY.load("train").read(np.arange(11))
    np.testing.assert_array_equal(batch["inputs"][:, :1], batch["targets"])
    assert batch["inputs"].shape == (11, 7, 1)
    others = [COPY.load(split).inputs[0, 0, 0] for split in ("validation", "test")]
    assert len({batch["inputs"][0, 0, 0], *others}) == 3


@pytest.mark.parametrize("reading", ["last_state", "in_turn"])
def test_marked_numbers_are_the_targets_in_order_before_the_silence(reading):
    source = Denoising(length=23, silence=9, marked=3, records=50, held_out=5, reading=reading)
    examples = source.load("train")
    mark, plain, cue = (0, -1, 1) if reading == "last_state" else (1, 0, -1)
    for rows, targets in zip(examples.inputs, examples.targets, strict=True):
        numbers, marks = rows.T
        at = np.flatnonzero(marks[:22] == mark)
        np.testing.assert_array_equal(numbers[at], targets.reshape(-1))
        assert len(at) == 3
        assert at.max() < 13
        assert (marks[22], numbers[22]) == (cue, 0)
        assert np.all(np.delete(marks[:22], at) == plain)
        assert not rows[23:].any()
    assert examples.inputs.shape == (50, 23 if reading == "last_state" else 25, source.inputs)
    assert examples.targets.shape == (50, *((1, 3) if reading == "last_state" else (3, 1)))
    assert examples.targets.shape[2] == source.outputs
    # Every place before the silence is marked in some record.
    assert (examples.inputs[:, :13, 1] == mark).any(0).all()


def test_batches_follow_from_the_step_and_cover_an_epoch():
    examples = COPY.load("train")
    batches = ExampleBatches(examples=examples, batch_size=4, seed=1)
    epoch = np.concatenate([batches.at(step)["targets"] for step in range(11)]).reshape(4, 11)
    for numbers in epoch:
        assert set(numbers) == set(examples.targets.reshape(-1))
    assert not np.array_equal(epoch[0], epoch[1])
    later = batches.iterate(2)
    for step in (2, 3):
        np.testing.assert_array_equal(next(later)["inputs"], batches.at(step)["inputs"])
    halves = [ExampleBatches(examples=examples, batch_size=4, seed=1, process_index=i, process_count=2) for i in (0, 1)]
    joined = np.concatenate([half.at(5)["targets"] for half in halves])
    np.testing.assert_array_equal(joined, batches.at(5)["targets"])


def test_every_example_is_scored_once_by_any_number_of_processes():
    examples = COPY.load("train")
    for count in (1, 2):
        parts = [list(every_example(examples, 4, index, count)) for index in range(count)]
        assert {len(part) for part in parts} == {3}
        scored = [batch["targets"][batch["scored"]] for part in parts for batch in part]
        assert sorted(np.concatenate(scored).reshape(-1)) == sorted(examples.targets.reshape(-1))


def original_files(folder, *, compressed):
    """Files in the format of MNIST: 24 training images and 2 test images, each pixel the number of its image."""
    for part, count in (("train", 24), ("t10k", 2)):
        images = np.repeat(np.arange(count, dtype=np.uint8), 784)
        labels = np.arange(count, dtype=np.uint8) % 10
        for name, head, values in (
            ("images-idx3-ubyte", struct.pack(">I3I", 0x803, count, 28, 28), images),
            ("labels-idx1-ubyte", struct.pack(">II", 0x801, count), labels),
        ):
            content = head + values.tobytes()
            file = folder / f"{part}-{name}{'.gz' if compressed else ''}"
            file.write_bytes(gzip.compress(content) if compressed else content)


@pytest.mark.parametrize("compressed", [False, True])
def test_original_files_with_their_own_test_split(tmp_path, compressed):
    original_files(tmp_path, compressed=compressed)
    source = PaddedDigits(path=tmp_path, padding=3)
    sizes = {split: len(source.load(split)) for split in ("train", "validation", "test")}
    assert sizes == {"train": 22, "validation": 2, "test": 2}
    batch = source.load("validation").read(np.array([1]))
    assert batch["inputs"].shape == (1, 787, 1)
    np.testing.assert_allclose(batch["inputs"][0, :784], 23 / 255)
    assert not batch["inputs"][0, 784:].any()
    np.testing.assert_array_equal(batch["targets"], [[3]])
    assert source.fingerprint() != PaddedDigits(path=tmp_path, padding=4).fingerprint()


def listed_digits(folder):
    """Ten images of each digit, of random bytes that are written with three decimals."""
    pixels = np.random.default_rng(0).integers(0, 256, (10, 10, 784))
    for digit, images in enumerate(pixels):
        (folder / f"{digit}.json").write_text(json.dumps({"data": np.round(images.reshape(-1) / 255, 3).tolist()}))
    return pixels


def test_lists_of_pixels_in_every_reading(tmp_path):
    pixels = listed_digits(tmp_path)
    first = pixels[0, 0].reshape(28, 28)
    for reading, shape in (("pixels", (784, 1)), ("permuted", (784, 1)), ("lines", (28, 28))):
        source = PaddedDigits(path=tmp_path, reading=reading, padding=2, centred=True)
        examples = source.load("train")
        assert len(examples) == 80
        found = examples.read(np.array([0]))["inputs"][0]
        order = np.arange(shape[0])
        if reading != "pixels":
            order = np.random.RandomState(1).permutation(shape[0])
            assert not np.array_equal(order, np.arange(shape[0]))
        np.testing.assert_allclose(found[:-2], first.reshape(shape)[order] / 255 - 0.5, atol=1e-6)
        assert not found[-2:].any()
        assert source.inputs == shape[1]


def test_bad_input(tmp_path):
    with pytest.raises(ValueError, match="length must be at least 1, got 0"):
        CopyFirst(length=0)
    with pytest.raises(ValueError, match="5 marked steps, a silence of 200 and a cue do not fit into length=205"):
        Denoising(length=205)
    with pytest.raises(ValueError, match="padding must be at least 0 steps, got -1"):
        PaddedDigits(path=tmp_path, padding=-1)
    with pytest.raises(FileNotFoundError, match=r"no handwritten digits in .*put the files of MNIST there"):
        PaddedDigits(path=tmp_path).load("train")
    with pytest.raises(ValueError, match="does not divide"):
        ExampleBatches(examples=COPY.load("train"), batch_size=3, seed=0, process_count=2)


def test_files_that_are_not_digits(tmp_path):
    original_files(tmp_path, compressed=False)
    labels = tmp_path / "train-labels-idx1-ubyte"
    labels.write_bytes(labels.read_bytes()[:-1])
    with pytest.raises(ValueError, match="train-labels-idx1-ubyte is not an IDX file of bytes, or is cut off"):
        PaddedDigits(path=tmp_path).load("train")
    labels.unlink()
    with pytest.raises(FileNotFoundError, match="no train-labels-idx1-ubyte"):
        PaddedDigits(path=tmp_path).load("train")


def test_lists_that_are_not_digits(tmp_path):
    listed_digits(tmp_path)
    (tmp_path / "3.json").write_text('{"data": [0.5]}')
    with pytest.raises(ValueError, match=r"3.json has 1 pixels, which are not images of 28 x 28"):
        PaddedDigits(path=tmp_path).load("train")
    (tmp_path / "3.json").write_text("no")
    with pytest.raises(ValueError, match=r"3.json is not a JSON object with a list 'data'"):
        PaddedDigits(path=tmp_path).load("train")
