"""Image GPT, XL: dense attention over 64 x 64 pixels, each one of 512 colours.

Row: Chen et al. 2020, section 3.4: 6801M parameters.
Command: python train.py configs/image_gpt_xl.py --workdir runs/image_gpt_xl
Evaluation: python eval.py configs/image_gpt_xl.py --workdir runs/image_gpt_xl --split test
Hardware: the paper names none. Measured here: not run.
Data: ImageNet, prepared by TFDS, and cropped by python -m efficient_attn crops configs/image_gpt_xl.py. Here a crop of
  each training image is drawn once and for all, in the paper anew in each epoch.
  The colours are those of the released kmeans_centers.npy, or of ``fit_palette``.
The learning rate is the paper's table 5 as remembered, to be searched downward.
Heads are not published; these are of 128 features as M's. The paper counts 1,024 positions, and this has 4,096.
"""

from efficient_attn.data import CroppedImages, PaletteImages, TFDSImages
from efficient_attn.experiment import Experiment
from efficient_attn.models import DecoderConfig, Sparse
from efficient_attn.nn.embedding import TablePositions
from efficient_attn.training import AdamW, Cosine, Schedule

CONFIG = Experiment(
    model=DecoderConfig(
        depth=60,
        width=3072,
        heads=24,
        vocab=512,
        attention=Sparse(patterns=("Causal()",)),
        attention_bias=False,
        ff_bias=False,
        positions=TablePositions(sizes=(4_096,)),
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
            prepared="data/imagenet64",
            size=64,
            views=1,
        ),
        palette="data/kmeans_centers.npy",
    ),
    context=4_096,
    batch_size=64,
    steps=2_000_000,
    # One epoch of warm-up.
    schedule=Schedule(peak=3e-4, warmup_steps=19_217, decay=Cosine()),
    optimizer=AdamW(b2=0.95, weight_decay=0.0),
)
