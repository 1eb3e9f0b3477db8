"""Longformer-base on questions that several texts answer together, WikiHop, beside RoBERTa-base in parts of 512 tokens.

Rows: Beltagy et al. 2020, table of fine-tuned models, dev: WikiHop 75.0 % (RoBERTa-base 72.4).
Command: python train.py configs/longformer_wikihop.py --workdir runs/longformer_wikihop
  :roberta (VARIANTS) is the other row.
Metric: accuracy.
Data: data/wikihop with train.json and dev.json of the released archive; checkpoints of transformers in
  checkpoints/longformer-base-4096 and checkpoints/roberta-base, with the files of their tokenizers, to whose vocabulary four
  marks of a question and a candidate are added.
Recipe: Adam at 3e-5, 200 updates to warm up, then a linear decay, 32 questions, 15 epochs of 43,738; question and candidates before
  each part of the texts, and global; the mean over parts of a linear score at each candidate's first mark. Evaluation every 250
  steps, the best kept. Texts are read in up to two parts, and in twelve by RoBERTa, whose questions with very many candidates
  leave no room for a text: the paper does not say what was done with them.
Hardware: not published. Measured here: not run.
"""

import dataclasses

from efficient_attn.candidate_reading import Choosing
from efficient_attn.data import WikiHop
from efficient_attn.fine_tuning_experiment import FineTuningExperiment
from efficient_attn.models import EncoderConfig, Longformer, Sparse
from efficient_attn.nn.text_embedding import CountedPositions
from efficient_attn.precision import Precision
from efficient_attn.training import AdamW, Linear, Schedule

PAD = 1

CONFIG = FineTuningExperiment(
    model=EncoderConfig(
        depth=12,
        width=768,
        heads=12,
        ff_width=3072,
        vocab=50265 + 4,
        pad_token=PAD,
        positions=CountedPositions(rows=4096 + PAD + 1),
        token_types=1,
        attention=Longformer(windows=(256,), max_globals=1024, sep_token=2),
        head="token_classification",
        labels=("score",),
        pooler=False,
        dropout=0.1,
        attention_dropout=0.1,
        norm_epsilon=1e-5,
        remat="block",
        precision=Precision(compute="bfloat16"),
    ),
    source=WikiHop(path="data/wikihop"),
    tokenizer="checkpoints/longformer-base-4096",
    start="checkpoints/longformer-base-4096",
    choosing=Choosing(parts=2),
    context=4096,
    batch_size=32,
    steps=20_502,
    schedule=Schedule(peak=3e-5, warmup_steps=200, decay=Linear()),
    optimizer=AdamW(weight_decay=0.0),
    eval_every=250,
)

_ROBERTA = dataclasses.replace(
    CONFIG.model, positions=CountedPositions(rows=512 + PAD + 1), attention=Sparse(patterns=("Full()",))
)
VARIANTS = {
    "roberta": dataclasses.replace(
        CONFIG,
        model=_ROBERTA,
        tokenizer="checkpoints/roberta-base",
        start="checkpoints/roberta-base",
        choosing=Choosing(parts=12),
        context=512,
    ),
}
