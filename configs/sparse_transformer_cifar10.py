"""The Sparse Transformer on CIFAR-10, as bytes of pixels: strided attention, one strided layer to three local ones.

Row: Child et al. 2019, table 1: CIFAR-10, 59M parameters, 2.80 bits per byte of a pixel (2.798 +- 0.004).
Command: python train.py configs/sparse_transformer_cifar10.py --workdir runs/sparse_transformer_cifar10
Evaluation: python eval.py configs/sparse_transformer_cifar10.py --workdir runs/sparse_transformer_cifar10 --split test
Hardware: the paper used 8 V100. Measured here: not run.
The stride is one row of pixels (96 bytes) and the cycle bT, b, b, b, both from the released code; the paper gives neither.
"""

from efficient_attn.data import TFDSImages
from efficient_attn.experiment import Experiment
from efficient_attn.models import DecoderConfig, Sparse
from efficient_attn.nn.embedding import TablePositions
from efficient_attn.precision import Precision
from efficient_attn.training import EMA, AdamW, Cosine, Schedule

CONFIG = Experiment(
    model=DecoderConfig(
        depth=128,
        width=256,
        heads=2,
        qk_width=128,
        ff_width=512,
        attention=Sparse(patterns=("Causal() & Strided(96)", *("Causal() & Window(left=95)",) * 3)),
        positions=TablePositions(sizes=(32, 32, 3)),
        dropout=0.25,
        remat="block",
        precision=Precision(compute="bfloat16"),
    ),
    source=TFDSImages(name="cifar10", data_dir="data/tfds", split_names=("train[:48000]", "train[48000:]", "test")),
    context=3_072,
    batch_size=16,
    # 120 epochs of 48,000 images.
    steps=360_000,
    schedule=Schedule(peak=3.5e-4, warmup_steps=15_000, decay=Cosine()),
    optimizer=AdamW(weight_decay=0.01),
    ema=EMA(decay=0.999),
)
