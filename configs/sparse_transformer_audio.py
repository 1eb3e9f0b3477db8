"""The Sparse Transformer on raw audio: 65,536 steps of 12 kHz, 8-bit mu-law.

Row: Child et al. 2019, table 4: classical music, 152M parameters, 1.97 bits per byte at 65,536 steps.
Command: python train.py configs/sparse_transformer_audio.py --workdir runs/sparse_transformer_audio
Evaluation: python eval.py configs/sparse_transformer_audio.py --workdir runs/sparse_transformer_audio --split test
Hardware: the paper used V100. Measured here: not run.
The paper gives neither depth, width nor stride: 48 layers of width 512 are the 152M it names, the stride is sqrt(65,536).
"""

from efficient_attn.data import AudioFiles
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
        attention=Sparse(patterns=("Causal() & Window(left=255)", "Causal() & Strided(256)")),
        positions=TablePositions(sizes=(256, 256)),
        remat="block",
        precision=Precision(compute="bfloat16"),
    ),
    source=AudioFiles(path="data/audio"),
    context=65_536,
    batch_size=8,
    steps=100_000,
    schedule=Schedule(peak=1.5e-4, warmup_steps=5_000, decay=Cosine()),
    optimizer=AdamW(weight_decay=0.01),
    ema=EMA(decay=0.999),
)
