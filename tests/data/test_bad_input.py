"""What is wrong is said at once, in one line, with what was expected and what came."""

import json
import sys
import wave

import numpy as np
import pytest

from efficient_attn.data import (
    LM1B,
    AudioFiles,
    ContiguousBatches,
    Enwik8,
    EvaluationWindows,
    ImageArray,
    ImageFolder,
    StandardLibrary,
    Text8,
    TextFiles,
    TFDSImages,
    TFDSText,
    TokenStream,
    TrainingBatches,
    WikipediaExcerpt,
    WikiText,
    evaluation_batches,
    mu_law_encode,
    pack,
    process_rows,
    side_by_side,
    with_minimum_context,
)


def stream(length=100, **fields):
    return TokenStream(**(dict(tokens=np.zeros(length, np.uint8), description="zeros") | fields))


def write(path, content=b""):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def save(path, array):
    np.save(path, array)
    return path


def wav(path, width=2, rate=8000, frames=b"\0" * 12):
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes(frames)
    return path


def two_rates(folder):
    for i in range(40):
        wav(folder / f"{i}.wav", rate=8000 + 8000 * (i % 2), frames=bytes([i]) * 12)
    return folder


def dataset(folder, **info):
    write(folder / "notes" / "1.0.0" / "dataset_info.json", json.dumps({"name": "notes", "splits": []} | info).encode())
    return folder


def training(**fields):
    return TrainingBatches(**(dict(stream=stream(), context=10, batch_size=4, seed=0) | fields))


