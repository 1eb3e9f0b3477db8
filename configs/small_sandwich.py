"""Sandwiches of six attentions and six feed-forwards by their coefficient k, at equal steps on Python code: small, for any machine.

Row: Press, Smith and Levy 2020: on WikiText-103, 16 of each, 18.65 +- 0.24 perplexity in turn, best at k=6.
Command: python train.py configs/small_sandwich.py --workdir runs/small_sandwich
  That is k=2; configs/small_sandwich.py:k0, :k1, :k3 to :k5 (VARIANTS) are the others, :balanced and :matched random orders, in
  workdirs of their own. python -m efficient_attn compare runs/* then prints a table and draws the curves.
Hardware: 2 CPU cores, minutes each. Not measured yet.
"""

import dataclasses

from efficient_attn.data import StandardLibrary
from efficient_attn.experiment import Experiment
from efficient_attn.models import DecoderConfig
from efficient_attn.nn.sublayers import balanced_order, matched_order, sandwich_order
from efficient_attn.training import AdamW, Cosine, Schedule

CONFIG = Experiment(
    model=DecoderConfig(depth=6, width=96, heads=4, order=sandwich_order(6, 2), initialization="unit"),
    source=StandardLibrary(splits=(0.9, 0.05, 0.05)),
    context=256,
    batch_size=8,
    steps=800,
    schedule=Schedule(peak=2e-3, warmup_steps=20, decay=Cosine(final=0.05)),
    optimizer=AdamW(b2=0.98, weight_decay=0.05),
    log_every=25,
    eval_batch_size=64,
)


def _ordered(order: str) -> Experiment:
    return dataclasses.replace(CONFIG, model=dataclasses.replace(CONFIG.model, order=order))


VARIANTS = {f"k{k}": _ordered(sandwich_order(6, k)) for k in (0, 1, 3, 4, 5)} | {
    "balanced": _ordered(balanced_order(6, seed=0)),
    "matched": _ordered(matched_order(6, seed=0)),
}
