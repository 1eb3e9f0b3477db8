"""All rows of the Synthesizer's table 2 at equal steps on Python code: small, for any machine.

Command: python train.py configs/small_synthesizer.py --workdir runs/small_synthesizer
  That is random scores; configs/small_synthesizer.py:dense and so on (VARIANTS) are the other rows, in workdirs of their own.
  python -m efficient_attn compare runs/* then prints a table and draws the curves.
Hardware: 2 CPU cores, a minute each. Measured: docs/measurements.md.
"""

import dataclasses

from efficient_attn.data import StandardLibrary
from efficient_attn.experiment import Experiment
from efficient_attn.models import DecoderConfig, Synthesizer
from efficient_attn.nn.embedding import SinusoidalPositions
from efficient_attn.training import AdamW, Cosine, Schedule

CONFIG = Experiment(
    model=DecoderConfig(
        depth=3,
        width=128,
        heads=4,
        attention=Synthesizer(scores=("random",), length=256),
        attention_bias=False,
        positions=SinusoidalPositions(),
        initialization="unit",
    ),
    source=StandardLibrary(splits=(0.9, 0.05, 0.05)),
    context=256,
    batch_size=8,
    steps=800,
    schedule=Schedule(peak=2e-3, warmup_steps=20, decay=Cosine(final=0.05)),
    optimizer=AdamW(b2=0.98, weight_decay=0.05),
    log_every=25,
    eval_batch_size=64,
)


def _with(*scores: str, **fields: int) -> Experiment:
    attention = Synthesizer(scores=scores, length=CONFIG.context)
    return dataclasses.replace(CONFIG, model=dataclasses.replace(CONFIG.model, attention=attention, **fields))


VARIANTS = {
    "transformer": _with("dot_product"),
    # With as many parameters as random + vanilla.
    "control": _with("dot_product", ff_width=1536),
    "fixed_random": _with("fixed_random"),
    "factorized_random": _with("factorized_random"),
    "dense": _with("dense"),
    "factorized_dense": _with("factorized_dense"),
    "random_dense": _with("random", "dense"),
    "dense_vanilla": _with("dense", "dot_product"),
    "random_vanilla": _with("random", "dot_product"),
}
