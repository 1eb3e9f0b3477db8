"""A character Longformer in two phases beside a dense model of the same size, on Wikipedia's text, small, for any machine.

Command: python train.py configs/small_longformer.py --workdir runs/small_longformer
  Then configs/small_longformer.py:phase2 in runs/small_longformer_phase2, which begins where that ended, with texts and windows
  twice as long. configs/small_longformer.py:dense and :dense_phase2 (VARIANTS) see everything before.
Hardware: 2 CPU cores, 2 to 4 minutes each. Measured: not run.
"""

import dataclasses

from efficient_attn.data import WikipediaExcerpt
from efficient_attn.experiment import Experiment
from efficient_attn.models import DecoderConfig, Relative
from efficient_attn.nn.embedding import NoPositions
from efficient_attn.training import AdamW, Cosine, Schedule


def _patterns(phase: int) -> tuple[str, ...]:
    """Windows of 32 to 128 bytes in the first phase; two of four heads of the upper layers see every second byte."""
    low, middle, high = (w << (phase - 1) for w in (32, 64, 128))
    upper = f"Dilated(left={high - 1}, dilation=2)"
    heads = f"Causal() & PerHead(({upper}, {upper}, Window(left={high - 1}), Window(left={high - 1})))"
    return f"Causal() & Window(left={low - 1})", f"Causal() & Window(left={middle - 1})", heads, heads


CONFIG = Experiment(
    model=DecoderConfig(
        depth=4,
        width=128,
        heads=4,
        attention=Relative(patterns=_patterns(1)),
        attention_bias=False,
        positions=NoPositions(),
        activation="gelu",
        logits="tied",
        initialization="unit",
    ),
    source=WikipediaExcerpt(),
    context=512,
    batch_size=4,
    steps=800,
    schedule=Schedule(peak=2e-3, warmup_steps=40, decay=Cosine(final=0.25)),
    optimizer=AdamW(b2=0.98, weight_decay=0.01),
    clip_norm=0.25,
    log_every=25,
    eval_batch_size=8,
)


def _with(patterns: tuple[str, ...], phase: int, start: str | None = None) -> Experiment:
    model = dataclasses.replace(CONFIG.model, attention=Relative(patterns=patterns))
    if phase == 1:
        return dataclasses.replace(CONFIG, model=model)
    schedule = Schedule(peak=1e-3, warmup_steps=20, decay=Cosine(final=0.05))
    return dataclasses.replace(
        CONFIG, model=model, context=1024, batch_size=2, steps=400, start=start, schedule=schedule
    )


_DENSE = ("Causal()",) * 4
VARIANTS = {
    "phase2": _with(_patterns(2), 2, "runs/small_longformer"),
    "dense": _with(_DENSE, 1),
    "dense_phase2": _with(_DENSE, 2, "runs/small_longformer_dense"),
}
