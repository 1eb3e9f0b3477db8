"""Sandwich Transformer of adaptive spans on text8: 24 attentions and 24 feed-forwards, k=3.

Row: Press, Smith and Levy 2020, section 5: 1.076 bits per character on test with k=3, 1.0802 +- 0.0103 in turn. Their released code
  prints 1.012 on dev.
Command: python train.py configs/sandwich_text8.py --workdir runs/sandwich_text8
Evaluation: python eval.py configs/sandwich_text8.py --workdir runs/sandwich_text8 --split test
Variants (VARIANTS): :k0, in turn, to :k8, the k that the paper tried.
Parameters: 208.6 M with the published vocabulary of 28; bytes need a table of 256.
Hardware: as of configs/sandwich_enwik8.py, whose model this is. Measured here: not run.
"""

import dataclasses
from pathlib import Path

from efficient_attn.data import Text8
from efficient_attn.experiment import Experiment, load_config
from efficient_attn.nn.sublayers import sandwich_order
from efficient_attn.training import Drop

_ENWIK8 = load_config(str(Path(__file__).with_name("sandwich_enwik8.py")))


def _ordered(k: int) -> Experiment:
    return dataclasses.replace(
        _ENWIK8,
        model=dataclasses.replace(_ENWIK8.model, order=sandwich_order(_ENWIK8.model.depth, k)),
        source=Text8(path="data/text8"),
        steps=270_000,
        schedule=dataclasses.replace(_ENWIK8.schedule, decay=Drop(at=250_000)),
    )


CONFIG = _ordered(3)
VARIANTS = {f"k{k}": _ordered(k) for k in range(9) if k != 3}
