"""GLUE: MPNet-base, RoBERTa-base and BERT-base fine-tuned on each of its tasks, from checkpoints of ``transformers``.

Rows: Song et al. 2020, MPNet's tables 2 and 3, single models on the dev sets: MNLI 88.5, QNLI 93.3, QQP 91.9, RTE 85.2 (85.8 in
  another version), SST-2 95.4, MRPC 91.5, CoLA 65.0, STS-B 90.9, 87.7 on average; RoBERTa 86.4, BERT 83.1.
Command: python train.py configs/glue.py --workdir runs/glue
  That is MPNet on MNLI. :qnli, :qqp, :rte, :sst2, :mrpc, :cola and :stsb are its other tasks; :roberta_mnli and :bert_mnli, and so
  on, the other models. Each in a workdir of its own. Those of MPNet and RoBERTa on RTE, MRPC and STS-B begin where the same model
  ended on MNLI, in runs/glue and runs/glue_roberta_mnli, as the published ones do: these come first.
  The other dev set of MNLI: python eval.py configs/glue.py --workdir runs/glue --source.task mnli_mismatched
  What the benchmark takes: --split test --predictions MNLI-m.tsv; the file's name is in data/glue.py for each task.
Metric: accuracy; mcc of CoLA; f1 and accuracy of MRPC and QQP; pearson and spearman of STS-B.
Data: the benchmark's archives, unpacked in data/glue; checkpoints in checkpoints/mpnet-base, roberta-base and bert-base-uncased,
  with the files of their tokenizers.
Recipe: MPNet's released one, for all three models: 10 epochs, rate 1e-5 (2e-5 RTE, STS-B), 32 texts (16 RTE, MRPC, CoLA, STS-B),
  6 % of the updates to warm up (QQP 25 %), weight decay 0.1. The published BERT and RoBERTa have recipes of their own.
Hardware: not published; --context 128 takes a quarter of the time and cuts a few texts, which are counted. Measured here: not run.
"""

from efficient_attn.data import GLUE
from efficient_attn.data.glue import GLUE_TABLES
from efficient_attn.fine_tuning_experiment import FineTuningExperiment
from efficient_attn.models import EncoderConfig, Sparse
from efficient_attn.models.encoder import RelativeBuckets
from efficient_attn.nn.text_embedding import CountedPositions, SlotPositions
from efficient_attn.precision import Precision
from efficient_attn.training import AdamW, Linear, Schedule

_BASE = {
    "depth": 12,
    "width": 768,
    "heads": 12,
    "ff_width": 3072,
    "attention": Sparse(patterns=("Full()",)),
    "dropout": 0.1,
    "attention_dropout": 0.1,
    "head_dropout": 0.1,
    "precision": Precision(compute="bfloat16"),
}
_COUNTED = {"pad_token": 1, "positions": CountedPositions(rows=514), "norm_epsilon": 1e-5, "pooler": False}
_MODELS = {
    "mpnet": _BASE | _COUNTED | {"vocab": 30527, "relative": RelativeBuckets(), "head": "classification"},
    "roberta": _BASE | _COUNTED | {"vocab": 50265, "token_types": 1, "head": "classification"},
    "bert": _BASE
    | {"vocab": 30522, "token_types": 2, "positions": SlotPositions(rows=512), "head": "pooled_classification"},
}
_CHECKPOINTS = {"mpnet": "mpnet-base", "roberta": "roberta-base", "bert": "bert-base-uncased"}
# Folder of the archive, updates, those of the warm-up, texts in a batch, rate.
_TASKS = {
    "mnli": ("MNLI", 123_873, 7432, 32, 1e-5),
    "qnli": ("QNLI", 33_112, 1986, 32, 1e-5),
    "qqp": ("QQP", 113_272, 28_318, 32, 1e-5),
    "rte": ("RTE", 2036, 122, 16, 2e-5),
    "sst2": ("SST-2", 20_935, 1256, 32, 1e-5),
    "mrpc": ("MRPC", 2296, 137, 16, 1e-5),
    "cola": ("CoLA", 5336, 320, 16, 1e-5),
    "stsb": ("STS-B", 3598, 214, 16, 2e-5),
}
_AFTER_MNLI = ("rte", "mrpc", "stsb")


def _on(task: str, model: str) -> FineTuningExperiment:
    folder, steps, warmup, rows, peak = _TASKS[task]
    checkpoint = f"checkpoints/{_CHECKPOINTS[model]}"
    mnli = "runs/glue" if model == "mpnet" else f"runs/glue_{model}_mnli"
    return FineTuningExperiment(
        model=EncoderConfig(labels=GLUE_TABLES[task].labels or ("score",), **_MODELS[model]),
        source=GLUE(task=task, path=f"data/glue/{folder}"),
        tokenizer=checkpoint,
        start=mnli if task in _AFTER_MNLI and model != "bert" else checkpoint,
        context=512,
        batch_size=rows,
        steps=steps,
        schedule=Schedule(peak=peak, warmup_steps=warmup, decay=Linear()),
        optimizer=AdamW(b2=0.98, eps=1e-6, weight_decay=0.1),
        clip_norm=None,
        eval_batch_size=64,
    )


CONFIG = _on("mnli", "mpnet")
VARIANTS = {task: _on(task, "mpnet") for task in _TASKS if task != "mnli"} | {
    f"{model}_{task}": _on(task, model) for model in ("roberta", "bert") for task in _TASKS
}
