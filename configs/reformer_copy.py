"""A short form of the Reformer's copying task: 0 w 0 w with words of 63, learned with LSH attention alone.

Row: Kitaev et al. 2020, table 2, words of 511, trained with 4 rounds: 100, 99.9, 99.4 and 91.9 % with 8, 4, 2 and 1 evaluation
  rounds. One layer cannot compare tokens: it learns which position to look at, so positions have a table of their own each.
Command: python train.py configs/reformer_copy.py --workdir runs/reformer_copy
Evaluation: python eval.py configs/reformer_copy.py --workdir runs/reformer_copy --model.attention.evaluation-rounds 2
  and dense with --model.attention.chunk 128; other rows of the table are trained with --model.attention.rounds.
Hardware: any, minutes. Measured here: 100, 99.99, 98.1 and 89.6 % with 8, 4, 2 and 1 rounds, 100 % dense.
"""

from efficient_attn.data import Copying
from efficient_attn.experiment import Experiment
from efficient_attn.models import LSH, DecoderConfig
from efficient_attn.nn.embedding import AxialPositions
from efficient_attn.training import AdamW, Cosine, Schedule

CONFIG = Experiment(
    model=DecoderConfig(
        depth=1,
        width=128,
        heads=4,
        ff_width=128,
        vocab=128,
        attention=LSH(chunk=8, buckets=(32,), rounds=4),
        attention_bias=False,
        positions=AxialPositions(sizes=(128,), widths=(128,)),
        residual="reversible",
        activation="relu",
        logits="untied",
        initialization="unit",
    ),
    source=Copying(word=63),
    context=128,
    batch_size=32,
    steps=2_000,
    schedule=Schedule(peak=3e-3, warmup_steps=200, decay=Cosine()),
    optimizer=AdamW(weight_decay=0.0),
    eval_every=500,
)
