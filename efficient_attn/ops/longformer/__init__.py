"""Longformer's attention: windows, plain or dilated, and global tokens that differ from example to example."""

from efficient_attn.ops.longformer.attention import Sight as Sight
from efficient_attn.ops.longformer.attention import longformer_attention as longformer_attention
from efficient_attn.ops.longformer.attention import window_and_globals as window_and_globals
from efficient_attn.ops.longformer.tokens import GlobalTokens as GlobalTokens
from efficient_attn.ops.longformer.tokens import find_globals as find_globals
