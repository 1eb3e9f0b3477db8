"""The language models of the Synthesizer's table 2: six layers on LM One Billion, each row by its scores.

Row: Tay et al. 2020, table 2, LM1B: perplexities from 37.27 (dense + vanilla) to 50.52 (fixed random).
Command: python train.py configs/synthesizer_lm1b.py --workdir runs/synthesizer_lm1b
  The other rows, in workdirs of their own: --model.attention.scores with one or two of dot_product (the Transformer, "vanilla"),
  fixed_random, random, factorized_random, dense, factorized_dense. A Transformer with the parameters of random + vanilla:
  --model.attention.scores dot_product --model.ff-width 2560.
Metric: exp(nats / (words + lines)), as perplexities on LM1B count. The paper's tokens are 32,000 subwords; here they are bytes,
  and 256 of them hold most sentences. Sizes are those of Tensor2Tensor's lmx_base, which the paper is thought to use; with 33,288
  subwords the Transformer has its 52.99 M parameters. The table's own parameters cannot come from one family of models: between its
  rows only the blocks of queries and keys, of random and of factorized random tables are accounted for, and they are the same here.
Hardware: the paper does not say. Measured here: not run; docs/measurements.md compares all rows on a small text.
"""

from efficient_attn.data import LM1B
from efficient_attn.experiment import Experiment
from efficient_attn.models import DecoderConfig, Synthesizer
from efficient_attn.nn.embedding import SinusoidalPositions
from efficient_attn.precision import Precision
from efficient_attn.training import AdamW, InverseSquareRoot, Schedule

CONFIG = Experiment(
    model=DecoderConfig(
        depth=6,
        width=512,
        heads=8,
        ff_width=2048,
        attention=Synthesizer(scores=("random",), length=256),
        attention_bias=False,
        positions=SinusoidalPositions(),
        activation="relu",
        logits="untied",
        initialization="unit",
        precision=Precision(compute="bfloat16"),
    ),
    source=LM1B(path="data/1-billion-word-language-modeling-benchmark-r13output"),
    context=256,
    batch_size=128,
    steps=300_000,
    schedule=Schedule(peak=1e-3, warmup_steps=10_000, decay=InverseSquareRoot()),
    optimizer=AdamW(b2=0.98),
    checkpoint_every=10_000,
)
