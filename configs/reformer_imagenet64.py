"""Reformer on ImageNet 64x64, as bytes of pixels: six layers of LSH attention, two reversible streams.

Row: Kitaev et al. 2020, section 5 and figures: curves only, no number.
Command: python train.py configs/reformer_imagenet64.py --workdir runs/reformer_imagenet64
Evaluation: python eval.py configs/reformer_imagenet64.py --workdir runs/reformer_imagenet64 --split validation
Hardware: the paper used 8 devices, an image each. Measured here: not run.
"""

from efficient_attn.data import TFDSImages
from efficient_attn.experiment import Experiment
from efficient_attn.models import LSH, DecoderConfig
from efficient_attn.nn.embedding import AxialPositions
from efficient_attn.precision import Precision
from efficient_attn.training import AdamW, InverseSquareRoot, Schedule

CONFIG = Experiment(
    model=DecoderConfig(
        depth=6,
        width=1024,
        heads=8,
        ff_width=4096,
        attention=LSH(chunk=128, buckets=(192,), rounds=2),
        attention_bias=False,
        positions=AxialPositions(sizes=(64, 64, 3), widths=(384, 384, 256)),
        residual="reversible",
        activation="gelu_tanh",
        logits="untied",
        initialization="unit",
        ff_stretch=4096,
        logits_stretch=4096,
        precision=Precision(compute="bfloat16"),
    ),
    source=TFDSImages(name="imagenet_resized/64x64", data_dir="data/tfds"),
    context=12_288,
    batch_size=8,
    steps=500_000,
    # The rule of the text configuration; its warm-up is that of the image configuration.
    schedule=Schedule(peak=0.03125 / 8_000**0.5, warmup_steps=8_000, decay=InverseSquareRoot()),
    optimizer=AdamW(b2=0.98, eps=1e-9),
)
