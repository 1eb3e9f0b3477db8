"""The Adaptively Sparse Transformer: four language pairs with softmax, 1.5-entmax, and alpha learned by each head.

Rows: Correia et al. 2019, BLEU by softmax, 1.5-entmax and learned alpha: 29.79, 29.83, 29.90 (IWSLT'17 De-En), 21.57, 22.13, 21.74
  (KFTT Ja-En), 32.70, 33.10, 32.89 (WMT'16 Ro-En), 26.02, 25.89, 26.93 (WMT'14 En-De).
Before: `python -m efficient_attn tokenizer configs/adaptively_sparse_translation.py`, and the same of :deen, :jaen and :roen.
Command: python train.py configs/adaptively_sparse_translation.py --workdir runs/adaptively_sparse_translation
  That is En-De with softmax; :ende_entmax15 and :ende_alpha are its others, :deen, :deen_entmax15, :deen_alpha and so on those of
  the other pairs, in workdirs of their own. Entmax is in all three attentions; the loss is that of a softmax.
Metric: cased BLEU by sacreBLEU, tokenised by 13a. The paper's own tokenisation is not known here.
Recipe: the base model, with the schedule and dropout of the Transformer's paper; batches and steps of this one are not known here.
Data: WMT by TFDS, and a folder of parallel text each for IWSLT'17 and KFTT (docs/data.md).
Hardware: not known. Measured here: not run; configs/small_translation.py has the three for any machine.
"""

import dataclasses

from efficient_attn.data import ParallelText, SentencePieces, SubwordPairs, TFDSTranslation
from efficient_attn.decoding import BeamOptions
from efficient_attn.models import AdaptivelySparse, Seq2SeqConfig
from efficient_attn.precision import Precision
from efficient_attn.training import AdamW, InverseSquareRoot, Schedule
from efficient_attn.translation_experiment import TranslationExperiment


def _pieces(pairs: ParallelText | TFDSTranslation, name: str) -> SubwordPairs:
    return SubwordPairs(pairs=pairs, subwords=SentencePieces(file=f"data/{name}_32000.model", kind="bpe"))


_PAIRS = {
    "ende": _pieces(TFDSTranslation(name="wmt14_translate/de-en", data_dir="data/tfds"), "wmt14_ende"),
    "deen": _pieces(ParallelText(path="data/iwslt17_deen", languages=("de", "en")), "iwslt17_deen"),
    "jaen": _pieces(ParallelText(path="data/kftt_jaen", languages=("ja", "en")), "kftt_jaen"),
    "roen": _pieces(
        TFDSTranslation(name="wmt16_translate/ro-en", data_dir="data/tfds", languages=("ro", "en")), "wmt16_roen"
    ),
}

CONFIG = TranslationExperiment(
    model=Seq2SeqConfig(vocab=32_000, bos_token=3, precision=Precision(compute="bfloat16")),
    source=_PAIRS["ende"],
    context=256,
    batch_size=96,
    steps=100_000,
    schedule=Schedule(peak=6.99e-4, warmup_steps=4000, decay=InverseSquareRoot()),
    optimizer=AdamW(b2=0.98, eps=1e-9),
    clip_norm=None,
    decoding=BeamOptions(longest=512, extra=50),
    eval_batch_size=64,
)


def _with(alpha: float | None) -> Seq2SeqConfig:
    whole = AdaptivelySparse(patterns=("Full()",), alpha=alpha)
    own = AdaptivelySparse(patterns=("Causal()",), alpha=alpha)
    return dataclasses.replace(CONFIG.model, encoder_attention=whole, decoder_attention=own, cross_attention=whole)


_MODELS = {"": CONFIG.model, "_entmax15": _with(1.5), "_alpha": _with(None)}
VARIANTS = {
    pair + name: dataclasses.replace(CONFIG, model=model, source=source)
    for pair, source in _PAIRS.items()
    for name, model in _MODELS.items()
    # That is CONFIG.
    if pair + name != "ende"
}
