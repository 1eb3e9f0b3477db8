"""Adaptive spans beside fixed ones on Python code: small, for any machine.

Command: python train.py configs/small_adaptive_span.py --workdir runs/small_adaptive_span
  The baseline, in a workdir of its own: configs/small_adaptive_span.py:fixed. Dynamic spans: :dynamic.
Hardware: 2 CPU cores, minutes. Measured: docs/measurements.md.
"""

import dataclasses

from efficient_attn.data import StandardLibrary
from efficient_attn.experiment import Experiment
from efficient_attn.models import AdaptiveSpan, DecoderConfig
from efficient_attn.training import AdamW, Cosine, Schedule

CONFIG = Experiment(
    model=DecoderConfig(
        depth=4,
        width=128,
        heads=4,
        attention=AdaptiveSpan(limit=256, trim=64, coefficient=2e-6),
        attention_bias=False,
        initialization="unit",
        logits="untied",
    ),
    source=StandardLibrary(splits=(0.9, 0.05, 0.05)),
    context=128,
    batch_size=16,
    steps=800,
    schedule=Schedule(peak=2e-3, warmup_steps=20, decay=Cosine(final=0.05)),
    optimizer=AdamW(b2=0.98, weight_decay=0.05),
    log_every=25,
    eval_batch_size=64,
)


def _with(spans: str) -> Experiment:
    attention = dataclasses.replace(CONFIG.model.attention, spans=spans)
    return dataclasses.replace(CONFIG, model=dataclasses.replace(CONFIG.model, attention=attention))


VARIANTS = {"fixed": _with("fixed"), "dynamic": _with("tokens")}
