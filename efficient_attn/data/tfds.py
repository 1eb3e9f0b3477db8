"""Data sets that TensorFlow Datasets has prepared, read by random access without TensorFlow.

A data set must have been prepared in the ``array_record`` format, once, on a machine with TensorFlow and a network;
it can then be read anywhere. The whole split is held in memory: for 64x64 ImageNet that is 16 GB.
"""

import dataclasses
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from efficient_attn.data.labelled import LabelledImages, labelled_stream
from efficient_attn.data.source import Location, hash_identity, read_file, require_folder
from efficient_attn.data.splits import SPLITS, Split
from efficient_attn.data.stream import TokenStream

_VERSION = re.compile(r"\d+\.\d+\.\d+")
_INFO = "dataset_info.json"


@dataclasses.dataclass(frozen=True, kw_only=True)
class TFDSText:
    """One text feature of a prepared data set, as bytes; a separator follows each record.

    TFDS shuffles the records when it writes them, unless the data set was prepared with ``disable_shuffling``:
    neighbouring records need not be neighbouring text.
    """

    name: str
    """Data set, config and version as in TFDS: ``"lm1b"``, ``"wiki40b/en"``, ``"lm1b/1.1.0"``."""
    data_dir: Location
    """The folder that TFDS prepared into."""
    feature: str = "text"
    """Which feature of a record is the text."""
    split_names: tuple[str, str, str] = SPLITS
    """TFDS's own names for train, validation and test; parts are allowed: ``"train[:95%]"``."""
    separator: str = "\n"
    """What is put after each record."""

    def load(self, split: Split) -> TokenStream:
        """Reads one split; see ``Source.load``."""
        tfds_split = self.split_names[SPLITS.index(split)]
        records = open_records(prepared_folder(self.name, self.data_dir), self.feature, tfds_split)
        separator = self.separator.encode()
        text = bytearray()
        for i in range(len(records)):
            value = records[i][self.feature]
            if not isinstance(value, bytes):
                raise ValueError(f"feature {self.feature!r} of {self.name} should be text, got {type(value).__name__}")
            text += value + separator
        return TokenStream(
            tokens=np.frombuffer(text, np.uint8),
            description=f"TFDS {self.name}, split {tfds_split}: {len(records):,} records, {len(text):,} bytes",
        )

    def fingerprint(self) -> str:
        """Identifies the data; see ``Source.fingerprint``."""
        return hash_identity(self, split_sizes(prepared_folder(self.name, self.data_dir)))


@dataclasses.dataclass(frozen=True, kw_only=True)
class TFDSImages:
    """One image feature of a prepared data set; each image is a run of height * width * 3 tokens, channel fastest."""

    name: str
    """Data set, config and version as in TFDS: ``"cifar10"``, ``"imagenet_resized/64x64"``."""
    data_dir: Location
    """The folder that TFDS prepared into."""
    feature: str = "image"
    """Which feature of a record is the image."""
    split_names: tuple[str, str, str] = SPLITS
    """TFDS's own names for train, validation and test: ``("train[:45000]", "train[45000:]", "test")`` for CIFAR-10."""

    def load(self, split: Split) -> TokenStream:
        """Reads one split; see ``Source.load``."""
        tfds_split = self.split_names[SPLITS.index(split)]
        records = open_records(prepared_folder(self.name, self.data_dir), self.feature, tfds_split)
        shape = np.shape(records[0][self.feature])
        if len(shape) != 3 or shape[2] != 3:
            raise ValueError(f"feature {self.feature!r} of {self.name} should be [height, width, 3], got {list(shape)}")
        images = np.empty((len(records), *shape), np.uint8)
        for i in range(len(records)):
            image = np.asarray(records[i][self.feature])
            if image.shape != shape or image.dtype != np.uint8:
                raise ValueError(
                    f"images of {self.name} should all be uint8 {list(shape)}, got {image.dtype} {list(image.shape)}"
                )
            images[i] = image
        return TokenStream(
            tokens=images.reshape(-1),
            record_length=int(np.prod(shape)),
            image_shape=shape,
            unit="pixel",
            description=f"TFDS {self.name}, split {tfds_split}: {len(images):,} images of {shape[0]}x{shape[1]}x3",
        )

    def labelled(self, split: Split) -> LabelledImages:
        """As ``load``, and the classes that the records have as ``label``."""
        folder = prepared_folder(self.name, self.data_dir)
        records = open_records(folder, "label", self.split_names[SPLITS.index(split)])
        labels = [int(records[i]["label"]) for i in range(len(records))]
        return labelled_stream(self.load(split), labels, class_names(folder, "label"))

    def fingerprint(self) -> str:
        """Identifies the data; see ``Source.fingerprint``."""
        return hash_identity(self, split_sizes(prepared_folder(self.name, self.data_dir)))


