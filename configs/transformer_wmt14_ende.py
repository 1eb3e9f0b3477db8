"""The Transformer on WMT'14 English to German: the base and big models of the paper, and two other models that are called base.

Rows: Vaswani et al. 2017, table 2: 27.3 BLEU (base) and 28.4 (big).
Before: `python -m efficient_attn tokenizer configs/transformer_wmt14_ende.py`, which learns 37,000 pieces of both languages.
Command: python train.py configs/transformer_wmt14_ende.py --workdir runs/transformer_wmt14_ende
  That is the paper's base. :big is its big one; :tensor2tensor and :flax are the base models of its released code and of Flax's
  example, each in a workdir of its own. The table in efficient_attn/models/seq2seq_config.py says what they differ in.
Metric: cased BLEU by sacreBLEU, tokenised by 13a. The paper's is of tokenised text with compounds split, by which one output
  of a big model scored 29.3 that has 28.6 by sacreBLEU; Flax's README gives lower-cased BLEU of German to English, another thing.
Recipe: 24,576 tokens a side and step in packed rows, 100,000 steps (300,000 for big), the average of the last 5 checkpoints
  (20); :flax 65,536 tokens and no average.
  Data and pieces are the same for all four here: tensor2tensor has 32,000 pieces of its own kind, Flax trains on WMT'17.
Where we differ: the paper batches sentences of about one length, in place of packing.
Hardware: 8 P100, 12 hours for base and 3.5 days for big in the paper. Measured here: not run; configs/small_translation.py is for
  any machine.
"""

import dataclasses

from efficient_attn.data import SentencePieces, SubwordPairs, TFDSTranslation
from efficient_attn.decoding import BeamOptions
from efficient_attn.models import Seq2SeqConfig
from efficient_attn.nn.embedding import SinusoidalPositions
from efficient_attn.precision import Precision
from efficient_attn.training import AdamW, InverseSquareRoot, Keep, Schedule
from efficient_attn.translation_experiment import TranslationExperiment

CONFIG = TranslationExperiment(
    model=Seq2SeqConfig(vocab=37_000, bos_token=3, precision=Precision(compute="bfloat16")),
    source=SubwordPairs(
        pairs=TFDSTranslation(name="wmt14_translate/de-en", data_dir="data/tfds", languages=("en", "de")),
        subwords=SentencePieces(file="data/wmt14_ende.model", kind="bpe", unknown="token"),
    ),
    context=256,
    batch_size=96,
    steps=100_000,
    # 512^-0.5 * 4000^-0.5
    schedule=Schedule(peak=6.99e-4, warmup_steps=4000, decay=InverseSquareRoot()),
    optimizer=AdamW(b2=0.98, eps=1e-9),
    clip_norm=None,
    decoding=BeamOptions(longest=512, extra=50),
    eval_batch_size=64,
    # The paper's are ten minutes apart.
    checkpoint_every=1500,
    keep=Keep(last=5),
    average_last=5,
)

VARIANTS = {
    "big": dataclasses.replace(
        CONFIG,
        model=dataclasses.replace(CONFIG.model, width=1024, ff_width=4096, heads=16, dropout=0.3),
        steps=300_000,
        # 1024^-0.5 * 4000^-0.5
        schedule=Schedule(peak=4.94e-4, warmup_steps=4000, decay=InverseSquareRoot()),
        checkpoint_every=600,
        keep=Keep(last=20),
        average_last=20,
    ),
    "tensor2tensor": dataclasses.replace(
        CONFIG,
        model=dataclasses.replace(
            CONFIG.model,
            norm="pre",
            attention_dropout=0.1,
            ff_dropout=0.1,
            positions=SinusoidalPositions(layout="halves"),
            initialization="unit_scaling",
            source_vector=True,
        ),
        # 2 * 512^-0.5 * 8000^-0.5
        schedule=Schedule(peak=9.88e-4, warmup_steps=8000, decay=InverseSquareRoot()),
        optimizer=AdamW(b2=0.997, eps=1e-9),
        decoding=BeamOptions(longest=512, extra=100, early_stop="best"),
    ),
    "flax": dataclasses.replace(
        CONFIG,
        model=dataclasses.replace(
            CONFIG.model,
            norm="pre",
            width=1024,
            ff_width=4096,
            heads=16,
            attention_dropout=0.1,
            ff_dropout=0.1,
            positions=SinusoidalPositions(layout="halves"),
            embedding="plain",
        ),
        batch_size=256,
        schedule=Schedule(peak=2e-3, warmup_steps=1000, decay=InverseSquareRoot()),
        decoding=BeamOptions(longest=256),
        average_last=1,
    ),
}
