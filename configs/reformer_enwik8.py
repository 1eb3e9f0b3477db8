"""Reformer on enwik8 at 65,536 bytes: local, local, LSH, local, three times; two reversible streams.

Row: Kitaev et al. 2020, section 5: enwik8, 12 layers, 1.19 bits per byte after 20,000 steps, 1.05 tuned and trained for longer.
  Sizes, rounds and rate are those of the released configuration of 12 layers; the text's own are not all given.
Command: python train.py configs/reformer_enwik8.py --workdir runs/reformer_enwik8
Evaluation: python eval.py configs/reformer_enwik8.py --workdir runs/reformer_enwik8 --split test
Hardware: the paper used 8 devices, a text each. Measured here: not run.
"""

from efficient_attn.data import Enwik8
from efficient_attn.experiment import Experiment
from efficient_attn.models import LSH, DecoderConfig
from efficient_attn.nn.embedding import AxialPositions
from efficient_attn.precision import Precision
from efficient_attn.training import AdamW, InverseSquareRoot, Schedule

_LOCAL = "Causal() & NearChunks(128)"

CONFIG = Experiment(
    model=DecoderConfig(
        depth=12,
        width=768,
        heads=8,
        qk_width=512,
        value_width=512,
        ff_width=2048,
        attention=LSH(chunk=256, buckets=(512,), rounds=2, layers=(_LOCAL, _LOCAL, "lsh", _LOCAL)),
        attention_bias=False,
        positions=AxialPositions(sizes=(128, 512), widths=(256, 512)),
        residual="reversible",
        activation="relu",
        logits="untied",
        initialization="unit",
        dropout=0.2,
        ff_stretch=8192,
        logits_stretch=8192,
        precision=Precision(compute="bfloat16"),
    ),
    source=Enwik8(path="data/enwik8"),
    context=65_536,
    batch_size=8,
    steps=100_000,
    # The released schedule: 0.03125 / sqrt(max(step, 2,000)).
    schedule=Schedule(peak=0.03125 / 2_000**0.5, warmup_steps=2_000, decay=InverseSquareRoot()),
    optimizer=AdamW(b2=0.98, eps=1e-9),
)
