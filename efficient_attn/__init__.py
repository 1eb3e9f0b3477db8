"""Efficient attention in JAX: patterns, block-sparse kernels, Flax modules and a trainer.

Dimension letters, everywhere: ``B`` batch, ``T`` query length, ``S`` key length, ``N`` query heads, ``K`` key heads, ``H`` head
size, ``D`` model width, ``F`` feed-forward width, ``V`` vocabulary, ``E`` experts, ``G`` groups, ``C`` capacity or block.
"""

from efficient_attn import ops as ops
from efficient_attn import patterns as patterns
from efficient_attn.kernels import RelativeBias as RelativeBias
from efficient_attn.kernels import attend as attend
from efficient_attn.kernels import merge as merge
from efficient_attn.nn.flax_attention import flax_attention_fn as flax_attention_fn
from efficient_attn.pretrained import load_pretrained as load_pretrained
from efficient_attn.pretrained import save_pretrained as save_pretrained
