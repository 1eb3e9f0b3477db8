"""A small Sparse Transformer on recordings of speech: 4,096 samples at 8 kHz, 8-bit mu-law, strided attention.

Row: none; Child et al. 2019, table 4, has classical music at 12 kHz.
Data: data/speech, a folder of WAV files; measured on the 568 English prompts of Asterisk, 25 minutes of one speaker.
Command: python train.py configs/small_audio.py --workdir runs/small_audio
Evaluation: python eval.py configs/small_audio.py --workdir runs/small_audio --split test
  python -m efficient_attn sample --config configs/small_audio.py --workdir runs/small_audio --rate 8000 --out sound.wav
  --picture sound.png
Hardware: 2 CPU cores. Measured: docs/measurements.md.
"""

from efficient_attn.data import AudioFiles
from efficient_attn.experiment import Experiment
from efficient_attn.models import DecoderConfig, Sparse
from efficient_attn.nn.embedding import TablePositions
from efficient_attn.training import AdamW, Cosine, Schedule

CONFIG = Experiment(
    model=DecoderConfig(
        depth=4,
        width=64,
        heads=2,
        attention=Sparse(patterns=("Causal() & Window(left=63)", "Causal() & Strided(64)")),
        positions=TablePositions(sizes=(64, 64)),
        initialization="unit",
    ),
    source=AudioFiles(path="data/speech"),
    context=4_096,
    batch_size=2,
    steps=600,
    schedule=Schedule(peak=2e-3, warmup_steps=30, decay=Cosine(final=0.05)),
    optimizer=AdamW(b2=0.98, weight_decay=0.01),
    eval_batch_size=8,
    log_every=50,
)
