"""A small Image GPT on a folder of labelled pictures, 16 x 16 pixels in 64 colours: pre-trained, probed, fine-tuned.

Row: none; Chen et al. 2020 train on ImageNet, and probe and fine-tune on CIFAR-10 and others.
Data: data/pictures, with a folder for each class in each of train, validation and test; measured on the emoji of the npm packages
  emoji-datasource-google and -twitter, 3,049, 296 and 420 of 9 categories, on white, those of one meaning in one split. The
  colours: fit_palette(ImageFolder(path="data/pictures", size=16).labelled("train").pixels.reshape(-1, 3), colours=64).save(
  "data/pictures_colours.npy").
Command: python train.py configs/small_image_gpt_folders.py --workdir runs/small_image_gpt_folders
  VARIANTS, each in a workdir of its own: :bert tells 15 % of the pixels from all others; :tuned goes on from the first run and
  learns the classes too, :tuned_classes learns these alone, :tuned_bert goes on from :bert in runs/small_image_gpt_folders_bert,
  and :scratch from nothing.
Evaluation: python eval.py configs/small_image_gpt_folders.py --workdir runs/small_image_gpt_folders --split test
  python -m efficient_attn sample --config configs/small_image_gpt_folders.py --workdir runs/small_image_gpt_folders --count 8
  --prompt-split test --nearest --zoom 3 --temperature 0.9 --out completed.png
Hardware: 2 CPU cores, 13 minutes. Measured: docs/measurements.md.
"""

import dataclasses

from efficient_attn.data import ImageClasses, ImageFolder, Moving, PaletteImages
from efficient_attn.experiment import Experiment
from efficient_attn.image_class_experiment import ImageClassExperiment, MaskedPixels, NextPixels
from efficient_attn.models import DecoderConfig, ImageReaderConfig, Sparse
from efficient_attn.nn.embedding import TablePositions
from efficient_attn.pixel_experiment import MaskedPixelExperiment
from efficient_attn.training import AdamW, Constant, Cosine, Schedule

_PICTURES = PaletteImages(images=ImageFolder(path="data/pictures", size=16), palette="data/pictures_colours.npy")

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
    source=_PICTURES,
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


def _tuned(
    decoder: DecoderConfig, reads: NextPixels | MaskedPixels, start: str | None, generative: float = 1.0
) -> ImageClassExperiment:
    """Learns the classes, at a tenth of the rate of pre-training, which does not fall."""
    return ImageClassExperiment(
        model=ImageReaderConfig(decoder=decoder, labels=9),
        source=ImageClasses(images=_PICTURES),
        context=256,
        reads=reads,
        generative=generative,
        moving=Moving(distance=2, mirrored=True),
        start=start,
        batch_size=16,
        steps=400,
        schedule=Schedule(peak=3e-4, warmup_steps=20, decay=Constant()),
        optimizer=AdamW(b2=0.95, weight_decay=0.0),
        eval_batch_size=64,
        log_every=50,
    )


VARIANTS = {
    "bert": MaskedPixelExperiment(**_SHARED | {"model": _BOTH_SIDES}),
    "tuned": _tuned(CONFIG.model, NextPixels(), "runs/small_image_gpt_folders"),
    "tuned_classes": _tuned(CONFIG.model, NextPixels(), "runs/small_image_gpt_folders", generative=0.0),
    "tuned_bert": _tuned(_BOTH_SIDES, MaskedPixels(), "runs/small_image_gpt_folders_bert"),
    "scratch": _tuned(CONFIG.model, NextPixels(), None),
}
