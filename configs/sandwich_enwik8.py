"""Sandwich Transformer of adaptive spans on enwik8: 24 attentions and 24 feed-forwards, k=5.

Row: Press, Smith and Levy 2020, section 5: 0.968 bits per byte on test with k=5, about 0.975 in turn. Their released code prints
  0.992 on dev.
Command: python train.py configs/sandwich_enwik8.py --workdir runs/sandwich_enwik8
Evaluation: python eval.py configs/sandwich_enwik8.py --workdir runs/sandwich_enwik8 --split test
  8 parallel readings in segments of 512 with a memory; the score depends a little on their number.
Variants (VARIANTS): :k0, in turn, to :k8, the k that the paper tried. configs/sandwich_text8.py is text8's.
Parameters: those of configs/adaptive_span_enwik8_24.py, 208.9 M with the published vocabulary of 205; bytes need a table of 256.
Hardware: docs/measurements.md has the memory that the compiler needs for the same sublayers in turn. Measured here: not run.
"""

import dataclasses

from efficient_attn.data import Enwik8
from efficient_attn.experiment import Experiment
from efficient_attn.models import AdaptiveSpan, DecoderConfig
from efficient_attn.nn.sublayers import sandwich_order
from efficient_attn.precision import Precision
from efficient_attn.training import Adagrad, Drop, Schedule

DEPTH = 24

CONFIG = Experiment(
    model=DecoderConfig(
        depth=DEPTH,
        width=768,
        heads=8,
        ff_width=4096,
        attention=AdaptiveSpan(limit=8192, coefficient=5e-7, dropout=0.4),
        attention_bias=False,
        order=sandwich_order(DEPTH, 5),
        norm="post",
        activation="relu",
        logits="untied",
        initialization="unit",
        remat="block",
        precision=Precision(compute="bfloat16"),
    ),
    source=Enwik8(path="data/enwik8"),
    context=512,
    batch_size=64,
    steps=170_000,
    schedule=Schedule(peak=0.07, warmup_steps=32_000, decay=Drop(at=150_000)),
    optimizer=Adagrad(step_clip=0.03),
    clip_norm=None,
    accumulation=2,
    eval_batch_size=8,
    checkpoint_every=5_000,
)


def _ordered(k: int) -> Experiment:
    return dataclasses.replace(CONFIG, model=dataclasses.replace(CONFIG.model, order=sandwich_order(DEPTH, k)))


VARIANTS = {f"k{k}": _ordered(k) for k in range(9) if k != 5}
