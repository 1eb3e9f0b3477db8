"""MPNet-base on SQuAD, versions 1.1 and 2.0.

Rows: Song et al. 2020: about 86.9 exact and 92.7 F1 on the dev set of version 1.1, 82.7 and 85.7 on that of 2.0, there with the
  threshold that suits it best.
Command: python train.py configs/mpnet_squad.py --workdir runs/mpnet_squad
  :version2 is version 2.0.
Metric: exact and f1; of version 2.0 best_exact and best_f1.
Data: train-v1.1.json, dev-v1.1.json, train-v2.0.json and dev-v2.0.json in data/squad; a checkpoint of transformers in
  checkpoints/mpnet-base, with the files of its tokenizer.
Recipe: rate 2e-5, 48 windows, 4 epochs over the questions, weight decay 0.01, as released; 6 % of the updates to warm up as on
  GLUE, which is a guess.
Hardware: not published. Measured here: not run.
"""

import dataclasses

from efficient_attn.data import SQuAD
from efficient_attn.fine_tuning_experiment import FineTuningExperiment
from efficient_attn.models import EncoderConfig, Sparse
from efficient_attn.models.encoder import RelativeBuckets
from efficient_attn.nn.text_embedding import CountedPositions
from efficient_attn.precision import Precision
from efficient_attn.training import AdamW, Linear, Schedule

CONFIG = FineTuningExperiment(
    model=EncoderConfig(
        depth=12,
        width=768,
        heads=12,
        ff_width=3072,
        vocab=30527,
        pad_token=1,
        positions=CountedPositions(rows=514),
        relative=RelativeBuckets(),
        attention=Sparse(patterns=("Full()",)),
        head="question_answering",
        pooler=False,
        dropout=0.1,
        attention_dropout=0.1,
        norm_epsilon=1e-5,
        precision=Precision(compute="bfloat16"),
    ),
    source=SQuAD(path="data/squad"),
    tokenizer="checkpoints/mpnet-base",
    start="checkpoints/mpnet-base",
    context=512,
    batch_size=48,
    steps=7300,
    schedule=Schedule(peak=2e-5, warmup_steps=438, decay=Linear()),
    optimizer=AdamW(b2=0.98, eps=1e-6, weight_decay=0.01),
    clip_norm=None,
)

VARIANTS = {
    "version2": dataclasses.replace(
        CONFIG,
        source=SQuAD(path="data/squad", files=("train-v2.0.json", "dev-v2.0.json", "test-v2.0.json")),
        steps=10_860,
        schedule=Schedule(peak=2e-5, warmup_steps=652, decay=Linear()),
    )
}
