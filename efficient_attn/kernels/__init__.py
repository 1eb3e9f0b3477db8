"""Attention over a pattern: one meaning, several implementations. See ``efficient_attn.kernels.attend``."""

from efficient_attn.kernels.attend import attend as attend
from efficient_attn.kernels.bias import RelativeBias as RelativeBias
from efficient_attn.kernels.merge import merge as merge
