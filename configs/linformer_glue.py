"""Linformers fine-tuned on SST-2, IMDB, QNLI and QQP, each after its masked language modelling.

Rows: Wang et al. 2020, table 2: the best Linformer, 256 slots for 512 tokens and one projection for all layers, 93.1, 94.1, 91.2
  and 90.8 %, 92.30 on average; RoBERTa-base of the same training 93.1, 94.1, 90.9 and 90.9, 92.25.
Before: configs/linformer_roberta.py and its variants, in runs/linformer_roberta, runs/linformer_roberta_n512_k128 and so on.
Command: python train.py configs/linformer_glue.py --workdir runs/linformer_glue
  That is the best Linformer on SST-2. :imdb, :qnli and :qqp are its other tasks, :n512_k128_sst2 and so on those of the other
  models, by the names that configs/linformer_roberta.py has for them.
Metric: accuracy.
Data: the benchmark's archives, unpacked in data/glue, and data/imdb with train.jsonl and validation.jsonl, on each line
  {"text": ..., "label": "neg" or "pos"}; RoBERTa's tokenizer in checkpoints/roberta-base.
Recipe: the paper gives none; this is RoBERTa's released one: rate 1e-5, 32 texts, 10 epochs, 6 % of the updates to warm up.
Hardware: not published. Measured here: not run.
"""

import dataclasses
from pathlib import Path

from efficient_attn.data import GLUE, LabelledLines
from efficient_attn.data.glue import GLUE_TABLES
from efficient_attn.experiment import load_variants
from efficient_attn.fine_tuning_experiment import FineTuningExperiment
from efficient_attn.masked_experiment import MaskedExperiment
from efficient_attn.training import AdamW, Linear, Schedule

# Updates of ten epochs.
_TASKS = {"sst2": 21_047, "imdb": 7_812, "qnli": 32_732, "qqp": 113_701}


def _on(task: str, before: MaskedExperiment, run: str) -> FineTuningExperiment:
    if task == "imdb":
        source, labels = LabelledLines(path="data/imdb"), ("neg", "pos")
    else:
        folder = {"sst2": "SST-2", "qnli": "QNLI", "qqp": "QQP"}[task]
        source, labels = GLUE(task=task, path=f"data/glue/{folder}"), GLUE_TABLES[task].labels
    steps = _TASKS[task]
    return FineTuningExperiment(
        model=dataclasses.replace(before.model, head="classification", labels=labels, head_dropout=0.1),
        source=source,
        tokenizer="checkpoints/roberta-base",
        start=f"runs/{run}",
        context=before.context,
        batch_size=32,
        steps=steps,
        schedule=Schedule(peak=1e-5, warmup_steps=int(0.06 * steps), decay=Linear()),
        optimizer=AdamW(b2=0.98, eps=1e-6, weight_decay=0.1),
        clip_norm=None,
        eval_batch_size=64,
    )


_ALL = {
    "_".join(filter(None, (name, task))): _on(task, before, "_".join(filter(None, ("linformer_roberta", name))))
    for name, before in load_variants(str(Path(__file__).with_name("linformer_roberta.py"))).items()
    for task in _TASKS
}
CONFIG = _ALL.pop("sst2")
VARIANTS = _ALL
