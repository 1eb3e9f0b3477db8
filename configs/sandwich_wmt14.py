"""Sandwich Transformers on WMT'14 English to German: the big Transformer with the sublayers of one stack in another order.

Row: Press, Smith and Levy 2020, section 5: 28.74 BLEU in turn, and no gain from any sandwich, of the encoder or of the decoder.
Before: `python -m efficient_attn tokenizer configs/sandwich_wmt14.py`, which learns 37,000 pieces of both languages.
Command: python train.py configs/sandwich_wmt14.py --workdir runs/sandwich_wmt14
  That is the encoder's with k=3. :encoder_k1, :encoder_k2, :encoder_k4, :encoder_k5 and :decoder_k1 to :decoder_k5 (VARIANTS) are
  the others, and :k0 is in turn, each in a workdir of its own.
Metric: as of configs/transformer_wmt14_ende.py.
Recipe: that of configs/transformer_wmt14_ende.py:big. In the decoder, the attention to the source goes with the attention to the
  target: an s of an order is both.
Hardware: as of configs/transformer_wmt14_ende.py. Measured here: not run; configs/small_sandwich_translation.py is for any machine.
"""

import dataclasses
from pathlib import Path

from efficient_attn.experiment import load_config
from efficient_attn.nn.sublayers import sandwich_order
from efficient_attn.translation_experiment import TranslationExperiment

_BIG = load_config(str(Path(__file__).with_name("transformer_wmt14_ende.py:big")))


def _ordered(side: str, k: int) -> TranslationExperiment:
    order = {f"{side}_order": sandwich_order(_BIG.model.encoder_depth, k)}
    return dataclasses.replace(_BIG, model=dataclasses.replace(_BIG.model, **order))


CONFIG = _ordered("encoder", 3)
VARIANTS = {"k0": _BIG} | {
    f"{side}_k{k}": _ordered(side, k)
    for side in ("encoder", "decoder")
    for k in range(1, 6)
    if (side, k) != ("encoder", 3)
}
