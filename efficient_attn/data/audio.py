"""Audio as 8-bit mu-law tokens (ITU-T G.711's curve with mu = 255, quantised uniformly to 256 levels)."""

import dataclasses
import wave
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8

from efficient_attn.data.source import (
    Location,
    files_of_split,
    hash_identity,
    list_files,
    require_file,
    sizes_of_files,
)
from efficient_attn.data.splits import Split, SplitFractions, check_fractions, split_by_position
from efficient_attn.data.stream import TokenStream

_MU = 255
_REMEDY = "point AudioFiles(path=...) at a .wav or .npy file, or at a folder of .wav files"


def mu_law_encode(samples: Float[np.ndarray, " length"]) -> UInt8[np.ndarray, " length"]:
    """Encodes samples: ``round((sign(x) ln(1 + mu |x|) / ln(1 + mu) + 1) / 2 * mu)``.

    Args:
        samples: Amplitudes in [-1, 1].

    Raises:
        ValueError: A sample is outside [-1, 1] or not a number.
    """
    if not np.all(np.abs(samples) <= 1):
        raise ValueError(f"samples must be within [-1, 1], got {samples.min()} to {samples.max()}")
    compressed = np.sign(samples) * np.log1p(_MU * np.abs(samples)) / np.log1p(_MU)
    return np.rint((compressed + 1) / 2 * _MU).astype(np.uint8)


def mu_law_decode(tokens: UInt8[np.ndarray, " length"]) -> Float[np.ndarray, " length"]:
    """Decodes tokens to float32 amplitudes in [-1, 1]; ``mu_law_encode`` gives the same tokens back."""
    compressed = tokens.astype(np.float32) / _MU * 2 - 1
    return np.sign(compressed) * np.expm1(np.abs(compressed) * np.log1p(np.float32(_MU))) / _MU


@dataclasses.dataclass(frozen=True, kw_only=True)
class AudioFiles:
    """Audio as mu-law tokens, one a sample: one file is cut by position, files of a folder are distributed by name.

    WAV files hold 8- or 16-bit PCM; channels are averaged. A ``.npy`` file holds 1-D int16 samples, or floats in
    [-1, 1].

    Raises:
        ValueError: The splits do not add up to 1.
    """

    path: Location
    """A ``.wav`` or ``.npy`` file, or a folder that is searched for ``.wav`` at any depth."""
    splits: SplitFractions = (0.9, 0.05, 0.05)
    """Shares of train, validation and test: of the samples of a file, of the number of files in a folder."""

    def __post_init__(self):
        check_fractions(self.splits)

    def load(self, split: Split) -> TokenStream:
        """Reads one split; see ``Source.load``."""
        path = self._existing()
        if path.is_dir():
            return self._load_folder(path, split)
        tokens = read_sound(path)
        part = tokens[split_by_position(len(tokens), self.splits)[split]]
        if not len(part):
            raise ValueError(f"no sample of {path} falls to {split!r}: it has {len(tokens)}, splits are {self.splits}")
        return _stream(part, f"{split} of {path.name}")

    def fingerprint(self) -> str:
        """Identifies the data; see ``Source.fingerprint``."""
        path = self._existing()
        return hash_identity(
            self, sizes_of_files(path, list_files(path, (".wav",))) if path.is_dir() else [("", path.stat().st_size)]
        )

    def _existing(self) -> Path:
        path = Path(self.path).expanduser()
        if not path.is_dir():
            require_file(path, _REMEDY)
            if path.suffix.lower() not in (".wav", ".npy"):
                raise ValueError(f"{path} is neither .wav nor .npy: {_REMEDY}")
        return path

    def _load_folder(self, folder: Path, split: Split) -> TokenStream:
        files = files_of_split(folder, list_files(folder, (".wav",)), self.splits, split)
        read = [_read_wav(file) for file in files]
        rates = {rate for _, rate in read}
        if len(rates) > 1:
            raise ValueError(f"the files under {folder} have different sample rates, {sorted(rates)} Hz: resample them")
        tokens = np.concatenate([mu_law_encode(samples) for samples, _ in read])
        return _stream(tokens, f"{split} of folder {folder.name}, {len(files):,} files at {rates.pop():,} Hz")


def read_sound(file: Path) -> UInt8[np.ndarray, " length"]:
    """The tokens of a ``.wav`` or ``.npy`` file.

    Raises:
        ValueError: It holds no sound.
    """
    return mu_law_encode(_read_npy(file) if file.suffix == ".npy" else _read_wav(file)[0])


def write_wav(file: Path, tokens: UInt8[np.ndarray, " length"], rate: int) -> None:
    """Writes tokens as 16-bit PCM of one channel, at ``rate`` samples per second."""
    with wave.open(str(file), "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(rate)
        sound.writeframes(np.rint(mu_law_decode(tokens) * 32767).astype("<i2").tobytes())


def _stream(tokens: UInt8[np.ndarray, " length"], origin: str) -> TokenStream:
    return TokenStream(tokens=tokens, unit="sample", description=f"{origin}: {len(tokens):,} samples")


def _read_wav(file: Path) -> tuple[Float[np.ndarray, " length"], int]:
    """Returns a file's samples in [-1, 1], and its sample rate in Hz."""
    try:
        with wave.open(str(file)) as sound:
            width, channels, rate = sound.getsampwidth(), sound.getnchannels(), sound.getframerate()
            frames = sound.readframes(sound.getnframes())
    except (OSError, EOFError, wave.Error) as error:
        raise ValueError(f"{file} is not a readable PCM .wav file: {error}") from error
    if width not in (1, 2):
        raise ValueError(f"{file} has {8 * width}-bit samples, but only 8- and 16-bit PCM is read: convert it")
    whole = len(frames) // (width * channels) * width * channels
    if width == 1:
        # 8-bit WAV is unsigned, wider WAV is signed.
        samples = (np.frombuffer(frames[:whole], np.uint8).astype(np.float32) - 128) / 128
    else:
        samples = np.frombuffer(frames[:whole], "<i2").astype(np.float32) / 32768
    return samples.reshape(-1, channels).mean(axis=1), rate


def _read_npy(file: Path) -> Float[np.ndarray, " length"]:
    try:
        samples = np.lib.format.open_memmap(file, mode="r")
    except (OSError, ValueError) as error:
        raise ValueError(f"{file} is not a .npy file of numbers: {error}") from error
    if samples.ndim != 1 or not (samples.dtype == np.int16 or np.issubdtype(samples.dtype, np.floating)):
        raise ValueError(f"{file} should be 1-D int16 or float samples, got {samples.dtype} {list(samples.shape)}")
    return samples.astype(np.float32) / 32768 if samples.dtype == np.int16 else samples
