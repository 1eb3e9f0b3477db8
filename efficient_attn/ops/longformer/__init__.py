"""Longformer's attention: windows, plain or dilated, and global tokens that differ from example to example."""

from efficient_attn.ops.longformer.attention import Sight as Sight
from efficient_attn.ops.longformer.attention import attend_globally as attend_globally
from efficient_attn.ops.longformer.attention import attend_locally as attend_locally
from efficient_attn.ops.longformer.attention import longformer_attention as longformer_attention
from efficient_attn.ops.longformer.tokens import GlobalTokens as GlobalTokens
from efficient_attn.ops.longformer.tokens import find_globals as find_globals
