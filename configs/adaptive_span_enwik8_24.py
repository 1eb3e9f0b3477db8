"""Adaptive attention span on enwik8, the large model: 24 layers.

Row: Sukhbaatar et al. 2019, table 2, enwik8: 209M parameters, 1.00 bits per byte dev, 0.98 test.
Command: python train.py configs/adaptive_span_enwik8_24.py --workdir runs/adaptive_span_enwik8_24
Evaluation: python eval.py configs/adaptive_span_enwik8_24.py --workdir runs/adaptive_span_enwik8_24 --split test
  8 parallel readings in segments of 512 with a memory; the score depends a little on their number.
Parameters: 208.9 M with the published vocabulary of 205; bytes need a table of 256.
Hardware: docs/measurements.md has the memory that the compiler needs for TPUs. Measured here: not run.
"""

from efficient_attn.data import Enwik8
from efficient_attn.experiment import Experiment
from efficient_attn.models import AdaptiveSpan, DecoderConfig
from efficient_attn.precision import Precision
from efficient_attn.training import Adagrad, Drop, Schedule

CONFIG = Experiment(
    model=DecoderConfig(
        depth=24,
        width=768,
        heads=8,
        ff_width=4096,
        attention=AdaptiveSpan(limit=8192, coefficient=5e-7, dropout=0.4),
        attention_bias=False,
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
