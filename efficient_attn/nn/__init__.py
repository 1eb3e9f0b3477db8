"""Flax NNX modules: parameters, and calls into ``ops`` and ``kernels``. Used as plain pytrees with ``jax`` transforms."""

from efficient_attn.nn.attention import Attention as Attention
from efficient_attn.nn.attention import SelfAttention as SelfAttention
from efficient_attn.nn.bigbird_attention import BigBirdAttention as BigBirdAttention
from efficient_attn.nn.block import Block as Block
from efficient_attn.nn.block_linformer_attention import BlockLinformerAttention as BlockLinformerAttention
from efficient_attn.nn.cache import Cache as Cache
from efficient_attn.nn.embedding import Embedding as Embedding
from efficient_attn.nn.entmax_attention import EntmaxAttention as EntmaxAttention
from efficient_attn.nn.feedforward import FeedForward as FeedForward
from efficient_attn.nn.linformer_attention import LinformerAttention as LinformerAttention
from efficient_attn.nn.longformer_attention import LongformerAttention as LongformerAttention
from efficient_attn.nn.stack import Stack as Stack
from efficient_attn.nn.synthesizer_attention import SynthesizerAttention as SynthesizerAttention
