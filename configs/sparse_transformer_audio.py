"""The Sparse Transformer on raw audio: 65,536 steps of 12 kHz, 8-bit mu-law.

Row: Child et al. 2019, table 4: classical music, 152M parameters, 1.97 bits per byte at 65,536 steps. VARIANTS are its other rows,
  262,144 steps by 25M parameters, 2.17 bits, and 1,048,576 steps by 3M, 2.99 bits.
Command: python train.py configs/sparse_transformer_audio.py --workdir runs/sparse_transformer_audio
Evaluation: python eval.py configs/sparse_transformer_audio.py --workdir runs/sparse_transformer_audio --split test
Hardware: the paper used V100. Measured here: not run.
The paper gives neither depth, width nor stride: 48 layers of width 512 are the 152M it names, and the strides are square roots.
"""

import dataclasses
import math

from efficient_attn.data import AudioFiles
from efficient_attn.experiment import Experiment
from efficient_attn.models import DecoderConfig, Sparse
from efficient_attn.nn.embedding import TablePositions
from efficient_attn.precision import Precision
from efficient_attn.training import EMA, AdamW, Cosine, Schedule

CONFIG = Experiment(
    model=DecoderConfig(
        depth=48,
        width=512,
        heads=16,
        attention=Sparse(patterns=("Causal() & Window(left=255)", "Causal() & Strided(256)")),
        positions=TablePositions(sizes=(256, 256)),
        remat="block",
        precision=Precision(compute="bfloat16"),
    ),
    source=AudioFiles(path="data/audio"),
    context=65_536,
    batch_size=8,
    steps=100_000,
    schedule=Schedule(peak=1.5e-4, warmup_steps=5_000, decay=Cosine()),
    optimizer=AdamW(weight_decay=0.01),
    ema=EMA(decay=0.999),
)


def _longer(context: int, depth: int, width: int, heads: int) -> Experiment:
    stride = math.isqrt(context)
    model = dataclasses.replace(
        CONFIG.model,
        depth=depth,
        width=width,
        heads=heads,
        attention=Sparse(patterns=(f"Causal() & Window(left={stride - 1})", f"Causal() & Strided({stride})")),
        positions=TablePositions(sizes=(stride, stride)),
    )
    return dataclasses.replace(CONFIG, model=model, context=context)


VARIANTS = {"25m": _longer(262_144, 32, 256, 4), "3m": _longer(1_048_576, 14, 128, 2)}
