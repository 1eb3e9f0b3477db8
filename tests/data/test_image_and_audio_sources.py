"""Images and audio become tokens and lose nothing but what the format says."""

import wave

import hypothesis
import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import numpy as np
import pytest

from efficient_attn.data import SPLITS, AudioFiles, ImageArray, ImageFolder, TFDSImages, mu_law_decode, mu_law_encode

THIRDS = (0.4, 0.3, 0.3)


def test_image_array_keeps_every_image_whole_and_once(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (40, 5, 7, 3), dtype=np.uint8)
    # Equal images must not fall to different splits.
    images = np.concatenate([images, images[:20]])
    np.save(tmp_path / "images.npy", images)
    source = ImageArray(path=tmp_path / "images.npy", splits=THIRDS)
    streams = [source.load(split) for split in SPLITS]
    assert {(stream.record_length, stream.unit) for stream in streams} == {(5 * 7 * 3, "pixel")}
    parts = [{image.tobytes() for image in stream.tokens.reshape(-1, 5 * 7 * 3)} for stream in streams]
    assert sum(map(len, streams)) == images.size
    assert [len(part) for part in parts] == [len(part - set().union(*parts[:i])) for i, part in enumerate(parts)]
    assert set().union(*parts) == {image.tobytes() for image in images}
    assert source.fingerprint() != ImageArray(path=tmp_path / "images.npy").fingerprint()


def test_image_folder(tmp_path):
    pillow = pytest.importorskip("PIL.Image")
    (tmp_path / "wide").mkdir()
    for i in range(24):
        image = np.full((6, 10, 3), 10 * i, np.uint8)
        image[:, :2], image[:, -2:] = 255, 255
        pillow.fromarray(image).save(tmp_path / "wide" / f"{i}.png")
    pillow.fromarray(np.full((4, 4), 77, np.uint8)).save(tmp_path / "grey.jpg", quality=95)
    source = ImageFolder(path=tmp_path, size=6, splits=THIRDS)
    images = [image for split in SPLITS for image in source.load(split).tokens.reshape(-1, 6, 6, 3)]
    assert sorted(int(image.mean()) for image in images) == sorted([*range(0, 240, 10), 77])
    assert all(np.ptp(image) == 0 for image in images)
    assert source.fingerprint() == ImageFolder(path=str(tmp_path), size=6, splits=THIRDS).fingerprint()
    assert source.fingerprint() != ImageFolder(path=tmp_path, size=5, splits=THIRDS).fingerprint()


@pytest.mark.parametrize("feature", ["image", "raw"])
def test_tfds_images(feature, prepared, pixels):
    names = ("train[:10]", "train[10:]", "test")
    source = TFDSImages(name="notes", data_dir=prepared, feature=feature, split_names=names)
    stream = source.load("validation")
    assert np.array_equal(stream.tokens.reshape(-1, 5, 7, 3), [pixels(10), pixels(11)])
    assert (stream.record_length, stream.unit) == (5 * 7 * 3, "pixel")
    assert [len(source.load(split)) for split in SPLITS] == [105 * 10, 105 * 2, 105 * 5]
    assert len(source.fingerprint()) == 16


def test_mu_law_is_exact_on_its_levels():
    levels = np.arange(256, dtype=np.uint8)
    samples = mu_law_decode(levels)
    assert np.array_equal(mu_law_encode(samples), levels)
    assert (samples[0], samples[255]) == (-1, 1)
    assert np.allclose(samples, -samples[::-1], atol=1e-7)
    # The curve at 1/2, by hand: ln(128.5) / ln(256) = 0.87568, and (0.87568 + 1) / 2 * 255 = 239.149.
    assert mu_law_encode(np.array([0.5])) == 239


@hypothesis.settings(deadline=None)
@hypothesis.given(hnp.arrays(np.float64, st.integers(1, 50), elements=st.floats(-1, 1)))
def test_mu_law_is_within_half_a_level(samples):
    decoded = mu_law_decode(mu_law_encode(samples)).astype(np.float64)
    # The curve's slope is ln(256) (1 + 255 |x|) / 255; half a level is 1 / 255 of its range of 2.
    bound = np.log(256) / 255 * (1 / 255 + np.maximum(np.abs(samples), np.abs(decoded)))
    assert np.all(np.abs(decoded - samples) <= bound + 1e-6)


def write_wav(path, samples, rate=8000):
    """Writes ``samples`` [count, channels], int16 or uint8."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(samples.shape[1])
        file.setsampwidth(samples.dtype.itemsize)
        file.setframerate(rate)
        file.writeframes(samples.astype(samples.dtype.newbyteorder("<")).tobytes())


def test_wav_formats_agree(tmp_path):
    mono = (np.arange(-100, 100) * 256).astype(np.int16)
    write_wav(tmp_path / "mono.wav", mono[:, None])
    write_wav(tmp_path / "stereo.wav", np.stack([mono + 256, mono - 256], axis=1).astype(np.int16))
    write_wav(tmp_path / "eight.wav", (mono // 256 + 128).astype(np.uint8)[:, None])
    np.save(tmp_path / "integer.npy", mono)
    np.save(tmp_path / "float.npy", mono / 32768)
    expected = mu_law_encode(mono.astype(np.float32) / 32768)
    for name in ("mono.wav", "stereo.wav", "eight.wav", "integer.npy", "float.npy"):
        streams = [AudioFiles(path=tmp_path / name).load(split) for split in SPLITS]
        assert np.array_equal(np.concatenate([stream.tokens for stream in streams]), expected), name
        assert [len(stream) for stream in streams] == [180, 10, 10]
        assert streams[0].unit == "sample"


def test_audio_folder(tmp_path):
    for i in range(30):
        write_wav(tmp_path / f"{i}.wav", np.full((10 + i, 1), 1000 * i, np.int16))
    source = AudioFiles(path=tmp_path, splits=THIRDS)
    streams = [source.load(split) for split in SPLITS]
    assert sum(map(len, streams)) == sum(10 + i for i in range(30))
    assert "8,000 Hz" in streams[0].description
    assert source.fingerprint() == AudioFiles(path=str(tmp_path), splits=THIRDS).fingerprint()
