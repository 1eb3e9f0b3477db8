"""Mechanisms as pure functions of arrays, one to a file."""

from efficient_attn.ops import positions as positions
