"""GShard's mixture of 2,048 experts in 18 layers: 100 languages to English, 600B weights.

Row: Lepikhin et al. 2020, table 1: MoE(2048E, 36L), 600B weights; BLEU 44.3 on average.
Command: python train.py configs/gshard_600e9.py --workdir runs/gshard_600e9 --mesh.expert 2048
Planning: python -m efficient_attn plan configs/gshard_600e9.py --topology v5p:8x16x16 --mesh.expert 2048
All but its size is that of configs/gshard_12e9.py.
Hardware: the paper used 2,048 TPU v3 cores for 4 days. Measured here: compiled only, not run.
"""

import dataclasses
from pathlib import Path

from efficient_attn.experiment import load_config
from efficient_attn.models import Experts

_SMALLEST = load_config(str(Path(__file__).with_name("gshard_12e9.py")))

CONFIG = dataclasses.replace(
    _SMALLEST,
    model=dataclasses.replace(_SMALLEST.model, encoder_depth=18, decoder_depth=18, experts=Experts(number=2048)),
    batch_size=4096,
)
