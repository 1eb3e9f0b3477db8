"""Dense, strided and fixed attention at equal steps on Wikipedia's XML: the comparison of the Sparse Transformer's table 2, small.
Beside them blocks with slots of the blocks before, which no paper compares.

Command: python train.py configs/small_wikipedia.py --workdir runs/small_wikipedia
  That is dense attention; configs/small_wikipedia.py:strided, :fixed and :block_linformer are the others, in workdirs of their own.
Data: the excerpt that the gensim package ships; the scores cannot be compared with those on enwik8.
Hardware: 2 CPU cores, minutes each. Measured: docs/measurements.md.
"""

import dataclasses

from efficient_attn.data import WikipediaExcerpt
from efficient_attn.experiment import Experiment
from efficient_attn.models import BlockLinformer, DecoderConfig, Sparse
from efficient_attn.training import AdamW, Cosine, Schedule

CONFIG = Experiment(
    model=DecoderConfig(depth=3, width=128, heads=2, initialization="unit"),
    source=WikipediaExcerpt(),
    context=1024,
    batch_size=2,
    steps=1500,
    schedule=Schedule(peak=2e-3, warmup_steps=20, decay=Cosine(final=0.05)),
    optimizer=AdamW(b2=0.98, weight_decay=0.05),
    log_every=100,
    eval_batch_size=16,
)


def _with(attention: Sparse | BlockLinformer) -> Experiment:
    return dataclasses.replace(CONFIG, model=dataclasses.replace(CONFIG.model, attention=attention))


VARIANTS = {
    "strided": _with(Sparse(patterns=("Causal() & (Window(left=31) | Strided(32))",))),
    "fixed": _with(Sparse(patterns=("Causal() & Fixed(stride=32, summary=8)",))),
    "block_linformer": _with(BlockLinformer(block=128, slots=16)),
}
