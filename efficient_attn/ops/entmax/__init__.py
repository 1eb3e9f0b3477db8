"""Alpha-entmax: the mapping, attention with it, and the losses that belong to it."""

from efficient_attn.ops.entmax.attention import entmax_attention as entmax_attention
from efficient_attn.ops.entmax.losses import entmax15_loss as entmax15_loss
from efficient_attn.ops.entmax.losses import entmax_loss as entmax_loss
from efficient_attn.ops.entmax.losses import sparsemax_loss as sparsemax_loss
from efficient_attn.ops.entmax.mapping import entmax as entmax
from efficient_attn.ops.entmax.mapping import entmax15 as entmax15
from efficient_attn.ops.entmax.mapping import sparsemax as sparsemax
