"""Mixtures of experts in every other layer against the dense model that costs a token the same, small, on any machine.

Command: python train.py configs/quickstart_moe.py --workdir runs/quickstart_moe
  That has 4 experts, top-2; :experts16 has 16, :dropless 16 that take all tokens that ask for them, :experts1 one, :switch4 and
  :switch16 route to one expert of 4 and 16, :dense has none; each in a workdir of its own.
Equal work: an expert of two choices has half the hidden layer of the dense network, and experts take as many tokens in all as
  there are choices, so that their products are those of the dense network to the last operation, whatever is dropped. One expert,
  and each of Switch's, is as wide as the dense network and takes its even share of tokens.
The published models (600B parameters, 2,048 experts, 100 languages) are configs/gshard_600e9.py and its like.
Data: the excerpt of Wikipedia that the gensim package ships (pip install gensim); 800 steps read 1.6M of its 5.5M bytes.
Hardware: 2 CPU cores, minutes each. Measured: 3.31 bits per byte (dense), 3.27 (1 expert), 3.10 (4), 3.03 (16),
  3.05 (dropless); docs/measurements.md. Switch's: not run.
"""

import dataclasses
from typing import Literal

from efficient_attn.data import WikipediaExcerpt
from efficient_attn.experiment import Experiment
from efficient_attn.models import DecoderConfig, Experts, Sparse
from efficient_attn.training import AdamW, Cosine, Schedule

_DENSE = Experiment(
    model=DecoderConfig(
        depth=2,
        width=128,
        heads=2,
        attention=Sparse(patterns=("Causal() & Window(left=127)",)),
        initialization="unit",
    ),
    source=WikipediaExcerpt(),
    context=512,
    batch_size=4,
    steps=800,
    schedule=Schedule(peak=2e-3, warmup_steps=20, decay=Cosine(final=0.05)),
    optimizer=AdamW(b2=0.98, weight_decay=0.05),
    log_every=50,
    eval_batch_size=16,
)


def _with(experts: Experts) -> Experiment:
    return dataclasses.replace(_DENSE, model=dataclasses.replace(_DENSE.model, experts=experts))


def _top2(number: int, capacity: Literal["paper", "dropless"] = "paper") -> Experiment:
    return _with(Experts(number=number, hidden=256, group=512, capacity=capacity))


def _switch(number: int) -> Experiment:
    return _with(Experts(number=number, router="switch", capacity_factor=1.0, group=512))


CONFIG = _top2(4)
VARIANTS = {
    "dense": _DENSE,
    "experts1": _switch(1),
    "experts16": _top2(16),
    "dropless": _top2(16, "dropless"),
    "switch4": _switch(4),
    "switch16": _switch(16),
}