# name: (what is done in an empty folder, the exception, a part of its message)
CASES = {
    "splits-sum": (lambda d: StandardLibrary(splits=(0.9, 0.2, 0.1)), ValueError, "add up to 1, got (0.9, 0.2, 0.1)"),
    "splits-negative": (lambda d: TextFiles(path=d, splits=(1.1, -0.1, 0.0)), ValueError, "shares >= 0"),
    "splits-no-train": (lambda d: ImageArray(path=d, splits=(0.0, 0.5, 0.5)), ValueError, "some training data"),
    "stream-empty": (lambda d: stream(0), ValueError, "no tokens: zeros"),
    "stream-vocabulary": (lambda d: stream(vocab_size=257), ValueError, "1..256, got 257"),
    "stream-records": (lambda d: stream(100, record_length=12), ValueError, "100 tokens are not whole records of 12"),
    "library-no-test": (lambda d: StandardLibrary(splits=(0.9, 0.1, 0.0)).load("test"), ValueError, "falls to 'test'"),
    "text-missing": (lambda d: TextFiles(path=d / "no").load("train"), FileNotFoundError, "no: point TextFiles(path"),
    "text-empty": (lambda d: TextFiles(path=write(d / "a")).load("train"), ValueError, "a is empty"),
    "text-short": (
        lambda d: TextFiles(path=write(d / "a", b"abc")).load("test"),
        ValueError,
        "falls to 'test': it has 3",
    ),
    "text-special": (lambda d: TextFiles(path="/dev/null").load("train"), ValueError, "/dev/null is not a file"),
    "text-no-suffix": (lambda d: TextFiles(path=d, suffixes=()), ValueError, "at least one file ending"),
    "text-folder-empty": (lambda d: TextFiles(path=d).load("train"), ValueError, "ends in .txt"),
    "text-folder-few": (
        lambda d: TextFiles(path=write(d / "a.txt", b"abc").parent, splits=(0.999, 0.0, 0.001)).load("test"),
        ValueError,
        "falls to 'test': it has 1",
    ),
    "text-print": (lambda d: TextFiles(path=d / "no").fingerprint(), FileNotFoundError, "no file"),
    "wikipedia-missing": (
        lambda d: WikipediaExcerpt(path=d).load("train"),
        FileNotFoundError,
        "pip download --no-deps gensim==4.4.0",
    ),
    "wikipedia-bz2": (lambda d: WikipediaExcerpt(path=write(d / "a.bz2", b"abc")).load("train"), ValueError, "bzip2"),
    "wikipedia-xml": (
        lambda d: WikipediaExcerpt(path=write(d / "a.xml", b"<html>")).load("train"),
        ValueError,
        "should begin with '<mediawiki', but begins with b'<html>'",
    ),
    "enwik8-missing": (
        lambda d: Enwik8(path=d / "enwik8").load("train"),
        FileNotFoundError,
        "unzip https://mattmahoney.net/dc/enwik8.zip",
    ),
    "enwik8-folder": (lambda d: Enwik8(path=d).load("train"), ValueError, "is not a file"),
    "text8-size": (
        lambda d: Text8(path=write(d / "text8", b"abc")).load("test"),
        ValueError,
        "text8 has 100,000,000 bytes, but",
    ),
    "wikitext-missing": (lambda d: WikiText(path=d / "no").load("test"), FileNotFoundError, "wikitext-103-raw-v1.zip"),
    "wikitext-part": (
        lambda d: WikiText(path=write(d / "wiki.train.raw", b"a").parent).load("train"),
        FileNotFoundError,
        "wiki.valid.raw: unpack",
    ),
    "wikitext-file": (lambda d: WikiText(path=write(d / "a", b"a")).load("test"), ValueError, "a is not a folder"),
    "lm1b-missing": (lambda d: LM1B(path=d / "no").load("train"), FileNotFoundError, "statmt.org/lm-benchmark"),
    "lm1b-shard": (lambda d: LM1B(path=d).load("validation"), FileNotFoundError, "news.en.heldout-00001-of-00050"),
    "tfds-missing": (
        lambda d: TFDSImages(name="cifar10", data_dir=d).load("train"),
        FileNotFoundError,
        "`tfds build cifar10 --data_dir=",
    ),
    "tfds-no-version": (
        lambda d: TFDSText(name="notes", data_dir=write(d / "notes" / "plain" / "a").parents[2]).load("train"),
        FileNotFoundError,
        "nor in a version below it (found plain)",
    ),
    "tfds-tfrecord": (
        lambda d: TFDSText(name="notes", data_dir=dataset(d, fileFormat="tfrecord")).load("train"),
        ValueError,
        "'tfrecord', but array_record is needed",
    ),
    "tfds-old-tfrecord": (
        lambda d: TFDSText(name="notes", data_dir=dataset(d)).load("train"),
        ValueError,
        "'tfrecord', but array_record is needed",
    ),
    "tfds-json": (
        lambda d: TFDSText(name="a", data_dir=write(d / "a" / "dataset_info.json", b"{").parents[1]).load("train"),
        ValueError,
        "is not valid JSON",
    ),
    "array-missing": (lambda d: ImageArray(path=d / "a.npy").load("train"), FileNotFoundError, "numpy.save the images"),
    "array-text": (lambda d: ImageArray(path=write(d / "a.npy", b"abc")).load("train"), ValueError, "not a .npy file"),
    "array-float": (
        lambda d: ImageArray(path=save(d / "a.npy", np.zeros((2, 5, 7, 3)))).load("train"),
        ValueError,
        "uint8 [count, height, width, 3], got float64 [2, 5, 7, 3]",
    ),
    "array-grey": (
        lambda d: ImageArray(path=save(d / "a.npy", np.zeros((2, 5, 7), np.uint8))).load("train"),
        ValueError,
        "got uint8 [2, 5, 7]",
    ),
    "array-few": (
        lambda d: ImageArray(path=save(d / "a.npy", np.zeros((2, 5, 7, 3), np.uint8)), splits=(1.0, 0.0, 0.0)).load(
            "test"
        ),
        ValueError,
        "falls to 'test': it has 2",
    ),
    "images-missing": (lambda d: ImageFolder(path=d / "no", size=8).load("train"), FileNotFoundError, "PNG or JPEG"),
    "images-none": (lambda d: ImageFolder(path=d, size=8).load("train"), ValueError, "ends in .png or .jpg or .jpeg"),
    "images-size": (lambda d: ImageFolder(path=d, size=0), ValueError, "at least 1 pixel, got 0"),
    "images-broken": (
        lambda d: (
            pytest.importorskip("PIL")
            and ImageFolder(path=write(d / "a.png", b"abc").parent, size=8, splits=(1.0, 0.0, 0.0)).load("train")
        ),
        ValueError,
        "a.png is not a readable image",
    ),
    "audio-missing": (lambda d: AudioFiles(path=d / "a.wav").load("train"), FileNotFoundError, "point AudioFiles(path"),
    "audio-kind": (
        lambda d: AudioFiles(path=write(d / "a.mp3", b"a")).load("train"),
        ValueError,
        "neither .wav nor .npy",
    ),
    "audio-broken": (
        lambda d: AudioFiles(path=write(d / "a.wav", b"abc")).load("train"),
        ValueError,
        "readable PCM .wav",
    ),
    "audio-24-bit": (lambda d: AudioFiles(path=wav(d / "a.wav", width=3)).load("train"), ValueError, "24-bit samples"),
    "audio-rates": (lambda d: AudioFiles(path=two_rates(d)).load("train"), ValueError, "[8000, 16000] Hz"),
    "audio-silent": (lambda d: AudioFiles(path=wav(d / "a.wav", frames=b"")).load("train"), ValueError, "it has 0"),
    "audio-array": (
        lambda d: AudioFiles(path=save(d / "a.npy", np.zeros((2, 9)))).load("train"),
        ValueError,
        "1-D int16 or float samples, got float64 [2, 9]",
    ),
    "audio-loud": (lambda d: mu_law_encode(np.array([0.0, 1.5])), ValueError, "within [-1, 1], got 0.0 to 1.5"),
    "audio-nan": (lambda d: mu_law_encode(np.array([0.0, np.nan])), ValueError, "within [-1, 1]"),
    "windows-scored": (lambda d: EvaluationWindows(context=8, scored=9), ValueError, "scored=9 and context=8"),
    "windows-minimum": (lambda d: with_minimum_context(8, 8), ValueError, "minimum=8 and context=8"),
    "windows-empty": (lambda d: side_by_side(8).count(0), ValueError, "stream of 0 tokens"),
    "windows-index": (lambda d: side_by_side(8).window(2, 16), IndexError, "windows 0..1, got 2"),
    "batch-uneven": (lambda d: training(process_count=3), ValueError, "batch_size 4 does not divide evenly among 3"),
    "batch-process": (lambda d: process_rows(4, 2, 2), ValueError, "got 2 of 2"),
    "batch-empty": (lambda d: training(batch_size=0), ValueError, "batch_size 0 does not divide"),
    "batch-short": (
        lambda d: training(context=101),
        ValueError,
        "101 tokens are needed, but the stream has 100: zeros",
    ),
    "batch-align": (lambda d: training(align=3), ValueError, "multiple of align=3, got 10"),
    "batch-records": (
        lambda d: training(stream=stream(100, record_length=5)),
        ValueError,
        "align must be a multiple of the stream's 5, got 1",
    ),
    "batch-seed": (lambda d: training(seed=-1), ValueError, "0..2**32 - 1, got -1"),
    "batch-step": (lambda d: training().at(-1), ValueError, "steps count from 0, got -1"),
    "batch-start": (lambda d: training().iterate(-1), ValueError, "steps count from 0, got -1"),
    "contiguous-short": (
        lambda d: ContiguousBatches(stream=stream(), context=26, batch_size=4),
        ValueError,
        "104 tokens are needed, but the stream has 100",
    ),
    "contiguous-context": (
        lambda d: ContiguousBatches(stream=stream(), context=0, batch_size=4),
        ValueError,
        "at least 1 token, got 0",
    ),
    # Not only when the first batch is asked for.
    "evaluation-uneven": (lambda d: evaluation_batches(stream(), side_by_side(8), 4, 0, 3), ValueError, "among 3"),
    "pack-long": (lambda d: pack([np.zeros(9, np.int32)], 8), ValueError, "a document has 9 tokens, but a row holds 8"),
    "pack-nothing": (lambda d: pack([np.zeros(0, np.int32)], 8), ValueError, "none of the 1 documents has a token"),
    "pack-context": (lambda d: pack([np.zeros(9, np.int32)], 0), ValueError, "at least 1 token, got 0"),
}


