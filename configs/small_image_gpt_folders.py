"""A small Image GPT on a folder of labelled pictures, 16 x 16 pixels in 64 colours: pre-trained, probed, fine-tuned.

Row: none; Chen et al. 2020 train on ImageNet, and probe and fine-tune on CIFAR-10 and others.
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
        depth=8,
        width=96,
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
    source=PaletteImages(images=ImageFolder(path="data/pictures", size=16), palette="data/pictures_colours.npy"),
    context=256,
    batch_size=16,
    steps=2000,
    schedule=Schedule(peak=3e-3, warmup_steps=100, decay=Cosine()),
    optimizer=AdamW(b2=0.95, weight_decay=0.0),
    eval_batch_size=64,
    log_every=50,
)

_SHARED = {field.name: getattr(CONFIG, field.name) for field in dataclasses.fields(CONFIG)}
_BOTH_SIDES = dataclasses.replace(CONFIG.model, attention=Sparse(patterns=("Full()",)))

VARIANTS = {"bert": MaskedPixelExperiment(**_SHARED | {"model": _BOTH_SIDES})}
