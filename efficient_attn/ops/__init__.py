"""Mechanisms as pure functions of arrays, one to a file."""

from efficient_attn.ops import entmax as entmax
from efficient_attn.ops import entmax_losses as entmax_losses
from efficient_attn.ops import positions as positions
