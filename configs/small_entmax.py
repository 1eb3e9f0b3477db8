"""Alpha-entmax with a learned alpha beside the softmax at equal steps on Python code: small, for any machine.

Command: python train.py configs/small_entmax.py --workdir runs/small_entmax
  That is a learned alpha for each head; configs/small_entmax.py:softmax and :entmax15 are the others, in workdirs of their own.
  python -m efficient_attn heads configs/small_entmax.py --workdir runs/small_entmax --picture heads.png then draws the alphas.
Hardware: 2 CPU cores, minutes each. Measured: docs/measurements.md.
"""

import dataclasses

from efficient_attn.data import StandardLibrary
from efficient_attn.experiment import Experiment
from efficient_attn.models import AdaptivelySparse, DecoderConfig, Sparse
from efficient_attn.training import AdamW, Cosine, Schedule

CONFIG = Experiment(
    model=DecoderConfig(
        depth=3,
        width=128,
        heads=4,
        attention=AdaptivelySparse(),
        attention_bias=False,
        initialization="unit",
        logits="untied",
    ),
    source=StandardLibrary(splits=(0.98, 0.01, 0.01)),
    context=256,
    batch_size=8,
    steps=400,
    schedule=Schedule(peak=2e-3, warmup_steps=20, decay=Cosine(final=0.05)),
    optimizer=AdamW(b2=0.98, weight_decay=0.05),
    log_every=25,
    eval_batch_size=64,
)


def _with(attention: Sparse) -> Experiment:
    return dataclasses.replace(CONFIG, model=dataclasses.replace(CONFIG.model, attention=attention))


VARIANTS = {"softmax": _with(Sparse()), "entmax15": _with(AdaptivelySparse(alpha=1.5))}
