"""Sandwiches of a small Transformer that translates, four blocks deep in encoder and decoder: for any machine.

Row: Press, Smith and Levy 2020, section 5: no sandwich translates better than the ordinary order.
Before: `python -m efficient_attn tokenizer configs/small_sandwich_translation.py`, which learns the pieces of words.
Command: python train.py configs/small_sandwich_translation.py --workdir runs/small_sandwich_translation
  That is in turn; :encoder_k1 to :encoder_k3 and :decoder_k1 to :decoder_k3 (VARIANTS) are the sandwiches of one stack, each in a
  workdir of its own. python -m efficient_attn compare runs/* then prints a table and draws the curves.
Data and metric: as of configs/small_translation.py.
Hardware: 2 CPU cores. Measured: not run.
"""

import dataclasses
from pathlib import Path

from efficient_attn.experiment import load_config
from efficient_attn.nn.sublayers import sandwich_order
from efficient_attn.translation_experiment import TranslationExperiment

DEPTH = 4

_SMALL = load_config(str(Path(__file__).with_name("small_translation.py")))
CONFIG = dataclasses.replace(
    _SMALL, model=dataclasses.replace(_SMALL.model, encoder_depth=DEPTH, decoder_depth=DEPTH), steps=800
)


def _ordered(side: str, k: int) -> TranslationExperiment:
    order = {f"{side}_order": sandwich_order(DEPTH, k)}
    return dataclasses.replace(CONFIG, model=dataclasses.replace(CONFIG.model, **order))


VARIANTS = {f"{side}_k{k}": _ordered(side, k) for side in ("encoder", "decoder") for k in range(1, DEPTH)}
