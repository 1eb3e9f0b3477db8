"""Adaptive attention span on text8, the small model: 12 layers.

Row: Sukhbaatar et al. 2019, table 1, text8: 38M parameters, average span 314, 42M multiply-adds, 1.05 bits dev, 1.11 test.
Command: python train.py configs/adaptive_span_text8_12.py --workdir runs/adaptive_span_text8_12
Evaluation: python eval.py configs/adaptive_span_text8_12.py --workdir runs/adaptive_span_text8_12 --split test
  8 parallel readings in segments of 512 with a memory; the score depends a little on their number.
Parameters: 38.36 M with the published vocabulary of 28; bytes need a table of 256.
Hardware: docs/measurements.md has the memory that the compiler needs for TPUs. Measured here: not run.
"""

from efficient_attn.data import Text8
from efficient_attn.experiment import Experiment
from efficient_attn.models import AdaptiveSpan, DecoderConfig
from efficient_attn.precision import Precision
from efficient_attn.training import Adagrad, Constant, Schedule

CONFIG = Experiment(
    model=DecoderConfig(
        depth=12,
        width=512,
        heads=8,
        ff_width=2048,
        attention=AdaptiveSpan(limit=8192, coefficient=5e-7, dropout=0.3),
        attention_bias=False,
        norm="post",
        activation="relu",
        logits="untied",
        initialization="unit",
        remat="block",
        precision=Precision(compute="bfloat16"),
    ),
    source=Text8(path="data/text8"),
    context=512,
    batch_size=64,
    steps=900_000,
    schedule=Schedule(peak=0.07, warmup_steps=32_000, decay=Constant()),
    optimizer=Adagrad(step_clip=0.03),
    clip_norm=None,
    eval_batch_size=8,
    checkpoint_every=5_000,
)
