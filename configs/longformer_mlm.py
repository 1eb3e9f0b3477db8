"""The masked language modelling that makes a Longformer of a RoBERTa: the base model at 4,096 tokens.

Rows: Beltagy et al. 2020, table 5, called bits per character and by their size bits for each hidden token: 1.705 after 65,000
  updates, 1.753 after 2,000, 1.957 before any (RoBERTa-base at 512 tokens 1.846); large 1.358, 1.414, 1.597 (1.496).
Before: checkpoints/roberta-base-4096, made of checkpoints/roberta-base by
  ea.save_pretrained(ea.models.longformer_of(ea.load_pretrained("checkpoints/roberta-base")), "checkpoints/roberta-base-4096")
Command: python train.py configs/longformer_mlm.py --workdir runs/longformer_mlm
  :large (VARIANTS) is the other model, from checkpoints/roberta-large-4096.
Afterwards: ea.models.copy_to_globals copies what has been learned to the projections of global tokens, which had none to see here;
  a run that begins from this one, by start, does so itself.
Data: the paper mixes books, news and stories of some length with others. Here any folder of text will do, in RoBERTa's tokens; its
  tokenizer is in checkpoints/roberta-base.
Recipe: 64 texts of 4,096 tokens, 65,000 updates, rate 3e-5, 500 updates to warm up, then a cubic decay; the rest is RoBERTa's.
Hardware: not published. Measured here: not run.
"""

import dataclasses

from efficient_attn.data import Masking, TextFiles, TokenizedText
from efficient_attn.masked_experiment import MaskedExperiment
from efficient_attn.models import EncoderConfig, Longformer
from efficient_attn.nn.text_embedding import CountedPositions
from efficient_attn.precision import Precision
from efficient_attn.training import AdamW, Polynomial, Schedule

PAD = 1

CONFIG = MaskedExperiment(
    model=EncoderConfig(
        depth=12,
        width=768,
        heads=12,
        ff_width=3072,
        vocab=50265,
        pad_token=PAD,
        positions=CountedPositions(rows=4096 + PAD + 1),
        token_types=1,
        attention=Longformer(windows=(256,), sep_token=2),
        head="masked_lm",
        pooler=False,
        dropout=0.1,
        attention_dropout=0.1,
        norm_epsilon=1e-5,
        remat="block",
        precision=Precision(compute="bfloat16"),
    ),
    masking=Masking(token=50264),
    source=TokenizedText(
        text=TextFiles(path="data/longformer", splits=(0.99, 0.005, 0.005)), tokenizer="checkpoints/roberta-base"
    ),
    start="checkpoints/roberta-base-4096",
    context=4096,
    batch_size=64,
    steps=65_000,
    schedule=Schedule(peak=3e-5, warmup_steps=500, decay=Polynomial(power=3.0)),
    optimizer=AdamW(b2=0.98, eps=1e-6, weight_decay=0.01),
    clip_norm=None,
    eval_batch_size=64,
)

VARIANTS = {
    "large": dataclasses.replace(
        CONFIG,
        model=dataclasses.replace(CONFIG.model, depth=24, width=1024, heads=16, ff_width=4096),
        start="checkpoints/roberta-large-4096",
    ),
}
