"""A small Image GPT on handwritten digits of 7 x 7 pixels, for linear probes: pixel after pixel, and telling masked pixels.

Data: data/mnist, as of configs/brc_mnist.py.
Command: python train.py configs/small_image_gpt_digits.py --workdir runs/small_image_gpt_digits
"""

import dataclasses

from efficient_attn.data import GreyDigits
from efficient_attn.experiment import Experiment
from efficient_attn.models import DecoderConfig, Sparse
from efficient_attn.nn.embedding import TablePositions
from efficient_attn.pixel_experiment import MaskedPixelExperiment
from efficient_attn.training import AdamW, Cosine, Schedule

CONFIG = Experiment(
    model=DecoderConfig(
        depth=8,
        width=64,
        heads=4,
        vocab=16,
        attention=Sparse(patterns=("Causal()",)),
        attention_bias=False,
        ff_bias=False,
        positions=TablePositions(sizes=(49,)),
        slot_positions="predicted",
        norm_kind="rms",
        initialization="image_gpt",
    ),
    source=GreyDigits(path="data/mnist", shrink=4, levels=16),
    context=49,
    batch_size=32,
    steps=1000,
    schedule=Schedule(peak=3e-3, warmup_steps=50, decay=Cosine()),
    optimizer=AdamW(b2=0.95, weight_decay=0.0),
    eval_batch_size=100,
)

_SHARED = {field.name: getattr(CONFIG, field.name) for field in dataclasses.fields(CONFIG)}
_BOTH_SIDES = dataclasses.replace(CONFIG.model, attention=Sparse(patterns=("Full()",)))

VARIANTS = {"bert": MaskedPixelExperiment(**_SHARED | {"model": _BOTH_SIDES})}
