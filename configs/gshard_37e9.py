"""GShard's mixture of 128 experts in 18 layers: 100 languages to English, 37B weights.

Row: Lepikhin et al. 2020, table 1: MoE(128E, 36L), 37B weights; BLEU 39.0 on average.
Command: python train.py configs/gshard_37e9.py --workdir runs/gshard_37e9 --mesh.expert 128
Planning: python -m efficient_attn plan configs/gshard_37e9.py --topology v5p:4x4x8 --mesh.expert 128
All but its size is that of configs/gshard_12e9.py.
Hardware: the paper used 128 TPU v3 cores for 17.3 days. Measured here: compiled only, not run.
"""

import dataclasses
from pathlib import Path

from efficient_attn.experiment import load_config
from efficient_attn.models import Experts

_SMALLEST = load_config(str(Path(__file__).with_name("gshard_12e9.py")))

CONFIG = dataclasses.replace(
    _SMALLEST,
    model=dataclasses.replace(_SMALLEST.model, encoder_depth=18, decoder_depth=18, experts=Experts(number=128)),
)
