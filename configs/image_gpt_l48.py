"""Image GPT, L: dense attention over 48 x 48 pixels, each one of 512 colours.

Rows: Chen et al. 2020, sections 4.3 and 4.4: 65.2 % of ImageNet by a linear probe, 72.6 % fine-tuned.
Command: python train.py configs/image_gpt_l48.py --workdir runs/image_gpt_l48
Evaluation: python eval.py configs/image_gpt_l48.py --workdir runs/image_gpt_l48 --split test
Hardware: the paper names none. Measured here: not run.
Data: as of configs/image_gpt_l.py, cropped by python -m efficient_attn crops configs/image_gpt_l48.py, twice each image.
All else but the length is that of configs/image_gpt_l.py, the learning rate included, which the paper searches for each length.
"""

import dataclasses
from pathlib import Path

from efficient_attn.experiment import load_config
from efficient_attn.nn.embedding import TablePositions

_SHORTER = load_config(str(Path(__file__).with_name("image_gpt_l.py")))
_SIZE = 48

CONFIG = dataclasses.replace(
    _SHORTER,
    model=dataclasses.replace(_SHORTER.model, positions=TablePositions(sizes=(_SIZE**2,))),
    source=dataclasses.replace(
        _SHORTER.source,
        images=dataclasses.replace(_SHORTER.source.images, prepared=f"data/imagenet{_SIZE}", size=_SIZE, views=2),
    ),
    context=_SIZE**2,
)
