"""A mixture of experts in every other layer against the dense model that costs a token the same, small, on any machine.

Command: python train.py configs/quickstart_moe.py --workdir runs/quickstart_moe
  That has 4 experts; configs/quickstart_moe.py:experts16 has 16 and :dense none, in workdirs of their own.
An expert's hidden layer is half as wide as the dense one, so that two experts cost a token what the dense network does.
The published models (600B parameters, 2,048 experts, 100 languages) need an encoder-decoder and data that is not public.
Data: the excerpt of Wikipedia that the gensim package ships (pip install gensim).
Hardware: 2 CPU cores, minutes each. Not measured yet.
"""

import dataclasses

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


def _with(experts: int) -> Experiment:
    mixture = Experts(number=experts, hidden=256, group=512)
    return dataclasses.replace(_DENSE, model=dataclasses.replace(_DENSE.model, experts=mixture))


CONFIG = _with(4)
VARIANTS = {"dense": _DENSE, "experts16": _with(16)}
