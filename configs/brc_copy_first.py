"""Copying the first of 300 numbers (the preprint's form): two layers of 100 units read all, and predict from the last state.

Row: Vecoven, Ernst and Drion 2021, benchmark 1, lengths 5, 300 and 600: about 1 (chance) by GRU and LSTM from length 300 on, 1e-3
  to 1e-2 by BRC and nBRC, mean squared error. The journal's form has --model.width 128, lengths 5 and 600 and
  --source.records 40000.
Command: python train.py configs/brc_copy_first.py --workdir runs/brc_copy_first
  other cells with --model.cell brc, gru or lstm; other lengths with --source.length
Evaluation: python eval.py configs/brc_copy_first.py --workdir runs/brc_copy_first --split test
Hardware: any, hours for the published 30,000 steps on 2 cores. Measured here: not run in full.
"""

from efficient_attn.data import CopyFirst
from efficient_attn.models import RecurrentConfig
from efficient_attn.sequence_experiment import SequenceExperiment
from efficient_attn.training import AdamW, Constant, Schedule

CONFIG = SequenceExperiment(
    model=RecurrentConfig(cell="nbrc", depth=2, width=100),
    source=CopyFirst(length=300, records=45_000, held_out=50_000),
    batch_size=100,
    steps=30_000,
    schedule=Schedule(peak=1e-3, decay=Constant()),
    optimizer=AdamW(weight_decay=0.0),
    clip_norm=None,
    on_nonfinite="skip",
    eval_batch_size=500,
    log_every=100,
    eval_every=1_000,
)
