"""The Longformer's small character model on text8, in five phases.

Row: Beltagy et al. 2020, table 2: 41M parameters, 1.04 bits per character dev, 1.10 test.
Command: python train.py configs/longformer_text8.py --workdir runs/longformer_text8
  Then configs/longformer_text8.py:phase2 in runs/longformer_text8_phase2, and so on to :phase5 (VARIANTS).
Evaluation: python eval.py configs/longformer_text8.py:phase5 --workdir runs/longformer_text8_phase5 --split test \
  --context 32256 --eval-scored 512 --eval-batch-size 1
All but the text is that of configs/longformer_enwik8.py. Hardware: the paper used 4 RTX 8000 for 16 days. Measured here: not run.
"""

import dataclasses
from pathlib import Path

from efficient_attn.data import Text8
from efficient_attn.experiment import Experiment, load_variants

_PHASES = load_variants(str(Path(__file__).with_name("longformer_enwik8.py")))


def _on_text8(phase: Experiment) -> Experiment:
    start = None if phase.start is None else phase.start.replace("enwik8", "text8")
    return dataclasses.replace(phase, source=Text8(path="data/text8"), start=start)


CONFIG = _on_text8(_PHASES[""])
VARIANTS = {f"phase{number}": _on_text8(_PHASES[f"phase{number}"]) for number in range(2, 6)}
