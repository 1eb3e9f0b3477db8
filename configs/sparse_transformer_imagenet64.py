"""The Sparse Transformer on ImageNet 64x64, as bytes of pixels: strided attention with a stride of 128.

Row: Child et al. 2019, table 1: ImageNet 64x64, 152M parameters, 3.44 bits per byte of a pixel (3.437).
Command: python train.py configs/sparse_transformer_imagenet64.py --workdir runs/sparse_transformer_imagenet64
Evaluation: python eval.py configs/sparse_transformer_imagenet64.py --workdir runs/sparse_transformer_imagenet64 --split validation
Hardware: the paper used 64 V100 for 7 days. Measured here: not run.
"""

from efficient_attn.data import TFDSImages
from efficient_attn.experiment import Experiment
from efficient_attn.models import DecoderConfig, Sparse
from efficient_attn.nn.embedding import TablePositions
from efficient_attn.precision import Precision
from efficient_attn.training import EMA, AdamW, Cosine, Schedule

CONFIG = Experiment(
    model=DecoderConfig(
        depth=48,
        width=512,
        heads=16,
        attention=Sparse(
            patterns=(
                "Causal() & Window(left=127)",
                "Causal() & Strided(128)",
                "Causal() & Window(left=127)",
                "Causal() & Window(left=127)",
            )
        ),
        positions=TablePositions(sizes=(64, 64, 3)),
        dropout=0.01,
        remat="block",
        precision=Precision(compute="bfloat16"),
    ),
    source=TFDSImages(name="imagenet_resized/64x64", data_dir="data/tfds"),
    context=12_288,
    batch_size=64,
    # 70 epochs of 1.28 million images.
    steps=1_401_000,
    schedule=Schedule(peak=1.5e-4, warmup_steps=5_000, decay=Cosine()),
    optimizer=AdamW(weight_decay=0.001),
    ema=EMA(decay=0.999),
)
