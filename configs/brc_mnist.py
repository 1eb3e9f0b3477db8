"""MNIST pixel by pixel, then 300 black pixels, then the class (the preprint's form): four layers of 100 units.

Row: Vecoven, Ernst and Drion 2021, benchmark 3: about 11 % (chance) by GRU and LSTM after 300 black pixels, 95 % and more by BRC
  and nBRC; 96 to 98 % by all without padding. The journal's forms have --source.reading permuted, or lines with
  --source.padding 72 or 472, and --source.centred --model.depth 2 --model.width 128.
Command: python train.py configs/brc_mnist.py --workdir runs/brc_mnist
  other cells with --model.cell brc, gru or lstm; where the digits are with --source.path
Evaluation: python eval.py configs/brc_mnist.py --workdir runs/brc_mnist --split test
Hardware: any, hours for the published steps on 2 cores. Measured here: not run in full; line by line, with --source.reading lines
  --source.padding 72 --model.depth 2 --model.width 50 --batch-size 50 --steps 6000 --schedule.peak 3e-3 --clip-norm 1, it takes
  minutes; see docs/measurements.md.
"""

from efficient_attn.data import PaddedDigits
from efficient_attn.models import RecurrentConfig
from efficient_attn.sequence_experiment import SequenceExperiment
from efficient_attn.training import AdamW, Constant, Schedule

CONFIG = SequenceExperiment(
    model=RecurrentConfig(cell="nbrc", depth=4, width=100),
    source=PaddedDigits(path="data/mnist", reading="pixels", padding=300),
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
