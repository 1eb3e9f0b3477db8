"""Image GPT, L, fine-tuned to tell the classes of images, which it goes on to learn.

Rows: Chen et al. 2020, section 4.4 and 4.6, at 32 x 32: CIFAR-10 99.0 %, CIFAR-100 88.5 %, ImageNet 66.3 %; of masked pixels,
  CIFAR-10 98.6 % and ImageNet 66.5 %; at 48 x 48 ImageNet 72.6 %, and from random parameters 53.2 %; of four images of each
  class of CIFAR-10, 42.1 %.
Before: configs/image_gpt_l.py, and its variant :bert in runs/image_gpt_l_bert, configs/image_gpt_l48.py; or, of the first two, a
  folder with the released checkpoint as transformers has it, --start FOLDER.
Command: python train.py configs/image_gpt_classes.py --workdir runs/image_gpt_classes
  That is CIFAR-10; VARIANTS are :four and :twentyfive (of each class), :cifar100, :stl10, :imagenet,
  :imagenet48, :imagenet48_scratch, :bert and :imagenet_bert, each in a workdir of its own. ImageNet is cropped as for the
  models before, STL-10 by python -m efficient_attn crops configs/image_gpt_classes.py:stl10.
Evaluation: python eval.py configs/image_gpt_classes.py --workdir runs/image_gpt_classes --split test
Recipe: a tenth of the rate of pre-training, which does not fall; images moved by up to 4 pixels and mirrored; no dropout. The paper
  stops at the best validation accuracy and gives no number of steps; those here are 50 epochs of CIFAR and 10 of ImageNet.
Hardware: not published. Measured here: not run; configs/small_image_gpt_folders.py is for any machine.
"""

import dataclasses
from pathlib import Path

from efficient_attn.data import CroppedImages, ImageClasses, Moving, PaletteImages, TFDSImages
from efficient_attn.experiment import load_config
from efficient_attn.image_class_experiment import ImageClassExperiment, MaskedPixels
from efficient_attn.models import DecoderConfig, ImageReaderConfig, Sparse
from efficient_attn.nn.embedding import TablePositions
from efficient_attn.training import AdamW, Constant, Schedule

_PALETTE = "data/kmeans_centers.npy"
# Its 96 x 96 pixels are scaled, and nothing is cut off.
_STL10 = CroppedImages(
    images=TFDSImages(name="stl10", data_dir="data/tfds", split_names=("train[:90%]", "train[90%:]", "test")),
    prepared="data/stl10",
    size=32,
)


def _of(name: str, *split_names: str) -> ImageClasses:
    images = TFDSImages(name=name, data_dir="data/tfds", split_names=split_names)
    return ImageClasses(images=PaletteImages(images=images, palette=_PALETTE))


def _source_of(before: str) -> PaletteImages:
    return load_config(str(Path(__file__).with_name(f"{before}.py"))).source


CONFIG = ImageClassExperiment(
    model=ImageReaderConfig(
        decoder=DecoderConfig(
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
        labels=10,
    ),
    source=_of("cifar10", "train[:90%]", "train[90%:]", "test"),
    context=1_024,
    moving=Moving(),
    start="runs/image_gpt_l",
    batch_size=128,
    steps=17_500,
    schedule=Schedule(peak=1e-4, warmup_steps=350, decay=Constant()),
    optimizer=AdamW(b2=0.95, weight_decay=0.0),
    eval_every=350,
)

_IMAGENET = dataclasses.replace(
    CONFIG,
    model=dataclasses.replace(CONFIG.model, labels=1000),
    source=ImageClasses(images=_source_of("image_gpt_l")),
    steps=96_000,
)
_LARGER = TablePositions(sizes=(2_304,))
_IMAGENET48 = dataclasses.replace(
    _IMAGENET,
    model=dataclasses.replace(_IMAGENET.model, decoder=dataclasses.replace(CONFIG.model.decoder, positions=_LARGER)),
    source=ImageClasses(images=_source_of("image_gpt_l48")),
    context=2_304,
    start="runs/image_gpt_l48",
)


def _masked(config: ImageClassExperiment) -> ImageClassExperiment:
    decoder = dataclasses.replace(config.model.decoder, attention=Sparse(patterns=("Full()",)))
    model = dataclasses.replace(config.model, decoder=decoder)
    return dataclasses.replace(config, model=model, reads=MaskedPixels(), start="runs/image_gpt_l_bert")


VARIANTS = {
    "four": dataclasses.replace(CONFIG, source=dataclasses.replace(CONFIG.source, per_class=4), steps=350),
    "twentyfive": dataclasses.replace(CONFIG, source=dataclasses.replace(CONFIG.source, per_class=25), steps=1_750),
    "cifar100": dataclasses.replace(
        CONFIG,
        model=dataclasses.replace(CONFIG.model, labels=100),
        source=_of("cifar100", "train[:90%]", "train[90%:]", "test"),
    ),
    "stl10": dataclasses.replace(CONFIG, source=ImageClasses(images=PaletteImages(images=_STL10, palette=_PALETTE))),
    "imagenet": _IMAGENET,
    "imagenet48": _IMAGENET48,
    "imagenet48_scratch": dataclasses.replace(_IMAGENET48, start=None),
    "bert": _masked(CONFIG),
    "imagenet_bert": _masked(_IMAGENET),
}
