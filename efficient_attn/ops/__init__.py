"""Mechanisms as pure functions of arrays, one to a file."""

from efficient_attn.ops import adaptive_span as adaptive_span
from efficient_attn.ops import bigbird as bigbird
from efficient_attn.ops import block_linformer as block_linformer
from efficient_attn.ops import entmax as entmax
from efficient_attn.ops import linformer as linformer
from efficient_attn.ops import longformer as longformer
from efficient_attn.ops import lsh as lsh
from efficient_attn.ops import positions as positions
from efficient_attn.ops import recurrent as recurrent
from efficient_attn.ops import reversible as reversible
from efficient_attn.ops import routing as routing
from efficient_attn.ops import synthesizer as synthesizer
from efficient_attn.ops import two_stream as two_stream
