"""All rows of the Synthesizer's table 2 at equal steps on Python code: small, for any machine.

Command: python train.py configs/small_synthesizer.py --workdir runs/small_synthesizer
  The other rows: as in configs/synthesizer_lm1b.py, each in a workdir of its own, the control with --model.ff-width 1536.
  python -m efficient_attn compare runs/* then prints a table and draws the curves.
Hardware: 2 CPU cores, a minute each. Measured: docs/measurements.md.
"""

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
