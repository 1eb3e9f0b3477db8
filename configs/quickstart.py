"""A small Sparse Transformer on the interpreter's own standard library: minutes on a laptop, nothing to download.

Command: python train.py configs/quickstart.py --workdir runs/quickstart
Attention: every layer sees a causal window of 128 bytes in a context of 2,048: under a tenth of the causal area.
"""

from efficient_attn.data import StandardLibrary
from efficient_attn.experiment import Experiment
from efficient_attn.models import DecoderConfig, Sparse
from efficient_attn.training import AdamW, Cosine, Schedule

CONFIG = Experiment(
    model=DecoderConfig(depth=3, width=128, heads=4, attention=Sparse(patterns=("Causal() & Window(left=127)",))),
    source=StandardLibrary(),
    context=2048,
    batch_size=4,
    steps=900,
    schedule=Schedule(peak=4e-3, warmup_steps=60, decay=Cosine(final=0.05)),
    optimizer=AdamW(b2=0.98, weight_decay=0.05),
    checkpoint_every=300,
    eval_batch_size=8,
)
