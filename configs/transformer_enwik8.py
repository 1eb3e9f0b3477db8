"""The dense Transformer that the Sparse Transformer is compared with on enwik8.

Row: Child et al. 2019, table 2: dense attention, 1.00 bits per byte at 1.31 s an iteration (fixed: 0.99 at 0.55 s).
Command: python train.py configs/transformer_enwik8.py --workdir runs/transformer_enwik8
Evaluation: python eval.py configs/transformer_enwik8.py --workdir runs/transformer_enwik8 --split test
Hardware: the paper used 8 V100. Measured here: not run.
"""

from efficient_attn.data import Enwik8
from efficient_attn.experiment import Experiment
from efficient_attn.models import DecoderConfig, Sparse
from efficient_attn.nn.embedding import TablePositions
from efficient_attn.precision import Precision
from efficient_attn.training import EMA, AdamW, Cosine, Schedule

CONFIG = Experiment(
    model=DecoderConfig(
        depth=30,
        width=512,
        heads=8,
        attention=Sparse(patterns=("Causal()",)),
        positions=TablePositions(sizes=(96, 128)),
        dropout=0.4,
        remat="block",
        precision=Precision(compute="bfloat16"),
    ),
    source=Enwik8(path="data/enwik8"),
    context=12_288,
    batch_size=32,
    # 80 epochs of 90 MB.
    steps=18_320,
    # The paper gives no rate for text; this is that of its larger released image model.
    schedule=Schedule(peak=2.5e-4, warmup_steps=5_000, decay=Cosine()),
    optimizer=AdamW(weight_decay=0.01),
    ema=EMA(decay=0.999),
    eval_scored=128,
)
