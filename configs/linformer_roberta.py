"""RoBERTa-base and its Linformers: masked language modelling before the fine-tuning of the Linformer's table 2.

Rows: Wang et al. 2020, table 2, averages of SST-2, IMDB, QNLI and QQP: 92.30 for the best Linformer, 256 slots for 512 tokens
  with one projection for all layers; 92.25 for a RoBERTa-base of the same training.
Command: python train.py configs/linformer_roberta.py --workdir runs/linformer_roberta
  That is the best Linformer. :dense is RoBERTa-base; :n512_k128, :n512_k256 and :n1024_k256 are other rows, with projections
  for keys and values of each layer, and after _key_value with one for both; :n512_k128_layerwise and :n1024_k256_layerwise have
  one for all layers. Each in a workdir of its own.
Metric: bits for each hidden token of the validation split; the table's own are of fine-tuned models.
Data: the paper trains on BookCorpus and Wikipedia. Here it is Wikipedia, in the 50,265 tokens of RoBERTa, whose tokenizer is in
  checkpoints/roberta-base. configs/linformer_glue.py has the fine-tuning.
Recipe: 250,000 updates as in the paper, which leaves out batch and rate: here those of RoBERTa's released recipe for 2,048 texts.
Hardware: 64 V100 in the paper. Measured here: not run; configs/small_linformer.py is a comparison for any machine.
"""

import dataclasses

from efficient_attn.data import Masking, TFDSText, TokenizedText
from efficient_attn.masked_experiment import MaskedExperiment
from efficient_attn.models import EncoderConfig, Linformer, Sparse
from efficient_attn.nn.text_embedding import CountedPositions
from efficient_attn.precision import Precision
from efficient_attn.training import AdamW, Linear, Schedule

PAD = 1

CONFIG = MaskedExperiment(
    model=EncoderConfig(
        depth=12,
        width=768,
        heads=12,
        ff_width=3072,
        vocab=50265,
        pad_token=PAD,
        positions=CountedPositions(rows=512 + PAD + 1),
        attention=Linformer(length=512, slots=(256,), sharing="layerwise"),
        head="masked_lm",
        pooler=False,
        dropout=0.1,
        attention_dropout=0.1,
        norm_epsilon=1e-5,
        precision=Precision(compute="bfloat16"),
    ),
    masking=Masking(token=50264),
    source=TokenizedText(text=TFDSText(name="wiki40b/en", data_dir="data/tfds"), tokenizer="checkpoints/roberta-base"),
    context=512,
    batch_size=2048,
    steps=250_000,
    schedule=Schedule(peak=5e-4, warmup_steps=10_000, decay=Linear()),
    optimizer=AdamW(b2=0.98, eps=1e-6, weight_decay=0.01),
    clip_norm=None,
    eval_batch_size=256,
)


def _with(attention: Linformer | Sparse, length: int = 512) -> MaskedExperiment:
    positions = CountedPositions(rows=length + PAD + 1)
    model = dataclasses.replace(CONFIG.model, attention=attention, positions=positions)
    return dataclasses.replace(CONFIG, model=model, context=length)


VARIANTS = {"dense": _with(Sparse(patterns=("Full()",)))} | {
    f"n{length}_k{slots}" + ("" if sharing == "headwise" else f"_{sharing}"): _with(
        Linformer(length=length, slots=(slots,), sharing=sharing), length
    )
    for length, slots in ((512, 128), (512, 256), (1024, 256))
    for sharing in ("headwise", "key_value", "layerwise")
    # That is CONFIG.
    if (length, slots, sharing) != (512, 256, "layerwise")
}
