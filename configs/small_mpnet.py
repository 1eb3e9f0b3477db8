"""MLM, PLM and MPNet on a small encoder at equal steps, on Python code in bytes: the same tokens told, for any machine.

Row: Song et al. 2020, table 6: the same model and data by each objective.
Command: python train.py configs/small_mpnet.py --workdir runs/small_mpnet
  That is MPNet; configs/small_mpnet.py:plm and :mlm (VARIANTS) are the others, in workdirs of their own. python -m efficient_attn
  compare runs/* then prints a table and draws the curves.
Hardware: 2 CPU cores, 3 to 5 minutes each beside other processes. Measured, bits for each predicted byte of the validation split
  and the share of right ones: MLM 3.27, 43 %; MPNet 3.36, 42 %; PLM 4.44, 34 %. A tenth of the tokens of MLM and MPNet stand in
  their places as they are, which is easy to tell; with all of them hidden (eval.py ... --masking.hidden 1 --masking.changed 0)
  MLM has 3.52, 37 %, and MPNet 3.65, 36 %. They also teach: MPNet trained with all hidden comes to 4.43, as PLM does, whose
  queries are always so. One seed, and too few steps to rank the objectives.
"""

import dataclasses

from efficient_attn.data import ByteWords, Masking, StandardLibrary
from efficient_attn.models import EncoderConfig, Sparse
from efficient_attn.models.encoder import RelativeBuckets
from efficient_attn.nn.text_embedding import SlotPositions
from efficient_attn.permuted_experiment import PermutedExperiment
from efficient_attn.tasks.permuted_modelling import MLM, PLM, MPNet
from efficient_attn.training import AdamW, Linear, Schedule

CONFIG = PermutedExperiment(
    model=EncoderConfig(
        depth=2,
        width=96,
        heads=4,
        ff_width=384,
        # All bytes, and what stands for a hidden one.
        vocab=257,
        positions=SlotPositions(rows=128),
        attention=Sparse(patterns=("Full()",)),
        relative=RelativeBuckets(),
        head="masked_lm",
        pooler=False,
        norm_epsilon=1e-5,
    ),
    objective=MPNet(),
    masking=Masking(token=256),
    units=ByteWords(),
    source=StandardLibrary(splits=(0.98, 0.01, 0.01)),
    context=128,
    batch_size=16,
    steps=1200,
    schedule=Schedule(peak=2e-3, warmup_steps=100, decay=Linear()),
    optimizer=AdamW(b2=0.98, weight_decay=0.01),
    log_every=25,
    eval_batch_size=64,
)

VARIANTS = {
    "mlm": dataclasses.replace(CONFIG, objective=MLM()),
    "plm": dataclasses.replace(CONFIG, objective=PLM()),
}
