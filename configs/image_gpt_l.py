"""Image GPT, L: dense attention over 32 x 32 pixels, each one of 512 colours.

Row: Chen et al. 2020, section 3.4: 1362M parameters; 2.0466 nats per pixel of ImageNet's test images after a million steps.
Command: python train.py configs/image_gpt_l.py --workdir runs/image_gpt_l
  configs/image_gpt_l.py:bert (VARIANTS) tells 15 % of the pixels from all others, in a workdir of its own.
Evaluation: python eval.py configs/image_gpt_l.py --workdir runs/image_gpt_l --split test
Hardware: the paper names none. Measured here: not run.
Data: ImageNet, prepared by TFDS, and cropped by python -m efficient_attn crops configs/image_gpt_l.py. Here four crops
  of each training image are drawn once and for all, in the paper anew in each epoch.
  The colours are those of the released kmeans_centers.npy, or of ``fit_palette``.
The learning rate is the paper's table 5 as remembered, to be searched downward.
"""

import dataclasses

from efficient_attn.data import CroppedImages, PaletteImages, TFDSImages
from efficient_attn.experiment import Experiment
from efficient_attn.models import DecoderConfig, Sparse
from efficient_attn.nn.embedding import TablePositions
from efficient_attn.pixel_experiment import MaskedPixelExperiment
from efficient_attn.training import AdamW, Cosine, Schedule

CONFIG = Experiment(
    model=DecoderConfig(
        depth=48,
        width=1536,
        heads=16,
        vocab=512,
        attention=Sparse(patterns=("Causal()",)),
        attention_bias=False,
        ff_bias=False,
        positions=TablePositions(sizes=(1_024,)),
        slot_positions="predicted",
        norm_kind="rms",
        initialization="image_gpt",
        remat="block",
    ),
    source=PaletteImages(
        images=CroppedImages(
            images=TFDSImages(
                name="imagenet2012",
                data_dir="data/tfds",
                split_names=("train[:96%]", "train[96%:]", "validation"),
            ),
            prepared="data/imagenet32",
            size=32,
            views=4,
        ),
        palette="data/kmeans_centers.npy",
    ),
    context=1_024,
    batch_size=128,
    steps=1_000_000,
    # One epoch of warm-up.
    schedule=Schedule(peak=1e-3, warmup_steps=9_608, decay=Cosine()),
    optimizer=AdamW(b2=0.95, weight_decay=0.0),
)

_SHARED = {field.name: getattr(CONFIG, field.name) for field in dataclasses.fields(CONFIG)}
_BOTH_SIDES = dataclasses.replace(CONFIG.model, attention=Sparse(patterns=("Full()",)))

VARIANTS = {"bert": MaskedPixelExperiment(**_SHARED | {"model": _BOTH_SIDES})}
