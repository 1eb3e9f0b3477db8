"""MPNet-base as it was pre-trained: twelve layers that tell 15 % of the words of a text in a drawn order, seeing all positions.

Row: Song et al. 2020, tables 2 and 3: 87.7 on average on the dev sets of GLUE after fine-tuning, 86.3 on the test sets.
Command: python train.py configs/mpnet_base.py --workdir runs/mpnet_base
Metric: bits for each predicted piece of held-out text; the paper prints none of its pre-training.
Data: the paper's text is 160 GB of books, news, stories, web pages and Wikipedia. Here any folder of text will do, in the 30,527
  pieces of words of the tokenizer in checkpoints/mpnet-base; it is taken apart whole when it is loaded. With the 514 rows of
  positions and the pooler of the released weights the model has their 110.1 M parameters. The paper leaves out the warm-up: that
  of the released command is taken. Released code draws the projections to queries, keys and values by Xavier's rule, which is
  wider than BERT's normal of 0.02 that all have here.
Hardware: 32 V100 of 32 GB for about 35 days. Measured here: not run; configs/small_mpnet.py compares the objectives.
"""

from efficient_attn.data import Masking, PieceWords, TextFiles, TokenizedText
from efficient_attn.models import EncoderConfig, Sparse
from efficient_attn.models.encoder import RelativeBuckets
from efficient_attn.nn.text_embedding import SlotPositions
from efficient_attn.permuted_experiment import PermutedExperiment
from efficient_attn.precision import Precision
from efficient_attn.tasks.permuted_modelling import MPNet
from efficient_attn.training import AdamW, Linear, Schedule

CONFIG = PermutedExperiment(
    model=EncoderConfig(
        depth=12,
        width=768,
        heads=12,
        ff_width=3072,
        vocab=30527,
        positions=SlotPositions(rows=512),
        attention=Sparse(patterns=("Full()",)),
        relative=RelativeBuckets(buckets=32, longest=128),
        head="masked_lm",
        pooler=False,
        dropout=0.1,
        attention_dropout=0.1,
        norm_epsilon=1e-5,
        remat="block",
        precision=Precision(compute="bfloat16"),
    ),
    objective=MPNet(),
    # The last piece.
    masking=Masking(token=30526),
    units=PieceWords(tokenizer="checkpoints/mpnet-base"),
    source=TokenizedText(
        text=TextFiles(path="data/mpnet", splits=(0.99, 0.005, 0.005)), tokenizer="checkpoints/mpnet-base"
    ),
    context=512,
    batch_size=8192,
    steps=500_000,
    schedule=Schedule(peak=6e-4, warmup_steps=10_000, decay=Linear()),
    optimizer=AdamW(b2=0.98, eps=1e-6, weight_decay=0.01),
    clip_norm=None,
    eval_batch_size=256,
    checkpoint_every=10_000,
)
