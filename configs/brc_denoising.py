"""Five marked numbers among 400, none of them in the last 200 steps (the preprint's form): four layers of 100 units.

Row: Vecoven, Ernst and Drion 2021, benchmark 2: about 1 (chance) by GRU and LSTM with 200 steps of silence, 1e-3 to 1e-2 by BRC and
  nBRC, mean squared error. The journal's form has --source.reading in_turn --model.depth 2 --model.width 128.
Command: python train.py configs/brc_denoising.py --workdir runs/brc_denoising
  other cells with --model.cell brc, gru or lstm; without silence with --source.silence 0
Evaluation: python eval.py configs/brc_denoising.py --workdir runs/brc_denoising --split test
Hardware: any, hours for the published steps on 2 cores. Measured here: not run in full; configs/brc_denoising.py:small_nbrc,
  :small_brc, :small_gru and :small_lstm (VARIANTS) have two layers of 50 units and take minutes; see docs/measurements.md.
"""

import dataclasses

from efficient_attn.data import Denoising
from efficient_attn.models import RecurrentConfig
from efficient_attn.sequence_experiment import SequenceExperiment
from efficient_attn.training import AdamW, Constant, Schedule

CONFIG = SequenceExperiment(
    model=RecurrentConfig(cell="nbrc", depth=4, width=100),
    source=Denoising(length=400, silence=200, records=45_000, held_out=5_000),
    batch_size=100,
    steps=40_000,
    schedule=Schedule(peak=1e-3, decay=Constant()),
    optimizer=AdamW(weight_decay=0.0),
    clip_norm=None,
    on_nonfinite="skip",
    eval_batch_size=500,
    log_every=100,
    eval_every=1_000,
)

_SMALL = dataclasses.replace(
    CONFIG,
    batch_size=50,
    steps=3_500,
    schedule=Schedule(peak=3e-3, decay=Constant()),
    clip_norm=1.0,
    log_every=50,
    eval_every=500,
)
VARIANTS = {
    f"small_{cell}": dataclasses.replace(_SMALL, model=RecurrentConfig(cell=cell, depth=2, width=50))
    for cell in ("brc", "nbrc", "gru", "lstm")
}
