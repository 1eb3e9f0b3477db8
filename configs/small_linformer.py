"""Linformer beside dense attention at equal steps: masked language modelling of Python code, small, for any machine.

Command: python train.py configs/small_linformer.py --workdir runs/small_linformer
  That is dense attention; configs/small_linformer.py:k32_layerwise and its like are the others, in workdirs of their own: 32 or
  16 slots for 128 tokens, a quarter and an eighth, with each sharing of the projections.
Hardware: 2 CPU cores, 3 to 5 minutes each beside other processes. Measured, bits for each hidden byte of the validation split after
  400 steps, one seed: dense 4.07; 32 slots with no sharing 4.08, headwise 4.08, key-value 4.07, layerwise 4.47; 16 slots headwise
  4.08, key-value 4.07, layerwise 4.17; 16 slots with no sharing not run.
"""

import dataclasses

from efficient_attn.data import Masking, StandardLibrary
from efficient_attn.masked_experiment import MaskedExperiment
from efficient_attn.models import EncoderConfig, Linformer
from efficient_attn.nn.text_embedding import SlotPositions
from efficient_attn.training import AdamW, Linear, Schedule

CONTEXT = 128

CONFIG = MaskedExperiment(
    model=EncoderConfig(
        depth=2,
        width=128,
        heads=4,
        ff_width=512,
        # All bytes, and what stands for a hidden one.
        vocab=257,
        positions=SlotPositions(rows=CONTEXT),
        head="masked_lm",
        pooler=False,
    ),
    masking=Masking(token=256),
    source=StandardLibrary(splits=(0.98, 0.01, 0.01)),
    context=CONTEXT,
    batch_size=32,
    steps=400,
    schedule=Schedule(peak=2e-3, warmup_steps=40, decay=Linear()),
    optimizer=AdamW(b2=0.98, weight_decay=0.01),
    log_every=25,
    eval_batch_size=128,
)


def _with(attention: Linformer) -> MaskedExperiment:
    return dataclasses.replace(CONFIG, model=dataclasses.replace(CONFIG.model, attention=attention))


VARIANTS = {
    f"k{slots}_{sharing}": _with(Linformer(length=CONTEXT, slots=(slots,), sharing=sharing))
    for slots in (32, 16)
    for sharing in ("none", "headwise", "key_value", "layerwise")
}
