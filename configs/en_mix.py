"""The tasks of GLUE and SuperGLUE learned together as text to text, by an encoder-decoder of T5's small size and its Synthesizers.

Rows: Tay et al. 2020, the tables of GLUE and SuperGLUE: averages of 83.5 and 70.3 (T5), 75.1 and 61.1 (R), 72.0 and 58.5 (D), 82.6
  and 69.7 (D+V), 84.1 and 72.2 (R+V), on the dev sets.
Before: the pre-training of configs/t5_small.py, and of its variants of the same names, whose pieces of words these are.
Command: python train.py configs/en_mix.py --workdir runs/en_mix --start runs/t5_small
  That has dot products; :random, :dense, :dense_vanilla and :random_vanilla are R, D, D+V and R+V, in the self-attentions of both
  stacks, never between them. Each in a workdir of its own, and begun by --start from the run of its name; without it, at random.
  One task alone: --source.tasks super_glue_cb. What the benchmarks take, a file for each task in FOLDER:
  python eval.py configs/en_mix.py --workdir runs/en_mix --split test --predictions FOLDER
Metric: those of the tables, as shares of 1: mcc of CoLA; f1 and accuracy of MRPC and QQP; macro_f1 and accuracy of CB; pearson
  and spearman of STS-B; both dev sets of MNLI; f1a and exact of MultiRC; f1 and exact of ReCoRD; accuracy of the others.
  glue_average and super_glue_average count a task of several figures as their mean, as the tables do.
Data: GLUE's archives in data/glue and SuperGLUE's in data/super_glue, unpacked, each in the folder of its name.
Recipe: T5's fine-tuning: 2^18 steps of 128 rows of 512 tokens at a constant 1e-3, Adafactor, dropout of 0.1, z_loss; every task in
  proportion to its examples, none above 2^19 (none is). The released code's mixture has C4's span corruption, SQuAD and another set
  of pronouns (DPR) too.
Hardware: not published. Measured here: not run; that twenty examples of every task are learned by heart is in docs/measurements.md.
"""

import dataclasses

from efficient_attn.data import SentencePieces
from efficient_attn.data.text_to_text import ReleasedBenchmarks, TextMixture
from efficient_attn.models import synthesized, t5
from efficient_attn.precision import Precision
from efficient_attn.text_to_text_experiment import TextToTextExperiment
from efficient_attn.training import Adafactor, Constant, Schedule

CONFIG = TextToTextExperiment(
    model=t5(bos_token=3, precision=Precision(compute="bfloat16")),
    source=TextMixture(
        benchmarks=ReleasedBenchmarks(glue="data/glue", super_glue="data/super_glue"),
        subwords=SentencePieces(file="data/t5_32000.model", unknown="token"),
    ),
    context=512,
    target_context=128,
    batch_size=128,
    z_loss=1e-4,
    steps=2**18,
    schedule=Schedule(peak=1e-3, decay=Constant()),
    optimizer=Adafactor(decay_cap=1.0, step_size="relative"),
    clip_norm=None,
    eval_batch_size=64,
)


def _with(*scores: str) -> TextToTextExperiment:
    return dataclasses.replace(CONFIG, model=synthesized(CONFIG.model, *scores))


VARIANTS = {
    "random": _with("random"),
    "dense": _with("dense"),
    "dense_vanilla": _with("dense", "dot_product"),
    "random_vanilla": _with("random", "dot_product"),
}
