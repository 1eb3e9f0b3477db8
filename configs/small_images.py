"""Dense, strided and fixed attention at equal steps on bytes of photographs: the comparison of the Sparse Transformer, small.

Row: none; Child et al. 2019, table 2, compares them on enwik8 and CIFAR-10.
Data: data/photographs, a folder of PNG or JPEG files, or of folders train, validation and test; measured on tiles of 32 x 32 pixels
  of 27 wallpapers, 1,280 pixels long: 6,255 of 21 of them, 90 of three others, 90 of the last three.
Command: python train.py configs/small_images.py --workdir runs/small_images
  That is dense attention; configs/small_images.py:strided and :fixed are the others, in workdirs of their own.
Hardware: 2 CPU cores, minutes each. Measured: docs/measurements.md.
"""

import dataclasses

from efficient_attn.data import ImageFolder
from efficient_attn.experiment import Experiment
from efficient_attn.models import DecoderConfig, Sparse
from efficient_attn.nn.embedding import TablePositions
from efficient_attn.training import AdamW, Cosine, Schedule

CONFIG = Experiment(
    model=DecoderConfig(
        depth=4,
        width=64,
        heads=2,
        attention=Sparse(patterns=("Causal()",)),
        positions=TablePositions(sizes=(32, 32, 3)),
        initialization="unit",
    ),
    source=ImageFolder(path="data/photographs", size=32),
    context=3_072,
    batch_size=2,
    steps=1200,
    schedule=Schedule(peak=2e-3, warmup_steps=30, decay=Cosine(final=0.05)),
    optimizer=AdamW(b2=0.98, weight_decay=0.01),
    log_every=50,
    eval_batch_size=4,
)


def _with(*patterns: str) -> Experiment:
    model = dataclasses.replace(CONFIG.model, attention=Sparse(patterns=patterns))
    return dataclasses.replace(CONFIG, model=model)


# A row of pixels is 96 bytes.
VARIANTS = {
    "strided": _with("Causal() & Window(left=95)", "Causal() & Strided(96)"),
    "fixed": _with("Causal() & Chunk(96)", "Causal() & Fixed(stride=96, summary=12)"),
}
