"""What codes that know little make of a stream, in bits per token: yardsticks for a model's score."""

import io
import math
from typing import Any

import numpy as np

from efficient_attn.data.stream import TokenStream

# Pairs of tokens that are counted at a time, and at most.
_PAIRS = 1 << 24
_MOST = 1 << 24


def order_one_bits(stream: TokenStream) -> float | None:
    """Bits per token of a code that knows how often each token follows each other one in this stream.

    It is told these counts for nothing, which flatters it the more, the fewer the tokens are for their number of pairs. Of a
    channel of a pixel, the one before is the same channel of the pixel before. None where pairs are too many to count.
    """
    if stream.vocab_size**2 > _MOST or len(stream) < 2:
        return None
    lag = 3 if len(stream.image_shape) == 3 else 1
    counts = np.zeros(stream.vocab_size**2, np.int64)
    for begin in range(lag, len(stream), _PAIRS):
        after = stream.tokens[begin : begin + _PAIRS].astype(np.int64)
        before = stream.tokens[begin - lag : begin - lag + len(after)].astype(np.int64)
        counts += np.bincount(before * stream.vocab_size + after, minlength=len(counts))
    pairs = counts.reshape(stream.vocab_size, -1)
    return float((_nats(pairs) - _nats(pairs.sum(1))) / (len(stream) - lag) / math.log(2))


def _nats(counts: np.ndarray) -> float:
    """Nats of telling each of these events by its share of all, times how many there are, less a constant of their total."""
    found = counts[counts > 0].astype(np.float64)
    return float(-np.sum(found * np.log(found)))


def png_bits(stream: TokenStream) -> float | None:
    """Bits per token of all images of a stream, one below the other in one PNG of their bytes or their colours' numbers.

    None where there are no images of at most 256 tokens, or Pillow is not installed.
    """
    if not stream.image_shape or stream.vocab_size > 256:
        return None
    try:
        from PIL import Image
    except ModuleNotFoundError:
        return None
    file = io.BytesIO()
    Image.fromarray(stream.tokens.reshape(-1, *stream.image_shape[1:])).save(file, "PNG", optimize=True)
    return 8 * file.getbuffer().nbytes / len(stream)


def flac_bits(stream: TokenStream) -> float | None:
    """Bits per sample of a sound's mu-law numbers in FLAC, which takes them for 8-bit amplitudes.

    None of what is no sound, or where soundfile is not installed.
    """
    if stream.unit != "sample":
        return None
    try:
        import soundfile
    except ModuleNotFoundError:
        return None
    sound: Any = soundfile
    file = io.BytesIO()
    # Eight bits are the upper ones of the sixteen that are handed over.
    sound.write(file, (stream.tokens.astype(np.int16) - 128) << 8, 8000, format="FLAC", subtype="PCM_S8")
    return 8 * file.getbuffer().nbytes / len(stream)


def yardsticks(stream: TokenStream) -> dict[str, float | None]:
    """All codes' bits, those that there are; ``xz_bits`` is None of what would take seconds."""
    codes = {"order_one_bits": order_one_bits(stream), "png_bits": png_bits(stream), "flac_bits": flac_bits(stream)}
    known = {name: bits for name, bits in codes.items() if bits is not None}
    return {"xz_bits": stream.xz_bits, "frequency_bits": stream.frequency_bits, **known}
