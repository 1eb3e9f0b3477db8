"""A small Image GPT on tiles of photographs, 16 x 16 pixels in 128 colours: dense attention, and the same model with sparse.

Row: none; Chen et al. 2020 train on ImageNet with 512 colours.
Data: data/photographs.npy, uint8 [count, 16, 16, 3]: tiles of photographs, of which a share is held out by tile, so that there
  are tiles of the same photographs in all splits. fit_palette(numpy.load("data/photographs.npy"), colours=128).save(
  "data/photographs_colours.npy") chooses the colours.
Command: python train.py configs/small_image_gpt.py --workdir runs/small_image_gpt
  configs/small_image_gpt.py:sparse (VARIANTS) has a row of pixels and a column in place of all before, in a workdir of its own.
Evaluation: python eval.py configs/small_image_gpt.py --workdir runs/small_image_gpt --split test
  What is called bits per byte is bits per pixel here, beside frequency_bits, those of a code by how often a colour is in the split.
Hardware: 2 CPU cores, 2 minutes. Measured on 19,615 tiles of wallpapers: 1.98 bits per pixel on the test split's tiles, where
  frequencies take 6.65 and xz 1.58; 2.59 on 994 tiles of photographs that no split has, where they take 6.14 and 1.91. Many
  of the tiles are flat or alike, which xz -9 finds better than 300 steps of so small a model. :sparse is not run.
"""

import dataclasses

from efficient_attn.data import ImageArray, PaletteImages
from efficient_attn.experiment import Experiment
from efficient_attn.models import DecoderConfig, Sparse
from efficient_attn.nn.embedding import TablePositions
from efficient_attn.training import AdamW, Cosine, Schedule

_COLOURS = "data/photographs_colours.npy"

CONFIG = Experiment(
    model=DecoderConfig(
        depth=3,
        width=64,
        heads=4,
        vocab=128,
        attention=Sparse(patterns=("Causal()",)),
        attention_bias=False,
        ff_bias=False,
        positions=TablePositions(sizes=(256,)),
        slot_positions="predicted",
        norm_kind="rms",
        initialization="image_gpt",
    ),
    source=PaletteImages(images=ImageArray(path="data/photographs.npy", splits=(0.94, 0.03, 0.03)), palette=_COLOURS),
    context=256,
    batch_size=8,
    steps=300,
    schedule=Schedule(peak=3e-3, warmup_steps=30, decay=Cosine()),
    optimizer=AdamW(b2=0.95, weight_decay=0.0),
    eval_batch_size=64,
)

_NEAR = Sparse(patterns=("Causal() & (Strided(16) | Window(left=15))",))

VARIANTS = {"sparse": dataclasses.replace(CONFIG, model=dataclasses.replace(CONFIG.model, attention=_NEAR))}
