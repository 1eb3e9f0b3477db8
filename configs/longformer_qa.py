"""Longformer-base on questions about long documents, TriviaQA, beside RoBERTa-base in windows of 512 tokens.

Rows: Beltagy et al. 2020, table of fine-tuned models, dev: TriviaQA 75.2 F1 (RoBERTa-base 74.3).
Command: python train.py configs/longformer_qa.py --workdir runs/longformer_qa
  :roberta is the other row, and :squad the same Longformer on SQuAD 1.1, for which the paper has no row.
Metric: f1.
Data: data/triviaqa with wikipedia-train.json and wikipedia-dev.json, made by TriviaQA's own converter to SQuAD's format, the right
  answers and their aliases as answers; data/squad with train-v1.1.json and dev-v1.1.json; checkpoints of transformers in
  checkpoints/longformer-base-4096 and checkpoints/roberta-base, with the files of their tokenizers.
Recipe: Adam at 3e-5, 1,000 updates to warm up, then a linear decay, 32 documents, 5 epochs over 110,648 of them, of each the first
  4,096 tokens beside a question of at most 55, which is global; the loss over all places of an answer, up to 64; of the 20 best
  beginnings and ends, spans of up to 30 tokens. The published model has one separator between question and document, here there
  are two. RoBERTa reads all windows of a document, each 128 tokens into the one before; how the paper cuts them is not published.
Hardware: not published. Measured here: not run.
"""

import dataclasses

from efficient_attn.answer_reading import Answering
from efficient_attn.data import SQuAD
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
        vocab=50265,
        pad_token=PAD,
        positions=CountedPositions(rows=4096 + PAD + 1),
        token_types=1,
        attention=Longformer(windows=(256,), max_globals=64, sep_token=2),
        head="question_answering",
        pooler=False,
        dropout=0.1,
        attention_dropout=0.1,
        norm_epsilon=1e-5,
        remat="block",
        precision=Precision(compute="bfloat16"),
    ),
    source=SQuAD(
        path="data/triviaqa",
        files=("wikipedia-train.json", "wikipedia-dev.json", "wikipedia-test.json"),
        mentions="all",
    ),
    tokenizer="checkpoints/longformer-base-4096",
    start="checkpoints/longformer-base-4096",
    answering=Answering(question=55, windows=1, learned="any"),
    context=4096,
    batch_size=32,
    steps=17_289,
    schedule=Schedule(peak=3e-5, warmup_steps=1000, decay=Linear()),
    optimizer=AdamW(weight_decay=0.0),
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
        answering=dataclasses.replace(CONFIG.answering, windows=None),
        context=512,
    ),
    "squad": dataclasses.replace(
        CONFIG, source=SQuAD(path="data/squad"), answering=Answering(), context=1024, steps=13_687
    ),
}
