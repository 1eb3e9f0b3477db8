"""Longformer-base on the classes of long documents, IMDB and Hyperpartisan, beside RoBERTa-base that reads 512 tokens of them.

Rows: Beltagy et al. 2020, table of fine-tuned models, dev: IMDB 95.7 (RoBERTa-base 95.3) accuracy, Hyperpartisan 94.8 (87.4) F1,
  the mean of five seeds.
Command: python train.py configs/longformer_classification.py --workdir runs/longformer_classification
  That is IMDB; :hyperpartisan, :roberta_imdb and :roberta_hyperpartisan are the others. Other seeds: --seed 1.
Metric: accuracy on IMDB, f1 on Hyperpartisan.
Data: data/imdb and data/hyperpartisan with train.jsonl and validation.jsonl, on each line {"text": ..., "label": "neg" or "pos"};
  of Hyperpartisan "false" or "true" (645 articles, 516 to train on); checkpoints of transformers in
  checkpoints/longformer-base-4096 and checkpoints/roberta-base, with the files of their tokenizers.
Recipe: Adam at 3e-5, 32 documents, 15 epochs, 10 % of the updates to warm up, then a linear decay; the first token is global.
Hardware: not published. Measured here: not run; configs/small_long_documents.py is a comparison for any machine.
"""

from efficient_attn.data import LabelledLines
from efficient_attn.fine_tuning_experiment import FineTuningExperiment
from efficient_attn.models import EncoderConfig, Longformer, Sparse
from efficient_attn.nn.text_embedding import CountedPositions
from efficient_attn.precision import Precision
from efficient_attn.training import AdamW, Linear, Schedule

PAD = 1
_LONGFORMER = Longformer(windows=(256,), max_globals=1, sep_token=2)
# Classes, and updates of 15 epochs over 25,000 and over 516 documents.
_TASKS = {"imdb": (("neg", "pos"), 11_719), "hyperpartisan": (("false", "true"), 242)}


def _on(task: str, attention: Longformer | Sparse, length: int, checkpoint: str) -> FineTuningExperiment:
    labels, steps = _TASKS[task]
    return FineTuningExperiment(
        model=EncoderConfig(
            depth=12,
            width=768,
            heads=12,
            ff_width=3072,
            vocab=50265,
            pad_token=PAD,
            positions=CountedPositions(rows=length + PAD + 1),
            token_types=1,
            attention=attention,
            head="classification",
            labels=labels,
            pooler=False,
            dropout=0.1,
            attention_dropout=0.1,
            head_dropout=0.1,
            norm_epsilon=1e-5,
            remat="block",
            precision=Precision(compute="bfloat16"),
        ),
        source=LabelledLines(path=f"data/{task}"),
        tokenizer=checkpoint,
        start=checkpoint,
        context=length,
        batch_size=32,
        steps=steps,
        schedule=Schedule(peak=3e-5, warmup_steps=steps // 10, decay=Linear()),
        optimizer=AdamW(weight_decay=0.0),
    )


def _longformer(task: str) -> FineTuningExperiment:
    return _on(task, _LONGFORMER, 4096, "checkpoints/longformer-base-4096")


def _roberta(task: str) -> FineTuningExperiment:
    return _on(task, Sparse(patterns=("Full()",)), 512, "checkpoints/roberta-base")


CONFIG = _longformer("imdb")
VARIANTS = {
    "hyperpartisan": _longformer("hyperpartisan"),
    "roberta_imdb": _roberta("imdb"),
    "roberta_hyperpartisan": _roberta("hyperpartisan"),
}
