"""Sandwich Transformer on WikiText-103: 16 attentions and 16 feed-forwards, k=6, and every other order of the paper.

Rows: Press, Smith and Levy 2020, tables 1 to 3 and section 5: 17.96 perplexity per word on test with k=6; in turn 18.63 +- 0.26,
  Baevski and Auli's own run of it 18.70.
Command: python train.py configs/sandwich_wikitext103.py --workdir runs/sandwich_wikitext103
Evaluation: python eval.py configs/sandwich_wikitext103.py --workdir runs/sandwich_wikitext103 --split test
  Windows of 3,072 words of which the last 512 are scored, so that each has 2,560 or more before it; perplexity_per_word counts the
  ends of lines.
Variants (VARIANTS): :k0, in turn, to :k15; :balanced0 to :balanced19, random orders of as many of each; :matched0 to
  :matched19, random orders of as many parameters. Other seeds: --seed 1.
Parameters: 246.93 M.
Where we differ: the logits of all bands are computed for every word; a learned vector stands before the first word of a window,
  where released code has the word before; the paper says 16 heads, which its base has 8 of, and which do not change the parameters.
Hardware: the base took 8 V100 and three days. Measured here: not run.
"""

import dataclasses

from efficient_attn.data import WikiText, Words
from efficient_attn.experiment import Experiment
from efficient_attn.models import Bands, DecoderConfig, Sparse
from efficient_attn.nn.embedding import SinusoidalPositions
from efficient_attn.nn.sublayers import balanced_order, matched_order, sandwich_order
from efficient_attn.precision import Precision
from efficient_attn.training import SGD, Cosine, Schedule

DEPTH = 16

CONFIG = Experiment(
    model=DecoderConfig(
        depth=DEPTH,
        width=1024,
        heads=16,
        ff_width=4096,
        # The 267,735 kinds of words of the training split, and what released code fills up with.
        vocab=267_744,
        attention=Sparse(patterns=("Causal()",)),
        positions=SinusoidalPositions(),
        final_norm=False,
        order=sandwich_order(DEPTH, 6),
        activation="relu",
        bands=Bands(starts=(20_000, 60_000), factor=4, dropout=0.2),
        logits="tied",
        initialization="glorot",
        dropout=0.3,
        attention_dropout=0.1,
        ff_dropout=0.1,
        remat="block",
        logits_stretch=64,
        precision=Precision(compute="bfloat16"),
    ),
    source=Words(of=WikiText(path="data/wikitext-103")),
    context=3072,
    # 73.7 thousand words.
    batch_size=24,
    steps=286_000,
    # One cycle of the released command's cosine: its restarts would follow the last step.
    schedule=Schedule(peak=1.0, warmup_steps=16_000, decay=Cosine(final=1e-4)),
    optimizer=SGD(momentum=0.99, nesterov=True),
    clip_norm=0.1,
    eval_scored=512,
    checkpoint_every=5_000,
)


def _ordered(order: str) -> Experiment:
    return dataclasses.replace(CONFIG, model=dataclasses.replace(CONFIG.model, order=order))


VARIANTS = (
    {f"k{k}": _ordered(sandwich_order(DEPTH, k)) for k in range(DEPTH) if k != 6}
    | {f"balanced{n}": _ordered(balanced_order(DEPTH, seed=n)) for n in range(20)}
    | {f"matched{n}": _ordered(matched_order(DEPTH, seed=n)) for n in range(20)}
)
