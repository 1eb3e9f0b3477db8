"""A small Longformer that tells the class of long documents, beside the same model that reads their first 512 tokens.

Command: python train.py configs/small_long_documents.py --workdir runs/small_long_documents
  :first_512 reads no more than 512 tokens. Other seeds: --seed 1.
Data: data/long_documents/train.jsonl, validation.jsonl and test.jsonl, a {"text": ..., "label": ...} on each line, and a tokenizer
  of 4,096 tokens in data/long_documents/tokenizer.json; docs/data.md says how to make one. Other labels: --model.labels.
Model: two layers of Longformer over word pieces, windows of 32 on each side, the first token global; random initial parameters.
Hardware: 2 CPU cores, 6 to 11 minutes beside other processes. Measured on mails, spam or not, from which the default labels are, in
  docs/measurements.md: 90.5 % of the test split right over three seeds, 90.2 % by the first 512 tokens; majority 51.5 %.
"""

import dataclasses

from efficient_attn.data import LabelledLines
from efficient_attn.fine_tuning_experiment import FineTuningExperiment
from efficient_attn.models import EncoderConfig, Longformer
from efficient_attn.nn.text_embedding import CountedPositions
from efficient_attn.training import AdamW, Linear, Schedule

PAD = 1

CONFIG = FineTuningExperiment(
    model=EncoderConfig(
        depth=2,
        width=64,
        heads=4,
        ff_width=256,
        vocab=4096,
        pad_token=PAD,
        positions=CountedPositions(rows=2048 + PAD + 1),
        token_types=1,
        attention=Longformer(windows=(32,), max_globals=1, sep_token=2),
        head="classification",
        labels=("ham", "spam"),
        pooler=False,
        dropout=0.1,
        head_dropout=0.1,
    ),
    source=LabelledLines(path="data/long_documents"),
    tokenizer="data/long_documents",
    context=2048,
    batch_size=8,
    steps=200,
    schedule=Schedule(peak=1e-3, warmup_steps=20, decay=Linear()),
    optimizer=AdamW(b2=0.98, weight_decay=0.01),
    log_every=10,
    eval_batch_size=16,
)

VARIANTS = {"first_512": dataclasses.replace(CONFIG, context=512)}
