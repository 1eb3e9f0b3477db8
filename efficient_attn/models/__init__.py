"""Whole models."""

from efficient_attn.models.decoder import Decoder as Decoder
from efficient_attn.models.decoder import DecoderConfig as DecoderConfig
from efficient_attn.models.decoder import Sparse as Sparse
from efficient_attn.models.functional import Functional as Functional
