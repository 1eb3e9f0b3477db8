"""The translation models of the Synthesizer's table 2: all rows, English to German and English to French of WMT'14.

Rows: Tay et al. 2020, table 2: BLEU from 23.89 (fixed random) to 28.47 (random + vanilla) for En-De, 38.31 to 41.85 for En-Fr.
Before: `python -m efficient_attn tokenizer configs/synthesizer_wmt14.py`, and the same of :enfr_transformer for French.
Command: python train.py configs/synthesizer_wmt14.py --workdir runs/synthesizer_wmt14
  That is the paper's own run of the Transformer. VARIANTS are the other rows, :control (a wider feed-forward), :fixed_random,
  :random, :factorized_random, :dense, :factorized_dense, :random_dense, :dense_vanilla and :random_vanilla; and all ten after
  enfr_ for French, as :enfr_random. Each in a workdir of its own.
Metric: cased BLEU by sacreBLEU, tokenised by 13a. The paper does not say which BLEU it reports.
Recipe: tensor2tensor's transformer_base, 250,000 steps, 256 positions, beam 4, length penalty 0.6, no averaging; self-attention of
  encoder and decoder is synthesized, cross-attention never. 33,288 pieces, the size of tensor2tensor's vocabulary of 32,768.
Parameters: the table's own are about 6.3 M above a count of this model (61.15 M) in every row, and those of dense and of dense +
  vanilla fit no count; the blocks of queries and keys, and of random tables, are as large as the differences between its rows.
Hardware: 8 V100 in the paper. Measured here: not run; configs/small_translation.py has the rows for any machine.
"""

import dataclasses

from efficient_attn.data import SentencePieces, SubwordPairs, TFDSTranslation
from efficient_attn.decoding import BeamOptions
from efficient_attn.models import Seq2SeqConfig, synthesized
from efficient_attn.nn.embedding import SinusoidalPositions
from efficient_attn.precision import Precision
from efficient_attn.training import AdamW, InverseSquareRoot, Schedule
from efficient_attn.translation_experiment import TranslationExperiment

LENGTH = 256


def _pairs(language: str) -> SubwordPairs:
    return SubwordPairs(
        pairs=TFDSTranslation(name=f"wmt14_translate/{language}-en", data_dir="data/tfds", languages=("en", language)),
        subwords=SentencePieces(file=f"data/wmt14_en{language}_33288.model", kind="bpe", unknown="token"),
    )


CONFIG = TranslationExperiment(
    model=Seq2SeqConfig(
        vocab=33_288,
        bos_token=3,
        longest=LENGTH,
        norm="pre",
        attention_dropout=0.1,
        ff_dropout=0.1,
        positions=SinusoidalPositions(layout="halves"),
        initialization="unit_scaling",
        source_vector=True,
        precision=Precision(compute="bfloat16"),
    ),
    source=_pairs("de"),
    context=LENGTH,
    batch_size=128,
    steps=250_000,
    schedule=Schedule(peak=9.88e-4, warmup_steps=8000, decay=InverseSquareRoot()),
    optimizer=AdamW(b2=0.997, eps=1e-9),
    clip_norm=None,
    decoding=BeamOptions(longest=LENGTH),
    eval_batch_size=64,
)


def _with(*scores: str) -> TranslationExperiment:
    return dataclasses.replace(CONFIG, model=synthesized(CONFIG.model, *scores))


_ROWS = {
    # With as many parameters as random + vanilla.
    "control": dataclasses.replace(CONFIG, model=dataclasses.replace(CONFIG.model, ff_width=2560)),
    "fixed_random": _with("fixed_random"),
    "random": _with("random"),
    "factorized_random": _with("factorized_random"),
    "dense": _with("dense"),
    "factorized_dense": _with("factorized_dense"),
    "random_dense": _with("random", "dense"),
    "dense_vanilla": _with("dense", "dot_product"),
    "random_vanilla": _with("random", "dot_product"),
}
VARIANTS = _ROWS | {
    f"enfr_{name}": dataclasses.replace(row, source=_pairs("fr"))
    for name, row in {"transformer": CONFIG, **_ROWS}.items()
}
