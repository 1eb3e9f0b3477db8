"""Adaptive attention span on text8, the large model: 24 layers.

Row: Sukhbaatar et al. 2019, table 1, text8: 209M parameters, average span 245, 179M multiply-adds, 1.01 bits dev, 1.07 test.
Command: python train.py configs/adaptive_span_text8_24.py --workdir runs/adaptive_span_text8_24
Evaluation: python eval.py configs/adaptive_span_text8_24.py --workdir runs/adaptive_span_text8_24 --split test
  8 parallel readings in segments of 512 with a memory; the score depends a little on their number.
Parameters: 208.6 M with the published vocabulary of 28; bytes need a table of 256.
The paper counts 179M with a feed-forward of 4 x 768, not the 4,096 that it trained.
Hardware: docs/measurements.md has the memory that the compiler needs for TPUs. Measured here: not run.
"""

from efficient_attn.data import Text8
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
    source=Text8(path="data/text8"),
    context=512,
    batch_size=64,
    steps=270_000,
    schedule=Schedule(peak=0.07, warmup_steps=32_000, decay=Drop(at=250_000)),
    optimizer=Adagrad(step_clip=0.03),
    clip_norm=None,
    accumulation=2,
    eval_batch_size=8,
    checkpoint_every=5_000,
)
