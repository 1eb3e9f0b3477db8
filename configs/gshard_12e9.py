"""GShard's smallest published mixture: 100 languages to English by an encoder-decoder of 12 layers with 128 experts in 6 of them.

Row: Lepikhin et al. 2020, table 1: MoE(128E, 12L), 12.5B weights; BLEU 36.7 on average. Its sizes give 12.9B
  weights of experts alone.
Before: `python -m efficient_attn tokenizer configs/gshard_12e9.py`, which learns 64,000 pieces of all languages.
Command: python train.py configs/gshard_12e9.py --workdir runs/gshard_12e9 --mesh.expert 128
  :50e9 and :200e9 have 512 and 2,048 experts in as many layers. configs/gshard_37e9.py, gshard_150e9.py, gshard_600e9.py and
  gshard_1e12.py are the deeper ones: all other fields are those of this file.
Planning: python -m efficient_attn plan configs/gshard_12e9.py --topology v5p:4x4x8 --mesh.expert 128
  Without a TPU: memory, collectives and the least time of a step, in docs/measurements.md.
Data: a folder of parallel text of one's own, docs/data.md; the paper's 25 billion pairs are not public.
Where we differ: one vocabulary of 64,000 pieces with one table, in place of 64,000 of sources and 32,000 of targets; sinusoids;
  layer norms, and biases of the networks that are no mixtures, where released code has neither biases nor centring; products in
  bfloat16, for the paper's float32. An expert takes at most 2 S / E tokens of a group of S = 1,024, as the paper has it.
Hardware: the paper used 128 TPU v3 cores for 5.4 days. Measured here: compiled only, not run.
"""

import dataclasses

from efficient_attn.data import ParallelText, SentencePieces, SubwordPairs
from efficient_attn.models import Experts, Seq2SeqConfig
from efficient_attn.precision import Precision
from efficient_attn.training import Adafactor, InverseSquareRoot, Schedule
from efficient_attn.translation_experiment import TranslationExperiment

CONFIG = TranslationExperiment(
    model=Seq2SeqConfig(
        vocab=64_000,
        width=1024,
        ff_width=8192,
        heads=16,
        head_size=128,
        encoder_depth=6,
        decoder_depth=6,
        longest=1024,
        experts=Experts(number=128),
        norm="pre",
        initialization="unit_scaling",
        bos_token=3,
        dropout=0.1,
        attention_dropout=0.1,
        remat="block",
        precision=Precision(compute="bfloat16"),
    ),
    source=SubwordPairs(
        pairs=ParallelText(path="data/gshard", languages=("xx", "en")),
        subwords=SentencePieces(file="data/gshard/pieces.model"),
    ),
    context=1024,
    # 1M tokens of targets.
    batch_size=1024,
    steps=250_000,
    schedule=Schedule(peak=1.0, warmup_steps=10_000, decay=InverseSquareRoot()),
    # It limits updates itself.
    optimizer=Adafactor(),
    clip_norm=None,
)

VARIANTS = {
    f"{weights}e9": dataclasses.replace(
        CONFIG, model=dataclasses.replace(CONFIG.model, experts=Experts(number=experts)), batch_size=batch_size
    )
    for weights, experts, batch_size in ((50, 512, 1024), (200, 2048, 4096))
}
