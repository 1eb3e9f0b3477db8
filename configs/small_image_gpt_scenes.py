"""A small Image GPT on tiles of photographs, 16 x 16 pixels in 64 colours, for linear probes of which photograph a tile is of.

Row: none; Chen et al. 2020 probe models of 24 to 60 layers, trained on ImageNet, on CIFAR-10 and others.
Data: data/scenes, with a folder for each photograph in each of train, validation and test, and data/scenes_colours.npy, chosen as
  in configs/small_image_gpt_folders.py; measured on 27 wallpapers, 640 pixels long, whose tiles lie in another split than their
  neighbours 4 tiles on: 12,073, 791 and 1,209.
Command: python train.py configs/small_image_gpt_scenes.py --workdir runs/small_image_gpt_scenes
  configs/small_image_gpt_scenes.py:bert (VARIANTS) tells 15 % of the pixels from all others, in a workdir of its own.
Evaluation: python -m efficient_attn probe configs/small_image_gpt_scenes.py --workdir runs/small_image_gpt_scenes --images 3000
  --picture probe.png. The accuracy of a linear classifier on the test split, for each layer and for raw pixels.
Hardware: 2 CPU cores, 4 minutes each. Measured: docs/measurements.md.
"""

import dataclasses

from efficient_attn.data import ImageFolder, PaletteImages
from efficient_attn.experiment import Experiment
from efficient_attn.models import DecoderConfig, Sparse
from efficient_attn.nn.embedding import TablePositions
from efficient_attn.pixel_experiment import MaskedPixelExperiment
from efficient_attn.training import AdamW, Cosine, Schedule

CONFIG = Experiment(
    model=DecoderConfig(
        depth=6,
        width=64,
        heads=4,
        vocab=64,
        attention=Sparse(patterns=("Causal()",)),
        attention_bias=False,
        ff_bias=False,
        positions=TablePositions(sizes=(256,)),
        slot_positions="predicted",
        norm_kind="rms",
        initialization="image_gpt",
    ),
    source=PaletteImages(images=ImageFolder(path="data/scenes", size=16), palette="data/scenes_colours.npy"),
    context=256,
    batch_size=16,
    steps=1000,
    schedule=Schedule(peak=3e-3, warmup_steps=100, decay=Cosine()),
    optimizer=AdamW(b2=0.95, weight_decay=0.0),
    eval_batch_size=64,
    log_every=50,
)

_SHARED = {field.name: getattr(CONFIG, field.name) for field in dataclasses.fields(CONFIG)}
_BOTH_SIDES = dataclasses.replace(CONFIG.model, attention=Sparse(patterns=("Full()",)))

VARIANTS = {"bert": MaskedPixelExperiment(**_SHARED | {"model": _BOTH_SIDES})}
