"""Longformer-base on mentions of the same things in whole documents, OntoNotes, beside RoBERTa-base in parts of 384 tokens.

Rows: Beltagy et al. 2020, table of fine-tuned models, dev: 78.6 mean F1 (RoBERTa-base 78.4).
Command: python train.py configs/longformer_ontonotes.py --workdir runs/longformer_ontonotes
  :roberta (VARIANTS) is the other row. eval.py with --predictions FILE writes what the official scorer reads.
Metric: conll_f1, the mean of MUC's, B-cubed's and CEAF's of entities.
Data: data/ontonotes with train.english.v4_gold_conll, dev.english.v4_gold_conll and test.english.v4_gold_conll of CoNLL-2012;
  checkpoints of transformers in checkpoints/longformer-base-4096 and checkpoints/roberta-base, with the files of their tokenizers.
Recipe: as Joshi et al. 2019 and their released code: 2,802 documents, one in each update, for 20 epochs; a tenth of the updates to
  warm up, then a linear decay; Adam with a weight decay of 0.01; spans of up to 30 tokens, 0.4 of them kept for each token, 50
  antecedents, hidden layers of 3,000, spans blended once (depth 2). The encoder at 1e-5 and the head at 1e-4, which is said of the
  Longformer; RoBERTa's rates are not published, and taken to be these. No token is global. RoBERTa learns three parts of a document
  together, as released for as long ones, all blocks of a document in turn where the released code draws one; it is scored on all
  parts, of which a document has up to twelve. The released code clips the gradients of encoder and head each by itself, and decays
  the weights of the encoder alone.
Hardware: one GPU, about 10 hours. Measured here: not run.
"""

import dataclasses

from efficient_attn.coreference_reading import Resolving
from efficient_attn.data import OntoNotes
from efficient_attn.fine_tuning_experiment import FineTuningExperiment
from efficient_attn.models import EncoderConfig, Linking, Longformer, Sparse
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
        vocab=50265,
        pad_token=PAD,
        positions=CountedPositions(rows=4096 + PAD + 1),
        token_types=1,
        attention=Longformer(windows=(256,), max_globals=0, sep_token=2),
        head="coreference",
        linking=Linking(depth=2),
        pooler=False,
        dropout=0.1,
        attention_dropout=0.1,
        norm_epsilon=1e-5,
        remat="block",
        precision=Precision(compute="bfloat16"),
    ),
    source=OntoNotes(path="data/ontonotes"),
    tokenizer="checkpoints/longformer-base-4096",
    start="checkpoints/longformer-base-4096",
    context=4096,
    batch_size=1,
    steps=56_040,
    schedule=Schedule(peak=1e-5, warmup_steps=5604, decay=Linear()),
    head_rate=10.0,
    optimizer=AdamW(weight_decay=0.01, eps=1e-6),
    eval_every=1000,
)

_ROBERTA = dataclasses.replace(
    CONFIG.model,
    positions=CountedPositions(rows=512 + PAD + 1),
    attention=Sparse(patterns=("Full()",)),
    linking=Linking(depth=2, parts=3),
)
VARIANTS = {
    "roberta": dataclasses.replace(
        CONFIG,
        model=_ROBERTA,
        tokenizer="checkpoints/roberta-base",
        start="checkpoints/roberta-base",
        resolving=Resolving(parts=12, learned=3),
        context=384,
    ),
}
