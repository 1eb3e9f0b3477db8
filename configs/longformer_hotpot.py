"""Longformer-base on questions about ten paragraphs, HotpotQA's distractor setting, in two stages, beside RoBERTa-base.

Rows: Beltagy et al. 2020, table of fine-tuned models, dev: 64.4 joint F1 (RoBERTa-base 63.5).
Command: python train.py configs/longformer_hotpot.py --workdir runs/longformer_hotpot
  That is the first stage, which reads all paragraphs. What it hands on of each split to the second:
  python eval.py configs/longformer_hotpot.py --workdir runs/longformer_hotpot --split train --predictions data/hotpot/train.json
  and so on for validation. :second (VARIANTS) reads the paragraphs that are handed on, in a workdir of its own. :roberta and
  :roberta_second are the other row, which hand on by files in data/hotpot_roberta.
Metric: joint_f1.
Data: data/hotpot with hotpot_train_v1.1.json and hotpot_dev_distractor_v1.json; checkpoints of transformers in
  checkpoints/longformer-base-4096 and checkpoints/roberta-base with the files of their tokenizers, to whose vocabulary five marks
  are added.
Recipe: Adam at 3e-5 (5e-5 in a table of the paper), 1,000 updates to warm up, then a linear decay, 32 questions, 5 epochs of
  90,447; question and marks are global; up to five paragraphs whose logit is above -3 are handed on; an answer's sentences are of
  exactly two paragraphs. The weights of the four losses are not published: one each. RoBERTa reads parts of 512 tokens, the
  question before each, whose activations are put side by side, as published; here they are of whole paragraphs, up to eight parts,
  and up to five of what is handed on, and the kind of the answer is by the mean over parts, of which the paper says nothing.
Hardware: not published. Measured here: not run.
"""

import dataclasses

from efficient_attn.data import HotpotQA
from efficient_attn.evidence_reading import Concluding
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
        vocab=50265 + 5,
        pad_token=PAD,
        positions=CountedPositions(rows=4096 + PAD + 1),
        token_types=1,
        attention=Longformer(windows=(256,), max_globals=256, sep_token=2),
        head="evidence",
        labels=("span", "yes", "no"),
        pooler=False,
        dropout=0.1,
        attention_dropout=0.1,
        norm_epsilon=1e-5,
        remat="block",
        precision=Precision(compute="bfloat16"),
    ),
    source=HotpotQA(path="data/hotpot"),
    tokenizer="checkpoints/longformer-base-4096",
    start="checkpoints/longformer-base-4096",
    context=4096,
    batch_size=32,
    steps=14_132,
    schedule=Schedule(peak=3e-5, warmup_steps=1000, decay=Linear()),
    optimizer=AdamW(weight_decay=0.0),
)

_ROBERTA = dataclasses.replace(
    CONFIG,
    model=dataclasses.replace(
        CONFIG.model, positions=CountedPositions(rows=512 + PAD + 1), attention=Sparse(patterns=("Full()",))
    ),
    tokenizer="checkpoints/roberta-base",
    start="checkpoints/roberta-base",
    concluding=Concluding(parts=8),
    context=512,
)
VARIANTS = {
    "second": dataclasses.replace(CONFIG, source=HotpotQA(path="data/hotpot", kept="data/hotpot")),
    "roberta": _ROBERTA,
    "roberta_second": dataclasses.replace(
        _ROBERTA,
        source=HotpotQA(path="data/hotpot", kept="data/hotpot_roberta"),
        concluding=Concluding(parts=5),
    ),
}
