"""Which model a configuration describes."""

import functools

from efficient_attn.models.decoder import Decoder
from efficient_attn.models.decoder_config import DecoderConfig
from efficient_attn.models.encoder import Encoder, EncoderConfig
from efficient_attn.models.functional import Functional
from efficient_attn.models.image_gpt import ImageReader, ImageReaderConfig
from efficient_attn.models.segment_decoder import SegmentDecoder
from efficient_attn.models.seq2seq import Seq2Seq
from efficient_attn.models.seq2seq_config import Seq2SeqConfig
from efficient_attn.nn.span_attention import AdaptiveSpan


@functools.lru_cache(maxsize=16)
def decoder_of(
    config: DecoderConfig, limits: tuple[int, ...] | None = None
) -> Functional[Decoder] | Functional[SegmentDecoder]:
    """The form of the model; one for equal arguments, so that programs compiled for it are found again.

    Args:
      config: the model's.
      limits: of a SegmentDecoder.
    """
    if isinstance(config.attention, AdaptiveSpan):
        return Functional(lambda key: SegmentDecoder(config, limits=limits, key=key))
    return Functional(lambda key: Decoder(config, key=key))


@functools.lru_cache(maxsize=16)
def encoder_of(config: EncoderConfig) -> Functional[Encoder]:
    """The form of an encoder; one for equal configs."""
    return Functional(lambda key: Encoder(config, key=key))


@functools.lru_cache(maxsize=16)
def image_reader_of(config: ImageReaderConfig) -> Functional[ImageReader]:
    """The form of a reader of images; one for equal configs."""
    return Functional(lambda key: ImageReader(config, key=key))


@functools.lru_cache(maxsize=16)
def seq2seq_of(config: Seq2SeqConfig) -> Functional[Seq2Seq]:
    """The form of an encoder-decoder; one for equal configs."""
    return Functional(lambda key: Seq2Seq(config, key=key))
