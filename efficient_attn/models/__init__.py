"""Whole models."""

from efficient_attn.models.choice import decoder_of as decoder_of
from efficient_attn.models.choice import encoder_of as encoder_of
from efficient_attn.models.conversion import longformer_of as longformer_of
from efficient_attn.models.decoder import Decoder as Decoder
from efficient_attn.models.decoder import DecoderConfig as DecoderConfig
from efficient_attn.models.encoder import Encoder as Encoder
from efficient_attn.models.encoder import EncoderConfig as EncoderConfig
from efficient_attn.models.encoder import EncoderOutput as EncoderOutput
from efficient_attn.models.functional import Functional as Functional
from efficient_attn.models.recurrent import RecurrentConfig as RecurrentConfig
from efficient_attn.models.recurrent import RecurrentPredictor as RecurrentPredictor
from efficient_attn.models.recurrent import predictor_of as predictor_of
from efficient_attn.models.reformer import Reformer as Reformer
from efficient_attn.models.reformer import ReformerConfig as ReformerConfig
from efficient_attn.models.segment_decoder import SegmentDecoder as SegmentDecoder
from efficient_attn.nn.linformer_attention import Linformer as Linformer
from efficient_attn.nn.mechanisms import LSH as LSH
from efficient_attn.nn.mechanisms import AdaptivelySparse as AdaptivelySparse
from efficient_attn.nn.mechanisms import Sparse as Sparse
from efficient_attn.nn.mechanisms import Synthesizer as Synthesizer
from efficient_attn.nn.moe import Experts as Experts
from efficient_attn.nn.recurrent_mixing import Recurrent as Recurrent
from efficient_attn.nn.span_attention import AdaptiveSpan as AdaptiveSpan
from efficient_attn.nn.sublayers import sandwich_order as sandwich_order
