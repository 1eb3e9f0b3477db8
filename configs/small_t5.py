"""A small T5 that writes the spans taken out of Python code, and its Synthesizers: for any machine, which all have the text.

Before: `python -m efficient_attn tokenizer configs/small_t5.py`, which learns 4,000 pieces of words from the training text.
Command: python train.py configs/small_t5.py --workdir runs/small_t5
  That is the Transformer; :random, :dense, :dense_vanilla and :random_vanilla are Synthesizers in both self-attentions, to which
  the bias of offsets is added; each in a workdir of its own.
Metric: nats per token of a target, sentinels and ends among them, and how many were the most probable one; beside them the nats of
  a code that knows how often each token is in the targets.
Hardware: 2 CPU cores, 14 minutes beside much other work. Measured: 4.79 nats per token of the validation split's targets, where a
  code of shares needs 5.54, or 4.96 knowing the order of sentinels: 600 steps are few (docs/measurements.md). Variants: not run.
"""

import dataclasses

from efficient_attn.data import SentencePieces, StandardLibrary, SubwordText
from efficient_attn.models import synthesized, t5
from efficient_attn.span_corruption_experiment import SpanCorruptionExperiment
from efficient_attn.training import AdamW, Cosine, Schedule

CONFIG = SpanCorruptionExperiment(
    model=t5(
        vocab=4032,
        width=128,
        ff_width=512,
        heads=4,
        encoder_depth=2,
        decoder_depth=2,
        longest=128,
        bos_token=3,
        # A few passes over the text teach nothing by heart.
        dropout=0.0,
        end_dropout=0.0,
        attention_dropout=0.0,
        ff_dropout=0.0,
    ),
    source=SubwordText(
        text=StandardLibrary(splits=(0.9, 0.05, 0.05)),
        subwords=SentencePieces(file="data/small_t5.model", sentences=200_000),
    ),
    context=128,
    learned_pieces=4000,
    sentinels=32,
    batch_size=32,
    steps=600,
    schedule=Schedule(peak=3e-3, warmup_steps=60, decay=Cosine(final=0.02)),
    optimizer=AdamW(b2=0.98, eps=1e-9),
    log_every=25,
    eval_batch_size=64,
)


def _with(*scores: str) -> SpanCorruptionExperiment:
    return dataclasses.replace(CONFIG, model=synthesized(CONFIG.model, *scores))


VARIANTS = {
    "random": _with("random"),
    "dense": _with("dense"),
    "dense_vanilla": _with("dense", "dot_product"),
    "random_vanilla": _with("random", "dot_product"),
}