@pytest.mark.parametrize(("act", "exception", "message"), CASES.values(), ids=CASES.keys())
def test_bad_input(act, exception, message, tmp_path):
    with pytest.raises(exception) as caught:
        act(tmp_path)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("source", "fields", "message"),
    [
        (TFDSText, dict(), "no split 'validation'; it has test, train: set split_names"),
        (TFDSText, dict(split_names=("train", "train[", "test")), "no split 'train['"),
        (
            TFDSText,
            dict(feature="txt", split_names=("train", "test", "test")),
            "it has grey, image, label, raw, score, text",
        ),
        (TFDSText, dict(feature="raw", split_names=("train", "test", "test")), "should be text, got ndarray"),
        (TFDSImages, dict(feature="grey", split_names=("train", "test", "test")), "[height, width, 3], got [5, 7]"),
    ],
)
def test_bad_input_for_prepared_data(source, fields, message, prepared):
    with pytest.raises(ValueError) as caught:
        source(name="notes", data_dir=prepared, **fields).load("validation")
    assert message in str(caught.value)


def test_file_that_may_not_be_read(tmp_path, monkeypatch):
    def refuse(*args, **kwargs):
        raise PermissionError(13, "Permission denied")

    write(tmp_path / "a.txt", b"abc")
    monkeypatch.setattr(np, "memmap", refuse)
    monkeypatch.setattr("pathlib.Path.read_bytes", refuse)
    for path in (tmp_path, tmp_path / "a.txt"):
        with pytest.raises(ValueError, match=r"cannot read .*a\.txt: Permission denied"):
            TextFiles(path=path).load("train")


def test_missing_packages_name_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    write(tmp_path / "a.png", b"abc")
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'efficient-attn\[images\]'"):
        ImageFolder(path=tmp_path, size=8, splits=(1.0, 0.0, 0.0)).load("train")
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'efficient-attn\[tfds\]'"):
        TFDSText(name="notes", data_dir=dataset(tmp_path, fileFormat="array_record")).load("train")


def test_missing_gensim_says_what_to_fetch(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(FileNotFoundError, match=r"gensim==4\.4\.0"):
        WikipediaExcerpt().load("train")
