"""The Transformer on WMT'14 English to French: the base and big models of the paper.

Rows: Vaswani et al. 2017, table 2: 38.1 BLEU (base) and 41.8 (big).
Before: `python -m efficient_attn tokenizer configs/transformer_wmt14_enfr.py`, which learns 32,000 pieces of both languages.
Command: python train.py configs/transformer_wmt14_enfr.py --workdir runs/transformer_wmt14_enfr
  :big is the big model, in a workdir of its own.
Metric and recipe: as configs/transformer_wmt14_ende.py, with its caution about the paper's BLEU; the big model drops 0.1 of the
  features in place of 0.3. The paper's 32,000 are word pieces; here they are BPE.
Hardware: 8 P100, 12 hours for base and 3.5 days for big in the paper. Measured here: not run.
"""

import dataclasses

from efficient_attn.data import SentencePieces, SubwordPairs, TFDSTranslation
from efficient_attn.decoding import BeamOptions
from efficient_attn.models import Seq2SeqConfig
from efficient_attn.precision import Precision
from efficient_attn.training import AdamW, InverseSquareRoot, Keep, Schedule
from efficient_attn.translation_experiment import TranslationExperiment

CONFIG = TranslationExperiment(
    model=Seq2SeqConfig(vocab=32_000, bos_token=3, precision=Precision(compute="bfloat16")),
    source=SubwordPairs(
        pairs=TFDSTranslation(name="wmt14_translate/fr-en", data_dir="data/tfds", languages=("en", "fr")),
        subwords=SentencePieces(file="data/wmt14_enfr.model", kind="bpe", unknown="token"),
    ),
    context=256,
    batch_size=96,
    steps=100_000,
    schedule=Schedule(peak=6.99e-4, warmup_steps=4000, decay=InverseSquareRoot()),
    optimizer=AdamW(b2=0.98, eps=1e-9),
    clip_norm=None,
    decoding=BeamOptions(longest=512, extra=50),
    eval_batch_size=64,
    checkpoint_every=1500,
    keep=Keep(last=5),
    average_last=5,
)

VARIANTS = {
    "big": dataclasses.replace(
        CONFIG,
        model=dataclasses.replace(CONFIG.model, width=1024, ff_width=4096, heads=16),
        steps=300_000,
        schedule=Schedule(peak=4.94e-4, warmup_steps=4000, decay=InverseSquareRoot()),
        checkpoint_every=600,
        keep=Keep(last=20),
        average_last=20,
    ),
}
