"""Sandwiches of eight attentions and eight feed-forwards by their coefficient k, and random orders, at equal steps: small.

Rows: Press, Smith and Levy 2020, tables 1 to 3: on WikiText-103, 16 of each, 18.65 +- 0.24 perplexity in turn, best at k=6; of
  random orders those with more attention below and more feed-forwards above are better.
Command: python train.py configs/small_sandwich.py --workdir runs/small_sandwich
  That is k=2; configs/small_sandwich.py:k0, :k1, :k3 to :k7 (VARIANTS) are the others (k=8 is k=7), :balanced0 to :balanced9
  random orders of as many of each, :matched0 to :matched9 of as many parameters, in workdirs of their own. Other seeds: --seed 1.
  python -m efficient_attn compare runs/* then prints a table and draws the curves.
Where we differ: bytes of Python code, not words of Wikipedia.
Hardware: 2 CPU cores, a minute each. Measured: docs/measurements.md.
"""

import dataclasses

from efficient_attn.data import StandardLibrary
from efficient_attn.experiment import Experiment
from efficient_attn.models import DecoderConfig
from efficient_attn.nn.sublayers import balanced_order, matched_order, sandwich_order
from efficient_attn.training import AdamW, Cosine, Schedule

DEPTH = 8

CONFIG = Experiment(
    model=DecoderConfig(depth=DEPTH, width=64, heads=4, order=sandwich_order(DEPTH, 2), initialization="unit"),
    source=StandardLibrary(splits=(0.98, 0.01, 0.01)),
    context=128,
    batch_size=16,
    steps=500,
    schedule=Schedule(peak=3e-3, warmup_steps=20, decay=Cosine(final=0.05)),
    optimizer=AdamW(b2=0.98, weight_decay=0.05),
    log_every=25,
    eval_batch_size=128,
)


def _ordered(order: str) -> Experiment:
    return dataclasses.replace(CONFIG, model=dataclasses.replace(CONFIG.model, order=order))


VARIANTS = (
    {f"k{k}": _ordered(sandwich_order(DEPTH, k)) for k in range(DEPTH) if k != 2}
    | {f"balanced{n}": _ordered(balanced_order(DEPTH, seed=n)) for n in range(10)}
    | {f"matched{n}": _ordered(matched_order(DEPTH, seed=n)) for n in range(10)}
)
