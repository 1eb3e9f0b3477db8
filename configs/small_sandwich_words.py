"""Sandwiches of eight attentions and eight feed-forwards over words, by their coefficient k, at equal steps: small.

Rows: Press, Smith and Levy 2020, section 4: on WikiText-103, 16 of each, 18.65 +- 0.24 perplexity in turn, best at k=6.
Command: python train.py configs/small_sandwich_words.py --workdir runs/small_sandwich_words
  That is in turn; configs/small_sandwich_words.py:k1 to :k7, :balanced0 to :balanced9 and :matched0 to :matched9 (VARIANTS) are the
  others, in workdirs of their own.
  python -m efficient_attn compare runs/* then prints a table and draws the curves.
Data: the excerpt of Wikipedia that the gensim package ships, its 20,000 most frequent words; it is XML, and a word may be a tag.
Hardware: 2 CPU cores, a minute or two each. Measured, perplexity of the validation split: 161.7 in turn (164.1 +- 2.4 over
  five seeds), 162.4 to 168.1 for k=1 to 7; docs/measurements.md has random orders too.
"""

import dataclasses

from efficient_attn.data import WikipediaExcerpt, Words
from efficient_attn.experiment import Experiment
from efficient_attn.models import Bands, DecoderConfig
from efficient_attn.nn.sublayers import balanced_order, matched_order, sandwich_order
from efficient_attn.training import AdamW, Cosine, Schedule

DEPTH = 8

CONFIG = Experiment(
    model=DecoderConfig(
        depth=DEPTH,
        width=64,
        heads=4,
        vocab=20_000,
        order=sandwich_order(DEPTH, 0),
        bands=Bands(starts=(2_000, 8_000), factor=2, dropout=0.0),
        logits="tied",
        initialization="unit",
    ),
    source=Words(of=WikipediaExcerpt(), most=20_000),
    context=128,
    batch_size=8,
    steps=400,
    schedule=Schedule(peak=3e-3, warmup_steps=40, decay=Cosine(final=0.05)),
    optimizer=AdamW(b2=0.98, weight_decay=0.05),
    log_every=25,
    eval_batch_size=8,
)


def _ordered(order: str) -> Experiment:
    return dataclasses.replace(CONFIG, model=dataclasses.replace(CONFIG.model, order=order))


VARIANTS = (
    {f"k{k}": _ordered(sandwich_order(DEPTH, k)) for k in range(1, DEPTH)}
    | {f"balanced{n}": _ordered(balanced_order(DEPTH, seed=n)) for n in range(10)}
    | {f"matched{n}": _ordered(matched_order(DEPTH, seed=n)) for n in range(10)}
)
