"""The sizes of GShard's mixtures of experts as language models: the decoder-only twins of its translation models.

Rows: Lepikhin et al. 2020, table 1: 12.5B to 1T parameters; experts and layers are the paper's, its encoder and languages are not.
Command: python train.py configs/gshard_lm.py --workdir runs/gshard_lm --source.path corpus --mesh.expert 128
  That has 13.1B parameters (the paper's model, with its encoder, 12.5B); :37e9, :50e9, :150e9, :200e9, :600e9 and :1e12 (VARIANTS)
  have 39.3B to 1,031.9B, in workdirs of their own.
Planning: python -m efficient_attn plan configs/gshard_lm.py:37e9 --topology v5p:4x4x8 --mesh.expert 128
  Without a TPU: memory, collectives and the least time of a step, in docs/measurements.md.
Where we differ: bytes instead of pieces, positions by rotation, products in bfloat16, learned gains and biases of the norms.
Hardware: the paper used 128 to 2,048 TPU v3 cores. Measured here: compiled only, not run.
"""

import dataclasses

from efficient_attn.data import TextFiles
from efficient_attn.experiment import Experiment
from efficient_attn.models import DecoderConfig, Experts, Sparse
from efficient_attn.precision import Precision
from efficient_attn.training import Adafactor, InverseSquareRoot, Schedule

CONFIG = Experiment(
    model=DecoderConfig(
        depth=12,
        width=1024,
        heads=16,
        qk_width=2048,
        value_width=2048,
        ff_width=8192,
        activation="relu",
        attention=Sparse(patterns=("Causal()",)),
        attention_bias=False,
        experts=Experts(number=128),
        dropout=0.1,
        remat="block",
        precision=Precision(compute="bfloat16"),
    ),
    source=TextFiles(path="corpus"),
    context=1024,
    # 1M tokens.
    batch_size=1024,
    steps=250_000,
    schedule=Schedule(peak=1.0, warmup_steps=10_000, decay=InverseSquareRoot()),
    optimizer=Adafactor(),
    label_smoothing=0.1,
)


def _of(experts: int, depth: int, batch_size: int = 1024) -> Experiment:
    model = dataclasses.replace(CONFIG.model, depth=depth, experts=Experts(number=experts))
    return dataclasses.replace(CONFIG, model=model, batch_size=batch_size)


# 2,048 experts were trained on 4M tokens a step.
VARIANTS = {
    "37e9": _of(128, 36),
    "50e9": _of(512, 12),
    "150e9": _of(512, 36),
    "200e9": _of(2048, 12, 4096),
    "600e9": _of(2048, 36, 4096),
    "1e12": _of(2048, 60, 4096),
}
