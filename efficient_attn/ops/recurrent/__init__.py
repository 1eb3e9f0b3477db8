"""Recurrent cells over whole sequences: the bistable ones (BRC, nBRC), and the GRU and LSTM that they are compared with."""

from efficient_attn.ops.recurrent.bistable import Bistable as Bistable
from efficient_attn.ops.recurrent.bistable import brc as brc
from efficient_attn.ops.recurrent.bistable import nbrc as nbrc
from efficient_attn.ops.recurrent.gated import Gated as Gated
from efficient_attn.ops.recurrent.gated import gru as gru
from efficient_attn.ops.recurrent.gated import lstm as lstm
from efficient_attn.ops.recurrent.newton import brc_newton as brc_newton
