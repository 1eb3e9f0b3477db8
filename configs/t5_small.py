"""T5 small and its Synthesizers: what they learn from C4 before the tasks of GLUE and SuperGLUE.

Rows: Tay et al. 2020, the T5 tables: GLUE 83.5 (T5), 75.1 (R), 72.0 (D), 82.6 (D+V), 84.1 (R+V); SuperGLUE 70.3, 61.1, 58.5,
  69.7, 72.2, after this pre-training and a mixture of the tasks.
Before: `python -m efficient_attn tokenizer configs/t5_small.py`, which learns 32,000 pieces of words.
Command: python train.py configs/t5_small.py --workdir runs/t5_small
  VARIANTS are :random, :dense, :dense_vanilla and :random_vanilla: both self-attentions are synthesized, cross-attention never, and
  the bias of offsets is added to the scores, as in released code. Each in a workdir of its own.
Data: C4 that TFDS prepared, docs/data.md. A split is held in memory, and taken apart into pieces when a run starts: this is a
  hundredth of C4, which the 2^35 tokens read some twenty times; the paper has read a fifth of it once.
Recipe: 2^19 steps of 128 windows of 568 tokens, 15 % of them hidden in spans of 3 on average; Adafactor with steps relative to the
  parameters, 0.01 for 10,000 steps and then falling as the root of the step; dropout 0.1; z_loss as in released code.
Parameters: 60,506,624 (60.5 M), and 77.0 M in version 1.1, which is not here.
Where we differ: pieces of our own, which know a beginning; Synthesizers without dot products project their values alone, where
  released code projects values once and calls them keys too.
Metric: nats per token of a target, sentinels and ends among them; beside them the nats of a code that knows their shares.
Hardware: a slice of a TPU pod in the paper. Measured here: not run, but compiled for v5e:2x4 by `plan`, 2.8 GiB of
  a chip's 15.75; configs/small_t5.py is for any machine.
"""

import dataclasses

from efficient_attn.data import SentencePieces, SubwordText, TFDSText
from efficient_attn.models import synthesized, t5
from efficient_attn.precision import Precision
from efficient_attn.span_corruption_experiment import SpanCorruptionExperiment
from efficient_attn.training import Adafactor, InverseSquareRoot, Schedule

CONFIG = SpanCorruptionExperiment(
    model=t5(bos_token=3, precision=Precision(compute="bfloat16")),
    source=SubwordText(
        text=TFDSText(
            name="c4/en",
            data_dir="data/tfds",
            split_names=("train[:1%]", "validation[:5%]", "validation[5%:10%]"),
        ),
        subwords=SentencePieces(file="data/t5_32000.model", unknown="token"),
    ),
    batch_size=128,
    z_loss=1e-4,
    steps=2**19,
    schedule=Schedule(peak=0.01, decay=InverseSquareRoot(flat=10_000)),
    optimizer=Adafactor(decay_cap=1.0, step_size="relative"),
    clip_norm=None,
    checkpoint_every=5000,
)


def _with(*scores: str) -> SpanCorruptionExperiment:
    return dataclasses.replace(CONFIG, model=synthesized(CONFIG.model, *scores))


VARIANTS = {
    "random": _with("random"),
    "dense": _with("dense"),
    "dense_vanilla": _with("dense", "dot_product"),
    "random_vanilla": _with("random", "dot_product"),
}