def prepared_folder(name: str, data_dir: Location) -> Path:
    """Finds the folder of a prepared data set; of several versions, the newest.

    TFDS itself must not be asked for a data set that is not there: it retries a download for minutes.
    """
    remedy = (
        "on a machine with TensorFlow and a network run "
        f"`tfds build {name} --data_dir={data_dir} --file_format=array_record`, then copy the folder here"
    )
    folder = require_folder(Path(data_dir).expanduser() / name, remedy)
    if not (folder / _INFO).exists():
        versions = [path for path in folder.iterdir() if _VERSION.fullmatch(path.name) and (path / _INFO).exists()]
        if not versions:
            found = ", ".join(sorted(path.name for path in folder.iterdir())) or "nothing"
            raise FileNotFoundError(f"no {_INFO} in {folder} nor in a version below it (found {found}): {remedy}")
        folder = max(versions, key=lambda path: tuple(map(int, path.name.split("."))))
    file_format = _info(folder).get("fileFormat", "tfrecord")
    if file_format != "array_record":
        raise ValueError(f"{folder} is in the format {file_format!r}, but array_record is needed to read it: {remedy}")
    return folder


def _info(folder: Path) -> dict[str, Any]:
    try:
        return json.loads(read_file(folder / _INFO))
    except json.JSONDecodeError as error:
        raise ValueError(f"{folder / _INFO} is not valid JSON: {error}") from error


def split_sizes(folder: Path) -> list[tuple[str, int]]:
    info = _info(folder)
    return [(f"{info.get('version')} {split['name']}", int(split["numBytes"])) for split in info["splits"]]


def open_records(folder: Path, feature: str, tfds_split: str) -> Sequence[dict[str, Any]]:
    """Opens one split for random access, and checks that it holds the feature."""
    try:
        import tensorflow_datasets
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"reading {folder} needs tensorflow-datasets: pip install 'efficient-attn[tfds]'"
        ) from error
    builder: Any = tensorflow_datasets.builder_from_directory(folder)
    features = sorted(builder.info.features)
    if feature not in features:
        raise ValueError(f"{folder} has no feature {feature!r}; it has {', '.join(features)}")
    try:
        records = builder.as_data_source(split=tfds_split)
    except (ValueError, AssertionError) as error:
        splits = ", ".join(sorted(builder.info.splits))
        raise ValueError(f"{folder} has no split {tfds_split!r}; it has {splits}: set split_names") from error
    if not len(records):
        raise ValueError(f"split {tfds_split!r} of {folder} has no records")
    return records


def class_names(folder: Path, feature: str) -> list[str]:
    """Names of the classes of a feature.

    Raises:
        ValueError: It is no class.
    """
    import tensorflow_datasets

    found = tensorflow_datasets.builder_from_directory(folder).info.features[feature]
    if not hasattr(found, "names"):
        raise ValueError(
            f"feature {feature!r} of {folder} should be a class, got {type(found).__name__}; texts with numbers=True may have one"
        )
    return list(found.names)


def read_labelled_images(name: str, data_dir: Location, tfds_split: str) -> tuple[np.ndarray, np.ndarray]:
    """Images ``[n, height, width, channels]`` and labels ``[n]`` of one of TFDS's splits, as bytes; errors as of ``TFDSImages``."""
    records = open_records(prepared_folder(name, data_dir), "image", tfds_split)
    pairs = [(records[i]["image"], records[i]["label"]) for i in range(len(records))]
    return np.stack([image for image, _ in pairs]).astype(np.uint8), np.array([label for _, label in pairs], np.uint8)
