"""Data that the tests write themselves: every source is read from a real folder."""

import io

import numpy as np
import pytest

from efficient_attn.data import TokenStream


@pytest.fixture
def stream():
    """Builds a stream of ``length`` tokens, of which token ``i`` is ``i % 251``."""

    def build(length: int, record_length: int = 1) -> TokenStream:
        tokens = (np.arange(length) % 251).astype(np.uint8)
        return TokenStream(tokens=tokens, record_length=record_length, description="made for a test")

    return build


@pytest.fixture(scope="session")
def prepared(tmp_path_factory):
    """A TFDS data directory with the data set ``notes``: 12 train and 5 test records, in order, no TensorFlow."""
    tfds = pytest.importorskip("tensorflow_datasets")
    pillow = pytest.importorskip("PIL.Image")

    class Notes(tfds.core.GeneratorBasedBuilder):
        VERSION = tfds.core.Version("1.0.0")

        def _info(self):
            features = tfds.features.FeaturesDict(
                {
                    "text": tfds.features.Text(),
                    "label": tfds.features.ClassLabel(names=["even", "odd"]),
                    "score": np.float32,
                    "image": tfds.features.Image(shape=(5, 7, 3)),
                    "raw": tfds.features.Tensor(shape=(5, 7, 3), dtype=np.uint8),
                    "grey": tfds.features.Tensor(shape=(5, 7), dtype=np.uint8),
                }
            )
            return tfds.core.DatasetInfo(builder=self, disable_shuffling=True, features=features)

        def _split_generators(self, dl_manager):
            return {"train": self._generate_examples(range(12)), "test": self._generate_examples(range(12, 17))}

        def _generate_examples(self, numbers):
            for number in numbers:
                pixels = _pixels(number)
                png = io.BytesIO()
                pillow.fromarray(pixels).save(png, "PNG")
                png.seek(0)
                texts = {"text": f"note {number}", "label": number % 2 if number < 12 else -1, "score": number / 2}
                yield number, texts | {"image": png, "raw": pixels, "grey": pixels[..., 0]}

    tfds.disable_progress_bar()
    folder = tmp_path_factory.mktemp("tfds")
    config = tfds.download.DownloadConfig(try_download_gcs=False)
    Notes(data_dir=folder, file_format="array_record").download_and_prepare(download_config=config)
    return folder


def _pixels(number: int) -> np.ndarray:
    return np.random.default_rng(number).integers(0, 256, (5, 7, 3), dtype=np.uint8)


@pytest.fixture
def pixels():
    """The image of record ``number`` of the data set ``notes``."""
    return _pixels
