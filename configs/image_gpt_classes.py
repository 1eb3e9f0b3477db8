"""Image GPT, L, fine-tuned to tell the classes of images, which it goes on to learn.

Rows: Chen et al. 2020, section 4.4 and 4.6, at 32 x 32: CIFAR-10 99.0 %, CIFAR-100 88.5 %, ImageNet 66.3 %; of masked pixels,
  CIFAR-10 98.6 % and ImageNet 66.5 %.
Before: configs/image_gpt_l.py, and its variant :bert in runs/image_gpt_l_bert; or a folder with the released checkpoint as
  transformers has it, --start FOLDER.
Command: python train.py configs/image_gpt_classes.py --workdir runs/image_gpt_classes
  That is CIFAR-10; VARIANTS are :cifar100, :imagenet, :bert and :imagenet_bert, each in a workdir of its own.
Evaluation: python eval.py configs/image_gpt_classes.py --workdir runs/image_gpt_classes --split test
Recipe: a tenth of the rate of pre-training, which does not fall; images moved by up to 4 pixels and mirrored; no dropout. The paper
  stops at the best validation accuracy and gives no number of steps; those here are 50 epochs of CIFAR and 10 of ImageNet.
Hardware: not published. Measured here: not run; configs/small_image_gpt_folders.py is for any machine.
"""

import dataclasses

from efficient_attn.data import ImageClasses, Moving, PaletteImages, TFDSImages
from efficient_attn.image_class_experiment import ImageClassExperiment, MaskedPixels
from efficient_attn.models import DecoderConfig, ImageReaderConfig, Sparse
from efficient_attn.nn.embedding import TablePositions
from efficient_attn.training import AdamW, Constant, Schedule


def _of(name: str, *split_names: str) -> ImageClasses:
    images = TFDSImages(name=name, data_dir="data/tfds", split_names=split_names)
    return ImageClasses(images=PaletteImages(images=images, palette="data/kmeans_centers.npy"))


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
    source=_of("imagenet_resized/32x32", "train[:96%]", "train[96%:]", "validation"),
    steps=96_000,
)


def _masked(config: ImageClassExperiment) -> ImageClassExperiment:
    decoder = dataclasses.replace(config.model.decoder, attention=Sparse(patterns=("Full()",)))
    model = dataclasses.replace(config.model, decoder=decoder)
    return dataclasses.replace(config, model=model, reads=MaskedPixels(), start="runs/image_gpt_l_bert")


VARIANTS = {
    "cifar100": dataclasses.replace(
        CONFIG,
        model=dataclasses.replace(CONFIG.model, labels=100),
        source=_of("cifar100", "train[:90%]", "train[90%:]", "test"),
    ),
    "imagenet": _IMAGENET,
    "bert": _masked(CONFIG),
    "imagenet_bert": _masked(_IMAGENET),
}
